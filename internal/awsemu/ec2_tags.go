// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"maps"
	"strings"
)

// maxTags is from https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
const maxTags = 50

// maxTagged is how many resources one CreateTags call may name:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateTags.html
const maxTagged = 1000

// createTags adds tags to resources, all of them or none.
func createTags(c *call) (any, error) {
	tags, err := c.params().tags("Tag")
	if err != nil {
		return nil, err
	}
	if len(tags) == 0 {
		return nil, refuse("MissingParameter", "The request must contain the parameter Tag")
	}
	resources, err := c.tagged()
	if err != nil {
		return nil, err
	}
	for _, have := range resources {
		total := maps.Clone(have)
		maps.Copy(total, tags)
		if len(total) > maxTags {
			return nil, refuse("TagLimitExceeded", "The maximum number of tags for this resource is %d.", maxTags)
		}
	}
	for _, have := range resources {
		maps.Copy(have, tags)
	}
	return &ec2Return{Return: true}, nil
}

// deleteTags removes tags by key, or by key and value where a value is given, or
// all when none is named.
func deleteTags(c *call) (any, error) {
	resources, err := c.tagged()
	if err != nil {
		return nil, err
	}
	named := c.params().each("Tag")
	for _, have := range resources {
		if len(named) == 0 {
			clear(have)
		}
		for _, t := range named {
			key := t.get("Key")
			if _, given := t["Value"]; !given || have[key] == t.get("Value") {
				delete(have, key)
			}
		}
	}
	return &ec2Return{Return: true}, nil
}

// tagged returns the tags of each resource named.
func (c *call) tagged() ([]map[string]string, error) {
	ids := c.list("ResourceId")
	if len(ids) == 0 {
		return nil, refuse("MissingParameter", "The request must contain the parameter ResourceId")
	}
	if len(ids) > maxTagged {
		return nil, refuse("InvalidParameterValue", "At most %d resources can be named in one request.", maxTagged)
	}
	all := make([]map[string]string, 0, len(ids))
	for _, id := range ids {
		tags, err := c.region.tagsOf(id)
		if err != nil {
			return nil, err
		}
		all = append(all, tags)
	}
	return all, nil
}

// tagsOf finds a resource by the kind its id names.
func (r *region) tagsOf(id string) (map[string]string, error) {
	kind, _, _ := strings.Cut(id, "-")
	switch kind {
	case "i":
		found, err := r.findInstances([]string{id}, true)
		if err != nil {
			return nil, err
		}
		return found[0].tags, nil
	case "subnet":
		sn, err := r.ec2.subnet(id)
		if err != nil {
			return nil, err
		}
		return sn.tags, nil
	case "sg":
		g, err := r.ec2.group(id)
		if err != nil {
			return nil, err
		}
		return g.tags, nil
	case "ami":
		m, err := r.ec2.image(id)
		if err != nil {
			return nil, err
		}
		return m.tags, nil
	case "sir":
		request, err := r.ec2.spotRequest(id)
		if err != nil {
			return nil, err
		}
		return request.tags, nil
	case "lt":
		t, err := r.ec2.template(form{"LaunchTemplateId": {id}})
		if err != nil {
			return nil, err
		}
		return t.tags, nil
	default:
		return nil, refuse("InvalidID", "The ID '%s' is not valid", id)
	}
}
