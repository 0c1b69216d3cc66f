package awsemu

import (
	"encoding/json"
	"strconv"
	"time"
)

// The shapes of ECS that more than one operation uses, with the member names of
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Types.html

// epoch is a moment in awsJson's form: seconds since 1970 with a fraction.
type epoch time.Time

// MarshalJSON renders milliseconds, as ECS does.
func (e epoch) MarshalJSON() ([]byte, error) {
	ms := time.Time(e).UnixMilli()
	return strconv.AppendFloat(nil, float64(ms)/1000, 'f', 3, 64), nil
}

// moment returns nil for the zero time, so that an absent moment isn't rendered.
func moment(t time.Time) *epoch {
	if t.IsZero() {
		return nil
	}
	e := epoch(t)
	return &e
}

type ecsFailure struct {
	ARN    string `json:"arn,omitempty"`
	Reason string `json:"reason"`
	Detail string `json:"detail,omitempty"`
}

type ecsTag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type ecsAttribute struct {
	Name  string  `json:"name"`
	Value *string `json:"value,omitempty"`
}

type ecsKeyValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ecsResource is an amount of CPU or memory, or a set of ports or GPUs. The value
// members that don't apply are zero in AWS's answers, too.
type ecsResource struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	Double  float64  `json:"doubleValue"`
	Long    int64    `json:"longValue"`
	Integer int      `json:"integerValue"`
	Set     []string `json:"stringSetValue,omitempty"`
}

type ecsCluster struct {
	ARN                     string          `json:"clusterArn"`
	Name                    string          `json:"clusterName"`
	Status                  string          `json:"status"`
	ContainerInstances      int             `json:"registeredContainerInstancesCount"`
	RunningTasks            int             `json:"runningTasksCount"`
	PendingTasks            int             `json:"pendingTasksCount"`
	ActiveServices          int             `json:"activeServicesCount"`
	Statistics              []ecsKeyValue   `json:"statistics"`
	Tags                    []ecsTag        `json:"tags"`
	Settings                json.RawMessage `json:"settings,omitempty"`
	Configuration           json.RawMessage `json:"configuration,omitempty"`
	CapacityProviders       []string        `json:"capacityProviders"`
	DefaultProviderStrategy []string        `json:"defaultCapacityProviderStrategy"`
}

type ecsVersionInfo struct {
	AgentVersion  string `json:"agentVersion,omitempty"`
	AgentHash     string `json:"agentHash,omitempty"`
	DockerVersion string `json:"dockerVersion,omitempty"`
}

type ecsContainerInstance struct {
	ARN            string         `json:"containerInstanceArn"`
	EC2InstanceID  string         `json:"ec2InstanceId,omitempty"`
	Version        int64          `json:"version"`
	VersionInfo    ecsVersionInfo `json:"versionInfo"`
	Remaining      []ecsResource  `json:"remainingResources"`
	Registered     []ecsResource  `json:"registeredResources"`
	Status         string         `json:"status"`
	StatusReason   string         `json:"statusReason,omitempty"`
	AgentConnected bool           `json:"agentConnected"`
	RunningTasks   int            `json:"runningTasksCount"`
	PendingTasks   int            `json:"pendingTasksCount"`
	Attributes     []ecsAttribute `json:"attributes"`
	RegisteredAt   *epoch         `json:"registeredAt,omitempty"`
	Attachments    []string       `json:"attachments"`
	Tags           []ecsTag       `json:"tags"`
}

type ecsNetworkBinding struct {
	BindIP        string `json:"bindIP"`
	ContainerPort int    `json:"containerPort"`
	HostPort      int    `json:"hostPort"`
	Protocol      string `json:"protocol"`
}

type ecsContainer struct {
	ARN               string              `json:"containerArn"`
	TaskARN           string              `json:"taskArn"`
	Name              string              `json:"name"`
	Image             string              `json:"image"`
	ImageDigest       string              `json:"imageDigest,omitempty"`
	RuntimeID         string              `json:"runtimeId,omitempty"`
	LastStatus        string              `json:"lastStatus"`
	ExitCode          *int                `json:"exitCode,omitempty"`
	Reason            string              `json:"reason,omitempty"`
	NetworkBindings   []ecsNetworkBinding `json:"networkBindings"`
	NetworkInterfaces []string            `json:"networkInterfaces"`
	HealthStatus      string              `json:"healthStatus"`
	CPU               string              `json:"cpu"`
	Memory            string              `json:"memory,omitempty"`
	MemoryReservation string              `json:"memoryReservation,omitempty"`
	GPUIDs            []string            `json:"gpuIds,omitempty"`
}

type ecsTask struct {
	ARN                  string          `json:"taskArn"`
	ClusterARN           string          `json:"clusterArn"`
	TaskDefinitionARN    string          `json:"taskDefinitionArn"`
	ContainerInstanceARN string          `json:"containerInstanceArn,omitempty"`
	AvailabilityZone     string          `json:"availabilityZone,omitempty"`
	Attachments          []string        `json:"attachments"`
	Attributes           []ecsAttribute  `json:"attributes"`
	Overrides            json.RawMessage `json:"overrides"`
	LastStatus           string          `json:"lastStatus"`
	DesiredStatus        string          `json:"desiredStatus"`
	HealthStatus         string          `json:"healthStatus"`
	CPU                  string          `json:"cpu"`
	Memory               string          `json:"memory"`
	Containers           []ecsContainer  `json:"containers"`
	StartedBy            string          `json:"startedBy,omitempty"`
	Group                string          `json:"group"`
	LaunchType           string          `json:"launchType"`
	Version              int64           `json:"version"`
	EnableExecuteCommand bool            `json:"enableExecuteCommand"`
	Connectivity         string          `json:"connectivity,omitempty"`
	ConnectivityAt       *epoch          `json:"connectivityAt,omitempty"`
	CreatedAt            *epoch          `json:"createdAt,omitempty"`
	PullStartedAt        *epoch          `json:"pullStartedAt,omitempty"`
	PullStoppedAt        *epoch          `json:"pullStoppedAt,omitempty"`
	StartedAt            *epoch          `json:"startedAt,omitempty"`
	StoppingAt           *epoch          `json:"stoppingAt,omitempty"`
	ExecutionStoppedAt   *epoch          `json:"executionStoppedAt,omitempty"`
	StoppedAt            *epoch          `json:"stoppedAt,omitempty"`
	StopCode             string          `json:"stopCode,omitempty"`
	StoppedReason        string          `json:"stoppedReason,omitempty"`
	Tags                 []ecsTag        `json:"tags"`
}
