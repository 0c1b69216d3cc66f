package awsemu

import (
	"encoding/json"
	"regexp"
	"sort"

	"github.com/google/btree"
)

// cluster is an ECS cluster with its hosts and tasks.
type cluster struct {
	sequence      int64
	name, arn     string
	active        bool
	tags          tagSet
	settings      json.RawMessage
	configuration json.RawMessage

	// hosts are all container instances, those just deregistered included.
	hosts     map[string]*containerInstance
	hostsByID *btree.BTreeG[*containerInstance] // ordered by age
	tasks     map[string]*task
	tasksByID *btree.BTreeG[*task] // ordered by age
	tokens    map[string]*taskToken
}

func (r *region) newCluster(name string) *cluster {
	return &cluster{
		sequence:  r.ecs.next(),
		name:      name,
		arn:       r.ecsARN("cluster/" + name),
		active:    true,
		tags:      tagSet{},
		hosts:     map[string]*containerInstance{},
		hostsByID: btree.NewG(16, func(a, b *containerInstance) bool { return a.sequence < b.sequence }),
		tasks:     map[string]*task{},
		tasksByID: btree.NewG(16, func(a, b *task) bool { return a.sequence < b.sequence }),
		tokens:    map[string]*taskToken{},
	}
}

// cluster finds an active cluster by name or ARN; an empty reference means "default".
func (r *region) cluster(ref string) (*cluster, error) {
	if ref == "" {
		ref = "default"
	}
	name, ok := r.ecsResourceName("cluster", ref)
	if !ok {
		return nil, invalidParameter("Invalid identifier: Identifier is for " + ref)
	}
	cl, ok := r.ecs.clusters[name]
	switch {
	case !ok:
		return nil, refuse("ClusterNotFoundException", "Cluster not found.")
	case !cl.active:
		return nil, refuse("ClusterNotFoundException", "The referenced cluster was inactive.")
	}
	return cl, nil
}

func (cl *cluster) view(fields []string) ecsCluster {
	v := ecsCluster{
		ARN: cl.arn, Name: cl.name, Status: "ACTIVE",
		Statistics:              []ecsKeyValue{},
		Tags:                    cl.tags.listIf(include(fields, "TAGS")),
		CapacityProviders:       []string{},
		DefaultProviderStrategy: []string{},
	}
	if !cl.active {
		v.Status = "INACTIVE"
	}
	if include(fields, "SETTINGS") {
		v.Settings = cl.settings
	}
	if include(fields, "CONFIGURATIONS") {
		v.Configuration = cl.configuration
	}
	for _, ci := range cl.hosts {
		if ci.registered() {
			v.ContainerInstances++
			running, pending := ci.taskCounts()
			v.RunningTasks += running
			v.PendingTasks += pending
		}
	}
	return v
}

// clusterName is what a cluster may be called:
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_CreateCluster.html
var clusterName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,255}$`)

// createCluster returns the cluster that is there, if one is: AWS does the same.
func createCluster(c *call, in struct {
	Name          string          `json:"clusterName"`
	Tags          []ecsTag        `json:"tags"`
	Settings      json.RawMessage `json:"settings"`
	Configuration json.RawMessage `json:"configuration"`
}) (any, error) {
	if in.Name == "" {
		in.Name = "default"
	}
	if !clusterName.MatchString(in.Name) {
		return nil, invalidParameter("Cluster name should be 255 or fewer letters, numbers, hyphens and underscores.")
	}
	tags, err := newTagSet(in.Tags)
	if err != nil {
		return nil, err
	}
	cl := c.region.ecs.clusters[in.Name]
	if cl == nil || !cl.active {
		cl = c.region.newCluster(in.Name)
		cl.tags, cl.settings, cl.configuration = tags, in.Settings, in.Configuration
		c.region.ecs.clusters[in.Name] = cl
	}
	return clusterAnswer{cl.view([]string{"TAGS", "SETTINGS", "CONFIGURATIONS"})}, nil
}

type clusterAnswer struct {
	Cluster ecsCluster `json:"cluster"`
}

func deleteCluster(c *call, in struct {
	Cluster string `json:"cluster"`
}) (any, error) {
	cl, err := c.region.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	for _, ci := range cl.hosts {
		if ci.registered() {
			return nil, refuse("ClusterContainsContainerInstancesException",
				"The Cluster cannot be deleted while Container Instances are active or draining.")
		}
	}
	for _, t := range cl.tasks {
		if t.last != taskStopped {
			return nil, refuse("ClusterContainsTasksException",
				"The Cluster cannot be deleted while Tasks are active.")
		}
	}
	cl.active = false
	return clusterAnswer{cl.view(nil)}, nil
}

func describeClusters(c *call, in struct {
	Clusters []string `json:"clusters"`
	Include  []string `json:"include"`
}) (any, error) {
	if len(in.Clusters) > 100 {
		return nil, invalidParameter("Clusters cannot have more than 100 elements.")
	}
	if len(in.Clusters) == 0 {
		in.Clusters = []string{"default"}
	}
	out := struct {
		Clusters []ecsCluster `json:"clusters"`
		Failures []ecsFailure `json:"failures"`
	}{[]ecsCluster{}, []ecsFailure{}}
	for _, ref := range in.Clusters {
		name, _ := c.region.ecsResourceName("cluster", ref)
		// A deleted cluster is still described, as inactive.
		if cl := c.region.ecs.clusters[name]; cl != nil {
			out.Clusters = append(out.Clusters, cl.view(in.Include))
			continue
		}
		out.Failures = append(out.Failures, ecsFailure{ARN: c.region.arnOf("cluster", ref), Reason: "MISSING"})
	}
	return out, nil
}

// arnOf makes an ARN of what a request named, for a failure's report.
func (r *region) arnOf(kind, ref string) string {
	if len(ref) > 4 && ref[:4] == "arn:" {
		return ref
	}
	return r.ecsARN(kind + "/" + ref)
}

func listClusters(c *call, in struct {
	MaxResults *int   `json:"maxResults"`
	NextToken  string `json:"nextToken"`
}) (any, error) {
	p, err := newPage(in.MaxResults, in.NextToken, "clusters")
	if err != nil {
		return nil, err
	}
	var all []*cluster
	for _, cl := range c.region.ecs.clusters {
		if cl.active && cl.sequence > p.after {
			all = append(all, cl)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].sequence < all[j].sequence })
	for _, cl := range all {
		if !p.add(cl.sequence, cl.arn) {
			break
		}
	}
	return struct {
		ARNs      []string `json:"clusterArns"`
		NextToken string   `json:"nextToken,omitempty"`
	}{p.names(), p.token()}, nil
}
