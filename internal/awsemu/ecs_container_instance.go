package awsemu

import (
	"sort"
	"time"
)

// What the simulated agents say of themselves.
const (
	agentVersion  = "1.89.2"
	agentHash     = "c1d7fb4e"
	dockerVersion = "DockerVersion: 25.0.6"
)

// The states of a container instance:
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerInstance.html
const (
	hostActive   = "ACTIVE"
	hostDraining = "DRAINING"
	hostInactive = "INACTIVE"
)

// containerInstance is a host as ECS knows it.
type containerInstance struct {
	sequence     int64
	version      int64
	id, arn      string
	cluster      *cluster
	ec2ID        string
	zone         string
	status       string
	connected    bool
	registeredAt time.Time
	visibleAt    time.Time
	attributes   map[string]string
	tags         tagSet
	total, free  hostResources

	// drainsOnNotice is its agent's ECS_ENABLE_SPOT_INSTANCE_DRAINING.
	drainsOnNotice bool

	// tasks are those that aren't stopped yet, by id.
	tasks map[string]*task
	// images are those on the host, and when the pull of each ends.
	images map[string]time.Time
	// missed is what happened on the host while its agent couldn't tell ECS.
	missed []func()
}

// registered says whether the host still belongs to its cluster.
func (ci *containerInstance) registered() bool { return ci.status != hostInactive }

// taskCounts are the tasks that run and those that are on their way to it.
func (ci *containerInstance) taskCounts() (running, pending int) {
	for _, t := range ci.tasks {
		switch {
		case t.last == taskRunning && t.desired == taskRunning:
			running++
		case t.last == taskProvisioning || t.last == taskPending || t.last == taskActivating:
			pending++
		}
	}
	return running, pending
}

// taskGroups are the groups of the host's tasks.
func (ci *containerInstance) taskGroups() []string {
	groups := make([]string, 0, len(ci.tasks))
	for _, t := range ci.tasks {
		groups = append(groups, t.group)
	}
	return groups
}

// orderedTasks are the host's tasks from old to new, so that a run repeats itself.
func (ci *containerInstance) orderedTasks() []*task {
	all := make([]*task, 0, len(ci.tasks))
	for _, t := range ci.tasks {
		all = append(all, t)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].sequence < all[j].sequence })
	return all
}

func (ci *containerInstance) view(withTags bool) ecsContainerInstance {
	running, pending := ci.taskCounts()
	v := ecsContainerInstance{
		ARN:           ci.arn,
		EC2InstanceID: ci.ec2ID,
		Version:       ci.version,
		VersionInfo:   ecsVersionInfo{agentVersion, agentHash, dockerVersion},
		Registered:    ci.total.view(), Remaining: ci.free.view(),
		Status:         ci.status,
		AgentConnected: ci.connected,
		RunningTasks:   running, PendingTasks: pending,
		Attributes:   make([]ecsAttribute, 0, len(ci.attributes)+len(agentCapabilities)),
		RegisteredAt: moment(ci.registeredAt),
		Attachments:  []string{},
		Tags:         ci.tags.listIf(withTags),
	}
	for name, value := range ci.attributes {
		v.Attributes = append(v.Attributes, ecsAttribute{Name: name, Value: &value})
	}
	for _, capability := range agentCapabilities {
		v.Attributes = append(v.Attributes, ecsAttribute{Name: capability})
	}
	sort.Slice(v.Attributes, func(i, j int) bool { return v.Attributes[i].Name < v.Attributes[j].Name })
	return v
}

// agentCapabilities are attributes without a value that every agent registers.
var agentCapabilities = []string{
	"com.amazonaws.ecs.capability.docker-remote-api.1.24",
	"com.amazonaws.ecs.capability.logging-driver.awslogs",
	"com.amazonaws.ecs.capability.task-iam-role",
	"ecs.capability.container-health-check",
	"ecs.capability.execution-role-awslogs",
	"ecs.capability.task-cpu-mem-limit",
}

// host finds a container instance by id or ARN. Hosts of other clusters aren't found.
func (cl *cluster) host(r *region, ref string) *containerInstance {
	id, _ := r.ecsResourceName("container-instance", ref)
	return cl.hosts[id]
}

// enrol adds a host to its cluster. The caller has filled in what it is.
func (r *region) enrol(cl *cluster, ci *containerInstance) {
	ci.sequence = r.ecs.next()
	ci.version = 1
	ci.id = r.newECSID()
	ci.cluster = cl
	ci.arn = r.ecsARN("container-instance/" + cl.name + "/" + ci.id)
	ci.status, ci.connected = hostActive, true
	ci.registeredAt = r.now()
	ci.visibleAt = r.now().Add(r.delays().VisibilityLag)
	ci.tasks = map[string]*task{}
	ci.images = map[string]time.Time{}
	ci.free = ci.total.clone()
	if ci.tags == nil {
		ci.tags = tagSet{}
	}
	cl.hosts[ci.id] = ci
	cl.hostsByID.ReplaceOrInsert(ci)
	if ci.ec2ID != "" {
		r.ecs.agents[ci.ec2ID] = ci
	}
	r.tell(ci)
}

// strikeHost takes a host out of its cluster. It stays describable, as INACTIVE, for
// as long as a stopped task would.
func (r *region) strikeHost(ci *containerInstance) {
	ci.status, ci.connected = hostInactive, false
	r.memberChanged(ci)
	ci.missed = nil
	if r.ecs.agents[ci.ec2ID] == ci {
		delete(r.ecs.agents, ci.ec2ID)
	}
	r.after(r.delays().StoppedTaskRetention, func() {
		delete(ci.cluster.hosts, ci.id)
		ci.cluster.hostsByID.Delete(ci)
	})
}
