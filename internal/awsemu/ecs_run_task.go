package awsemu

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// runTaskRequest is https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html
type runTaskRequest struct {
	Cluster            string                `json:"cluster"`
	TaskDefinition     string                `json:"taskDefinition"`
	Count              *int                  `json:"count"`
	ClientToken        string                `json:"clientToken"`
	StartedBy          string                `json:"startedBy"`
	Group              string                `json:"group"`
	LaunchType         string                `json:"launchType"`
	Overrides          json.RawMessage       `json:"overrides"`
	Constraints        []placementConstraint `json:"placementConstraints"`
	Strategies         []placementStrategy   `json:"placementStrategy"`
	Tags               []ecsTag              `json:"tags"`
	PropagateTags      string                `json:"propagateTags"`
	ManagedTags        bool                  `json:"enableECSManagedTags"`
	ExecuteCommand     bool                  `json:"enableExecuteCommand"`
	CapacityProviders  []json.RawMessage     `json:"capacityProviderStrategy"`
	NetworkConfig      json.RawMessage       `json:"networkConfiguration"`
	VolumeConfigurings []json.RawMessage     `json:"volumeConfigurations"`
}

// Limits of the request.
const (
	maxCopies        = 10
	maxOverrideChars = 8192
)

var (
	startedByPattern   = regexp.MustCompile(`^[a-zA-Z0-9/_-]{0,128}$`)
	clientTokenPattern = regexp.MustCompile(`^[\x21-\x7e]{0,64}$`)
)

type tasksAnswer struct {
	Tasks    []ecsTask    `json:"tasks"`
	Failures []ecsFailure `json:"failures"`
}

// runTask places copies of a task on hosts of the cluster. That some, or all,
// couldn't be placed is told in failures, not by an error.
func runTask(c *call, in runTaskRequest) (any, error) {
	r := c.region
	cl, err := r.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	fingerprint, err := requestFingerprint(c.body)
	if err != nil {
		return nil, err
	}
	if token := cl.token(in.ClientToken, c.now); token != nil {
		return token.repeat(fingerprint)
	}
	model, place, err := r.planTask(cl, in)
	if err != nil {
		return nil, err
	}
	copies := 1
	if in.Count != nil {
		copies = *in.Count
	}
	out := tasksAnswer{[]ecsTask{}, []ecsFailure{}}
	token := &taskToken{fingerprint: fingerprint, created: c.now}
	for range copies {
		ci, failures := place.choose(r)
		if ci == nil {
			// What has no room now has none for the copies after it.
			out.Failures = failures
			break
		}
		t := r.placeTask(cl, ci, model)
		token.tasks = append(token.tasks, t)
		out.Tasks = append(out.Tasks, t.view(true))
	}
	if in.ClientToken != "" && len(token.tasks) > 0 {
		cl.tokens[in.ClientToken] = token
	}
	return out, nil
}

// check refuses what is wrong whatever the cluster looks like.
func (in runTaskRequest) check() error {
	switch {
	case in.Count != nil && (*in.Count < 1 || *in.Count > maxCopies):
		return invalidParameter("count must be between 1 and 10.")
	case len(in.Overrides) > maxOverrideChars:
		return invalidParameter("Container Overrides length must be at most 8192")
	case !clientTokenPattern.MatchString(in.ClientToken):
		return invalidParameter("clientToken must be at most 64 characters in the range of 33-126.")
	case !startedByPattern.MatchString(in.StartedBy):
		return invalidParameter("startedBy must be at most 128 letters, numbers, hyphens, forward slashes and underscores.")
	case in.LaunchType != "" && in.LaunchType != "EC2":
		return refuse("PlatformUnknownException", "This endpoint runs tasks of launch type EC2 only, not %s.", in.LaunchType)
	case len(in.CapacityProviders) > 0:
		return invalidParameter("The specified capacity provider was not found.")
	case in.PropagateTags == "SERVICE":
		return invalidParameter("propagateTags SERVICE is not supported for RunTask.")
	}
	return nil
}

// requestFingerprint is the request without its token, whatever its members' order.
func requestFingerprint(body []byte) (string, error) {
	var members map[string]any
	if err := json.Unmarshal(body, &members); err != nil {
		return "", serializationError(err)
	}
	delete(members, "clientToken")
	canonical, err := json.Marshal(members)
	return string(canonical), err
}

// taskToken is what a client token of RunTask stands for.
type taskToken struct {
	fingerprint string
	created     time.Time
	tasks       []*task
}

// A token lives for a day, or until shortly after its tasks' end if that is sooner:
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/ECS_Idempotency.html
const (
	tokenLifetime     = 24 * time.Hour
	tokenAfterTaskEnd = time.Minute
)

// token finds a client token that still holds.
func (cl *cluster) token(name string, now time.Time) *taskToken {
	token := cl.tokens[name]
	if name == "" || token == nil {
		return nil
	}
	ended := !slices.ContainsFunc(token.tasks, func(t *task) bool {
		return t.last != taskStopped || now.Before(t.stoppedAt.Add(tokenAfterTaskEnd))
	})
	if ended || !now.Before(token.created.Add(tokenLifetime)) {
		delete(cl.tokens, name)
		return nil
	}
	return token
}

// repeat answers a request that comes again: with the tasks as they are now.
func (k *taskToken) repeat(fingerprint string) (any, error) {
	if k.fingerprint != fingerprint {
		arns := make([]string, 0, len(k.tasks))
		for _, t := range k.tasks {
			arns = append(arns, t.arn)
		}
		return nil, &apiError{
			Code:    "ConflictException",
			Message: "The clientToken is already in use with a different RunTask request.",
			Fields:  map[string]any{"resourceIds": arns},
		}
	}
	out := tasksAnswer{[]ecsTask{}, []ecsFailure{}}
	for _, t := range k.tasks {
		out.Tasks = append(out.Tasks, t.view(true))
	}
	return out, nil
}

// planTask makes the model that every copy follows, and finds out where copies may go.
func (r *region) planTask(cl *cluster, in runTaskRequest) (task, *placement, error) {
	none := task{}
	def := r.taskDefinition(in.TaskDefinition)
	if def == nil {
		return none, nil, clientError("TaskDefinition not found.")
	}
	if !def.active {
		return none, nil, clientError("TaskDefinition is inactive")
	}
	if !slices.ContainsFunc(hostsOf(cl), (*containerInstance).registered) {
		return none, nil, invalidParameter("No Container Instances were found in your cluster.")
	}
	if def.spec.NetworkMode == "awsvpc" && len(in.NetworkConfig) == 0 {
		return none, nil, invalidParameter("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
	}
	tags, err := in.taskTags(cl, def)
	if err != nil {
		return none, nil, err
	}
	containers, overrides, needs, err := applyOverrides(def.spec, in.Overrides)
	if err != nil {
		return none, nil, err
	}
	group := in.Group
	if group == "" {
		group = "family:" + def.family
	}
	place, err := newPlacement(cl, slices.Concat(def.spec.Constraints, in.Constraints), in.Strategies)
	if err != nil {
		return none, nil, err
	}
	place.group, place.demand = group, needs
	return task{
		cluster: cl, def: def, overrides: overrides, group: group, startedBy: in.StartedBy, tags: tags,
		exec: in.ExecuteCommand, demand: needs, containers: containers, desired: taskRunning,
	}, place, nil
}

func hostsOf(cl *cluster) []*containerInstance {
	hosts := make([]*containerInstance, 0, len(cl.hosts))
	for _, ci := range cl.hosts {
		hosts = append(hosts, ci)
	}
	return hosts
}

// taskTags are the request's own, those of the task definition if asked for, and
// those that ECS adds.
func (in runTaskRequest) taskTags(cl *cluster, def *taskDefinition) (tagSet, error) {
	own, err := newTagSet(in.Tags)
	if err != nil {
		return nil, err
	}
	tags := tagSet{}
	if in.PropagateTags == "TASK_DEFINITION" {
		for k, v := range def.tags {
			tags[k] = v
		}
	}
	if err := tags.add(own); err != nil {
		return nil, err
	}
	if in.ManagedTags {
		tags["aws:ecs:clusterName"] = cl.name
	}
	return tags, nil
}

// placeTask makes a copy of the model on a host and sets it out.
func (r *region) placeTask(cl *cluster, ci *containerInstance, model task) *task {
	t := model
	t.sequence = r.ecs.next()
	t.version = 1
	t.id = r.newECSID()
	t.arn = r.ecsARN("task/" + cl.name + "/" + t.id)
	t.host = ci
	t.tags = tagSet{}
	for k, v := range model.tags {
		t.tags[k] = v
	}
	t.createdAt = r.now()
	t.visibleAt = r.now().Add(r.delays().VisibilityLag)
	t.gpus = ci.free.take(t.demand)
	r.memberChanged(ci)
	t.containers = slices.Clone(model.containers)
	left := t.gpus
	for i := range t.containers {
		ct := &t.containers[i]
		ct.arn = r.ecsARN(fmt.Sprintf("container/%s/%s/%s", cl.name, t.id, r.srv.dice.uuid()))
		n := ct.spec.gpus()
		ct.gpus, left = left[:n], left[n:]
	}
	ci.tasks[t.id] = &t
	cl.tasks[t.id] = &t
	cl.tasksByID.ReplaceOrInsert(&t)
	r.startTask(&t)
	return &t
}
