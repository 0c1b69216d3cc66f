package awsemu

import (
	"bytes"
	"encoding/json"
	"sort"
	"strconv"
	"strings"
	"time"
)

// taskFamily are the revisions of one task definition; revision n is at n-1.
type taskFamily struct {
	revisions []*taskDefinition
}

// latest is the newest active revision, or nil.
func (f *taskFamily) latest() *taskDefinition {
	for i := len(f.revisions) - 1; i >= 0; i-- {
		if f.revisions[i].active {
			return f.revisions[i]
		}
	}
	return nil
}

// taskDefinition is one revision. What was registered is given back verbatim, so
// that members this package has no use for survive.
type taskDefinition struct {
	sequence     int64
	family       string
	revision     int
	arn          string
	active       bool
	tags         tagSet
	registered   time.Time
	deregistered time.Time
	raw          map[string]json.RawMessage
	spec         taskSpec
}

// taskSpec is what this package reads of a task definition.
type taskSpec struct {
	Family      string                `json:"family"`
	NetworkMode string                `json:"networkMode"`
	CPU         string                `json:"cpu"`
	Memory      string                `json:"memory"`
	Containers  []containerSpec       `json:"containerDefinitions"`
	Constraints []placementConstraint `json:"placementConstraints"`
	Requires    []string              `json:"requiresCompatibilities"`
	Tags        []ecsTag              `json:"tags"`
}

// containerSpec is what this package reads of a container definition.
type containerSpec struct {
	Name              string                `json:"name"`
	Image             string                `json:"image"`
	CPU               int                   `json:"cpu"`
	Memory            int                   `json:"memory"`
	MemoryReservation int                   `json:"memoryReservation"`
	Essential         *bool                 `json:"essential"`
	EntryPoint        []string              `json:"entryPoint"`
	Command           []string              `json:"command"`
	Environment       []ecsKeyValue         `json:"environment"`
	Ports             []portMapping         `json:"portMappings"`
	Requirements      []resourceRequirement `json:"resourceRequirements"`
	HealthCheck       *struct{}             `json:"healthCheck"`
	StopTimeout       int                   `json:"stopTimeout"`
}

type portMapping struct {
	ContainerPort int    `json:"containerPort"`
	HostPort      int    `json:"hostPort"`
	Protocol      string `json:"protocol"`
}

type resourceRequirement struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

type placementConstraint struct {
	Type       string `json:"type"`
	Expression string `json:"expression"`
}

// essential containers take the task down with them; that is the default.
func (s containerSpec) essential() bool { return s.Essential == nil || *s.Essential }

// gpus is the number of GPUs that the container wants for itself.
func (s containerSpec) gpus() int {
	for _, req := range s.Requirements {
		if req.Type == "GPU" {
			n, _ := strconv.Atoi(req.Value) // validated when registered
			return n
		}
	}
	return 0
}

// protocol is tcp unless said otherwise.
func (p portMapping) protocol() string {
	if p.Protocol == "" {
		return "tcp"
	}
	return p.Protocol
}

// taskDefinition finds a revision by family, family:revision or ARN; a family
// alone means its latest active revision. It returns nil when there is none.
func (r *region) taskDefinition(ref string) *taskDefinition {
	name, ok := r.ecsResourceName("task-definition", ref)
	if !ok {
		return nil
	}
	family, revision, numbered := strings.Cut(name, ":")
	f := r.ecs.families[family]
	if f == nil {
		return nil
	}
	if !numbered {
		return f.latest()
	}
	n, err := strconv.Atoi(revision)
	if err != nil || n < 1 || n > len(f.revisions) {
		return nil
	}
	return f.revisions[n-1]
}

// view renders the revision: what was registered, and what ECS adds.
func (d *taskDefinition) view() (map[string]json.RawMessage, error) {
	out := make(map[string]json.RawMessage, len(d.raw)+8)
	for k, v := range d.raw {
		out[k] = v
	}
	added := map[string]any{
		"taskDefinitionArn": d.arn,
		"family":            d.family,
		"revision":          d.revision,
		"status":            "ACTIVE",
		"networkMode":       d.spec.NetworkMode,
		"registeredAt":      moment(d.registered),
		"compatibilities":   []string{"EXTERNAL", "EC2"},
	}
	if !d.active {
		added["status"] = "INACTIVE"
		added["deregisteredAt"] = moment(d.deregistered)
	}
	for _, empty := range []string{"volumes", "placementConstraints"} {
		if _, given := out[empty]; !given {
			added[empty] = []string{}
		}
	}
	for k, v := range added {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		out[k] = raw
	}
	return out, nil
}

type taskDefinitionAnswer struct {
	TaskDefinition map[string]json.RawMessage `json:"taskDefinition"`
	Tags           []ecsTag                   `json:"tags,omitempty"`
}

func (d *taskDefinition) answer(withTags bool) (any, error) {
	v, err := d.view()
	if err != nil {
		return nil, err
	}
	a := taskDefinitionAnswer{TaskDefinition: v}
	if withTags {
		a.Tags = d.tags.list()
	}
	return a, nil
}

// registerTaskDefinition adds a revision. Revision numbers are never used again.
func registerTaskDefinition(c *call, raw map[string]json.RawMessage) (any, error) {
	spec, err := parseTaskSpec(c.body)
	if err != nil {
		return nil, err
	}
	tags, err := newTagSet(spec.Tags)
	if err != nil {
		return nil, err
	}
	delete(raw, "tags")
	for k, v := range raw {
		if bytes.Equal(v, []byte("null")) {
			delete(raw, k)
		}
	}
	r := c.region
	f := r.ecs.families[spec.Family]
	if f == nil {
		f = &taskFamily{}
		r.ecs.families[spec.Family] = f
	}
	d := &taskDefinition{
		sequence: r.ecs.next(), family: spec.Family, revision: len(f.revisions) + 1, active: true,
		tags: tags, registered: r.now(), raw: raw, spec: spec,
	}
	d.arn = r.ecsARN("task-definition/" + d.family + ":" + strconv.Itoa(d.revision))
	f.revisions = append(f.revisions, d)
	return d.answer(true)
}

func describeTaskDefinition(c *call, in struct {
	TaskDefinition string   `json:"taskDefinition"`
	Include        []string `json:"include"`
}) (any, error) {
	d := c.region.taskDefinition(in.TaskDefinition)
	if d == nil {
		return nil, clientError("Unable to describe task definition.")
	}
	return d.answer(include(in.Include, "TAGS"))
}

// deregisterTaskDefinition makes a revision inactive. Tasks that run keep running.
func deregisterTaskDefinition(c *call, in struct {
	TaskDefinition string `json:"taskDefinition"`
}) (any, error) {
	name, _ := c.region.ecsResourceName("task-definition", in.TaskDefinition)
	if !strings.Contains(name, ":") {
		return nil, clientError("Invalid revision number. Number: ")
	}
	d := c.region.taskDefinition(in.TaskDefinition)
	if d == nil {
		return nil, clientError("The specified task definition does not exist.")
	}
	if d.active {
		d.active = false
		d.deregistered = c.region.now()
	}
	return d.answer(false)
}

// listTaskDefinitions lists ARNs by family and revision.
func listTaskDefinitions(c *call, in struct {
	FamilyPrefix string `json:"familyPrefix"`
	Status       string `json:"status"`
	Sort         string `json:"sort"`
	MaxResults   *int   `json:"maxResults"`
	NextToken    string `json:"nextToken"`
}) (any, error) {
	if in.Status == "" {
		in.Status = "ACTIVE"
	}
	p, err := newPage(in.MaxResults, in.NextToken, "task-definitions", in.FamilyPrefix, in.Status, in.Sort)
	if err != nil {
		return nil, err
	}
	var families []string
	for name := range c.region.ecs.families {
		if in.FamilyPrefix == "" || name == in.FamilyPrefix {
			families = append(families, name)
		}
	}
	sort.Strings(families)
	var all []*taskDefinition
	for _, name := range families {
		for _, d := range c.region.ecs.families[name].revisions {
			if d.active == (in.Status == "ACTIVE") && in.Status != "DELETE_IN_PROGRESS" {
				all = append(all, d)
			}
		}
	}
	if in.Sort == "DESC" {
		for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
			all[i], all[j] = all[j], all[i]
		}
	}
	// The order isn't that of age, so a page continues from a place in the list.
	for i, d := range all {
		if int64(i) >= p.after && !p.add(int64(i+1), d.arn) {
			break
		}
	}
	return struct {
		ARNs      []string `json:"taskDefinitionArns"`
		NextToken string   `json:"nextToken,omitempty"`
	}{p.names(), p.token()}, nil
}
