package awsemu

import (
	"sort"
	"strings"
)

// maxECSTags is the number of tags a resource may have:
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-using-tags.html
const maxECSTags = 50

// tagSet are the tags of one resource by key.
type tagSet map[string]string

// newTagSet checks the tags of a request.
func newTagSet(tags []ecsTag) (tagSet, error) {
	set := tagSet{}
	for _, t := range tags {
		switch {
		case t.Key == "" || len([]rune(t.Key)) > 128:
			return nil, invalidParameter("Tag key must be between 1 and 128 characters.")
		case len([]rune(t.Value)) > 256:
			return nil, invalidParameter("Tag value must be at most 256 characters.")
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return nil, invalidParameter("Tag keys may not start with aws:.")
		}
		if _, twice := set[t.Key]; twice {
			return nil, invalidParameter("Duplicate tag keys found. Please note that tag keys are case insensitive.")
		}
		set[t.Key] = t.Value
	}
	if len(set) > maxECSTags {
		return nil, invalidParameter("The maximum number of tags per resource is 50.")
	}
	return set, nil
}

// list are the tags in the order of their keys, never nil.
func (t tagSet) list() []ecsTag {
	out := make([]ecsTag, 0, len(t))
	for k, v := range t {
		out = append(out, ecsTag{Key: k, Value: v})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Key < out[j].Key })
	return out
}

// listIf are the tags if asked for, else an empty list, as AWS renders it.
func (t tagSet) listIf(wanted bool) []ecsTag {
	if !wanted {
		return []ecsTag{}
	}
	return t.list()
}

// add merges more tags in, within the limit.
func (t tagSet) add(more tagSet) error {
	total := len(t)
	for k := range more {
		if _, there := t[k]; !there {
			total++
		}
	}
	if total > maxECSTags {
		return invalidParameter("The maximum number of tags per resource is 50.")
	}
	for k, v := range more {
		t[k] = v
	}
	return nil
}

// taggable finds the tags of the resource that an ARN names.
func (r *region) taggable(arn string) (tagSet, error) {
	resource, ok := strings.CutPrefix(arn, r.ecsARN(""))
	kind, _, split := strings.Cut(resource, "/")
	if !ok || !split {
		return nil, invalidParameter("The specified ARN is invalid: " + arn)
	}
	notFound := refuse("ResourceNotFoundException", "The specified resource could not be found.")
	switch kind {
	case "cluster":
		cl, err := r.cluster(arn)
		if err != nil {
			return nil, err
		}
		return cl.tags, nil
	case "task-definition":
		if def := r.taskDefinition(arn); def != nil {
			return def.tags, nil
		}
	case "task", "container-instance":
		return r.taggableInCluster(kind, resource, arn, notFound)
	default:
		return nil, invalidParameter("The specified ARN is invalid: " + arn)
	}
	return nil, notFound
}

// taggableInCluster finds a task's or a host's tags: its ARN has its cluster in it.
func (r *region) taggableInCluster(kind, resource, arn string, notFound error) (tagSet, error) {
	parts := strings.Split(resource, "/")
	if len(parts) != 3 {
		return nil, invalidParameter("Long arn format must be used for tagging operations")
	}
	cl, err := r.cluster(parts[1])
	if err != nil {
		return nil, err
	}
	if kind == "task" {
		if t := cl.task(r, arn); t != nil {
			return t.tags, nil
		}
		return nil, notFound
	}
	if ci := cl.host(r, arn); ci != nil {
		return ci.tags, nil
	}
	return nil, notFound
}

func tagResource(c *call, in struct {
	ResourceARN string   `json:"resourceArn"`
	Tags        []ecsTag `json:"tags"`
}) (any, error) {
	have, err := c.region.taggable(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	more, err := newTagSet(in.Tags)
	if err != nil {
		return nil, err
	}
	return struct{}{}, have.add(more)
}

func untagResource(c *call, in struct {
	ResourceARN string   `json:"resourceArn"`
	TagKeys     []string `json:"tagKeys"`
}) (any, error) {
	have, err := c.region.taggable(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	for _, k := range in.TagKeys {
		delete(have, k)
	}
	return struct{}{}, nil
}

func listTagsForResource(c *call, in struct {
	ResourceARN string `json:"resourceArn"`
}) (any, error) {
	have, err := c.region.taggable(in.ResourceARN)
	if err != nil {
		return nil, err
	}
	return struct {
		Tags []ecsTag `json:"tags"`
	}{have.list()}, nil
}
