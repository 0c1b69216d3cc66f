package awsemu

import (
	"encoding/json"
	"strconv"
	"time"
)

// The states of a task:
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html
const (
	taskProvisioning   = "PROVISIONING"
	taskPending        = "PENDING"
	taskActivating     = "ACTIVATING"
	taskRunning        = "RUNNING"
	taskDeactivating   = "DEACTIVATING"
	taskStopping       = "STOPPING"
	taskDeprovisioning = "DEPROVISIONING"
	taskStopped        = "STOPPED"
)

// Why a task stopped: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Task.html
const (
	stopFailedToStart    = "TaskFailedToStart"
	stopContainerExited  = "EssentialContainerExited"
	stopUserInitiated    = "UserInitiated"
	stopServiceScheduler = "ServiceSchedulerInitiated"
	stopTermination      = "TerminationNotice"
)

// task is one task on one host.
type task struct {
	sequence  int64
	version   int64
	id, arn   string
	cluster   *cluster
	host      *containerInstance
	def       *taskDefinition
	overrides json.RawMessage
	group     string
	startedBy string
	tags      tagSet
	exec      bool
	demand    demand
	gpus      []string

	last, desired string
	// step rises with each change of plan, so that a step planned before it
	// knows that it is out of date.
	step       int
	containers []taskContainer

	createdAt, visibleAt, connectedAt  time.Time
	pullStartedAt, pullStoppedAt       time.Time
	startedAt, stoppingAt, executionAt time.Time
	stoppedAt                          time.Time
	stopCode, stoppedReason            string
}

// taskContainer is one container of a task.
type taskContainer struct {
	arn, runtimeID string
	spec           containerSpec // with the overrides applied
	behaviour      behaviour
	last           string
	checked        bool // its health check has run
	exitCode       *int
	reason         string
	bindings       []ecsNetworkBinding
	gpus           []string
}

// task finds a task by id or ARN. Tasks of other clusters aren't found.
func (cl *cluster) task(r *region, ref string) *task {
	id, _ := r.ecsResourceName("task", ref)
	return cl.tasks[id]
}

// health is a container's health: UNKNOWN until its check, if it has one, has run.
func (ct *taskContainer) health() string {
	switch {
	case !ct.checked || ct.last != taskRunning:
		return "UNKNOWN"
	case ct.behaviour.unhealthy:
		return "UNHEALTHY"
	default:
		return "HEALTHY"
	}
}

// health is that of the essential containers: one that is unhealthy decides.
func (t *task) health() string {
	health := "UNKNOWN"
	for i := range t.containers {
		if !t.containers[i].spec.essential() {
			continue
		}
		switch t.containers[i].health() {
		case "UNHEALTHY":
			return "UNHEALTHY"
		case "HEALTHY":
			health = "HEALTHY"
		}
	}
	return health
}

func (t *task) view(withTags bool) ecsTask {
	v := ecsTask{
		ARN: t.arn, ClusterARN: t.cluster.arn, TaskDefinitionARN: t.def.arn,
		ContainerInstanceARN: t.host.arn, AvailabilityZone: t.host.zone,
		Attachments: []string{}, Attributes: []ecsAttribute{}, Overrides: t.overrides,
		LastStatus: t.last, DesiredStatus: t.desired, HealthStatus: t.health(),
		CPU: strconv.Itoa(t.demand.cpu), Memory: strconv.Itoa(t.demand.memory),
		Containers: make([]ecsContainer, 0, len(t.containers)),
		StartedBy:  t.startedBy, Group: t.group, LaunchType: "EC2", Version: t.version,
		EnableExecuteCommand: t.exec,
		ConnectivityAt:       moment(t.connectedAt),
		CreatedAt:            moment(t.createdAt),
		PullStartedAt:        moment(t.pullStartedAt), PullStoppedAt: moment(t.pullStoppedAt),
		StartedAt:  moment(t.startedAt),
		StoppingAt: moment(t.stoppingAt), ExecutionStoppedAt: moment(t.executionAt), StoppedAt: moment(t.stoppedAt),
		StopCode: t.stopCode, StoppedReason: t.stoppedReason,
		Tags: t.tags.listIf(withTags),
	}
	if !t.connectedAt.IsZero() {
		v.Connectivity = "CONNECTED"
		if !t.host.connected && t.last != taskStopped {
			v.Connectivity = "DISCONNECTED"
		}
	}
	for i := range t.containers {
		v.Containers = append(v.Containers, t.containers[i].view(t.arn))
	}
	return v
}

func (ct *taskContainer) view(taskARN string) ecsContainer {
	v := ecsContainer{
		ARN: ct.arn, TaskARN: taskARN, Name: ct.spec.Name, Image: ct.spec.Image,
		RuntimeID: ct.runtimeID, LastStatus: ct.last, ExitCode: ct.exitCode, Reason: ct.reason,
		NetworkBindings: ct.bindings, NetworkInterfaces: []string{},
		HealthStatus: ct.health(), CPU: strconv.Itoa(ct.spec.CPU), GPUIDs: ct.gpus,
	}
	if v.NetworkBindings == nil {
		v.NetworkBindings = []ecsNetworkBinding{}
	}
	if ct.spec.Memory > 0 {
		v.Memory = strconv.Itoa(ct.spec.Memory)
	}
	if ct.spec.MemoryReservation > 0 {
		v.MemoryReservation = strconv.Itoa(ct.spec.MemoryReservation)
	}
	return v
}
