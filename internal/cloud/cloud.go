// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cloud holds what the controllers may ask of a cloud and what they may
// know of it: the values they exchange with it, its errors by kind, and one
// Observer per region, an informer over EC2 and ECS that reconcilers read
// instead of polling.
//
// It knows nothing of Kubernetes objects, and nothing of the AWS SDK, whose
// types end in internal/cloud/aws.
package cloud

import (
	"context"
	"time"
)

// Tag keys that everything made in AWS carries.
const (
	// TagCluster names the control cluster that owns the resource.
	TagCluster = "mandelbox.dev/cluster"
	// TagRegion names the Region object.
	TagRegion = "mandelbox.dev/region"
	// TagAMI names the channel.
	TagAMI = "mandelbox.dev/ami"
	// TagRevision names the channel's revision in that region.
	TagRevision = "mandelbox.dev/revision"
	// TagLaunch is the client token of the launch that made a host.
	TagLaunch = "mandelbox.dev/launch"
	// TagMandelbox is "namespace/name" of the session that a task is for.
	TagMandelbox = "mandelbox.dev/mandelbox"
	// TagSlot is the number of the slot that a task runs in.
	TagSlot = "mandelbox.dev/slot"
)

// Target says which region of which account a client speaks to, and for whom.
// Two equal targets may share a client.
type Target struct {
	// ClusterID is the value of TagCluster; only what carries it is ours.
	ClusterID string
	// Region is the name of the Region object; the value of TagRegion.
	Region string
	// AWSRegion is the AWS region, e.g. "us-east-1".
	AWSRegion string
	// RoleARN is an IAM role to assume, or empty.
	RoleARN string
	// ECSCluster is the name of the ECS cluster.
	ECSCluster string
	// EventQueueURL is the SQS queue that brings the region's events, or empty.
	EventQueueURL string
}

// Owns says whether what carries these tags is the target's.
func (t Target) Owns(tags map[string]string) bool {
	return tags[TagCluster] == t.ClusterID && tags[TagRegion] == t.Region
}

// Provider makes the client of a region.
type Provider interface {
	// Open returns a client for the target. It makes no call to the cloud.
	Open(ctx context.Context, target Target) (API, error)
}

// API is all that the operator asks of one region. Controllers declare the few
// methods they use as interfaces of their own; only the Observer calls Reader.
type API interface {
	Reader
	Writer
	// EventQueue is the target's queue of events; nil if it names none. Only the
	// Observer reads it.
	EventQueue() EventQueue
}

// Reader is how a region is observed.
type Reader interface {
	// ListHosts lists all hosts of the target's cluster and region, terminated
	// ones included as long as EC2 lists them.
	ListHosts(ctx context.Context) ([]Host, error)
	// DescribeHosts returns those of the hosts that EC2 knows; the others are left out.
	DescribeHosts(ctx context.Context, instanceIDs []string) ([]Host, error)
	// ListHostHealth returns what EC2's checks and schedules say of running hosts, for
	// those of which they say anything; hosts of others may be among them.
	ListHostHealth(ctx context.Context) ([]HostHealth, error)
	// ListSpotInterruptions returns the spot hosts of the target's cluster and region
	// that EC2 has given notice to, those included that it took a while ago.
	ListSpotInterruptions(ctx context.Context) ([]SpotInterruption, error)
	// HostsOfLaunch finds the hosts that a call with this client token launched.
	HostsOfLaunch(ctx context.Context, token string) ([]Host, error)
	// ListContainerHosts lists all container instances of the ECS cluster that are
	// ACTIVE or DRAINING; none if there is no such cluster.
	ListContainerHosts(ctx context.Context) ([]ContainerHost, error)
	// DescribeContainerHosts returns those that ECS knows; the others are left out.
	DescribeContainerHosts(ctx context.Context, arns []string) ([]ContainerHost, error)
	// FindContainerHosts finds the container instances of EC2 instances that may
	// have registered; those that have not are left out.
	FindContainerHosts(ctx context.Context, instanceIDs []string) ([]ContainerHost, error)
	// ListTasks lists all tasks of the ECS cluster that carry the target's tags,
	// stopped ones included as long as ECS lists them. Those that are to run, and that
	// settled says it of, are listed by their ARNs alone; nil says it of none.
	ListTasks(ctx context.Context, settled func(arn string) bool) (TaskListing, error)
	// DescribeTasks returns those that ECS knows; the others are left out.
	DescribeTasks(ctx context.Context, arns []string) ([]Task, error)
	// InstanceTypes describes instance types; unknown ones are left out.
	InstanceTypes(ctx context.Context, names []string) (map[string]InstanceType, error)
	// Subnets finds subnets by id or tags; a missing id is an error of kind NotFound.
	Subnets(ctx context.Context, by Selector) ([]Subnet, error)
	// SecurityGroups finds security groups by id or tags; a missing id is an error
	// of kind NotFound.
	SecurityGroups(ctx context.Context, by Selector) ([]string, error)
	// Images returns which of the images exist and are available; the others are left out.
	Images(ctx context.Context, ids []string) (map[string]Image, error)
	// Cluster returns the ARN of the target's ECS cluster, or "" if there is none
	// that is ACTIVE.
	Cluster(ctx context.Context) (string, error)
}

// Writer is how intent reaches a region. Every method may be repeated: none
// makes a second thing of what it made before.
type Writer interface {
	// EnsureCluster makes the ECS cluster if there is none, and returns its ARN.
	EnsureCluster(ctx context.Context, tags map[string]string) (string, error)
	// EnsureTaskDefinition registers a task definition under its family unless the
	// family has an active one, which must then be of the same content (the family
	// has the content's hash in its name).
	EnsureTaskDefinition(ctx context.Context, def TaskDefinition) (RegisteredTask, error)
	// DescribeTaskDefinition returns an existing one, by "family:revision" or ARN.
	DescribeTaskDefinition(ctx context.Context, name string) (RegisteredTask, error)
	// LaunchHosts launches hosts under a client token; the same request again
	// returns the same hosts. Fewer than asked for may come back, at least one.
	// A mismatch of parameters finds the launched hosts by their token and returns them.
	LaunchHosts(ctx context.Context, launch Launch) ([]Host, error)
	// TerminateHost terminates a host; concurrent calls share a request to EC2. A host
	// that EC2 doesn't know any more is no error.
	TerminateHost(ctx context.Context, instanceID string) error
	// RunTask starts one task on one host under a client token; the same request
	// again returns the same task. A task of the same token on another host is
	// stopped, and reported as an error of kind Conflict.
	RunTask(ctx context.Context, run TaskRun) (Task, error)
	// StopTask stops a task; one that ECS doesn't know any more is no error.
	StopTask(ctx context.Context, taskARN, reason string) error
	// DrainHosts sets container instances to DRAINING; ECS starts nothing new there.
	DrainHosts(ctx context.Context, containerInstanceARNs []string) error
	// DeregisterHost takes a container instance out of the cluster; one that is
	// not there is no error.
	DeregisterHost(ctx context.Context, containerInstanceARN string) error
}

// Selector finds resources by id, or by tags that they must all carry; a tag
// with an empty value asks for the key alone.
type Selector struct {
	IDs  []string
	Tags map[string]string
}

// HostState is the state of a host as EC2 names it.
type HostState string

// The states of an EC2 instance.
// See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html.
const (
	HostPending      HostState = "pending"
	HostRunning      HostState = "running"
	HostStopping     HostState = "stopping"
	HostStopped      HostState = "stopped"
	HostShuttingDown HostState = "shutting-down"
	HostTerminated   HostState = "terminated"
)

// Gone says whether a host in this state will never run again.
func (s HostState) Gone() bool { return s == HostShuttingDown || s == HostTerminated }

// Halted says whether a host in this state was stopped, or is being: nothing on it
// runs any more, and it comes back only if a person starts it.
func (s HostState) Halted() bool { return s == HostStopping || s == HostStopped }

// Host is one EC2 instance as it was observed.
type Host struct {
	InstanceID string
	// Token and Index identify the host before its id is known: the client token
	// of its launch and its place in it.
	Token        string
	Index        int32
	State        HostState
	StateReason  string
	InstanceType string
	ImageID      string
	SubnetID     string
	Zone         string
	PrivateIP    string
	PublicIP     string
	Spot         bool
	LaunchTime   time.Time
	Tags         map[string]string
}

// Resources are amounts of what tasks need: CPU in shares of 1024 to a vCPU,
// memory in MiB, GPUs that are pinned.
type Resources struct {
	CPU       int32
	MemoryMiB int32
	GPUs      int32
}

// ContainerHost is one ECS container instance as it was observed.
type ContainerHost struct {
	ARN        string
	InstanceID string
	// Status is ACTIVE, DRAINING, REGISTERING or INACTIVE.
	Status         string
	AgentConnected bool
	Registered     Resources
	RunningTasks   int32
	PendingTasks   int32
	RegisteredAt   time.Time
}

// Statuses of a container instance and of a task, as ECS names them.
// See https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html.
const (
	ContainerHostActive   = "ACTIVE"
	ContainerHostDraining = "DRAINING"
	ContainerHostInactive = "INACTIVE"
	TaskRunning           = "RUNNING"
	TaskStopped           = "STOPPED"
)

// Task is one ECS task as it was observed.
type Task struct {
	ARN              string
	ContainerHostARN string
	// StartedBy says whom it is for: see StartedBy.
	StartedBy      string
	TaskDefinition string
	// LastStatus and DesiredStatus are as ECS names them.
	LastStatus    string
	DesiredStatus string
	// Health is HEALTHY, UNHEALTHY or UNKNOWN.
	Health        string
	StopCode      string
	StoppedReason string
	// ExitCode is that of the essential container, once it ended with one.
	ExitCode  *int32
	Ports     []Port
	CreatedAt time.Time
	StartedAt time.Time
	StoppedAt time.Time
	Tags      map[string]string
}

// TaskListing is what a full listing of tasks showed.
type TaskListing struct {
	// Tasks are those that were described.
	Tasks []Task
	// Settled are the ARNs of the others, all of which are to run.
	Settled []string
}

// Stopped says whether nothing of the task runs any more.
func (t Task) Stopped() bool { return t.LastStatus == TaskStopped }

// Port is a host port that leads to a container's port.
type Port struct {
	ContainerPort int32
	HostPort      int32
	// Protocol is "tcp" or "udp".
	Protocol string
}

// InstanceType is what EC2 says of an instance type.
type InstanceType struct {
	Name      string
	VCPUs     int32
	MemoryMiB int32
	GPUs      int32
}

// Subnet is a subnet that hosts may be launched into.
type Subnet struct {
	ID   string
	Zone string
	// FreeAddresses is how many addresses it has left.
	FreeAddresses int32
}

// Image is an EC2 image that is available.
type Image struct {
	ID             string
	RootDeviceName string
}

// Launch asks for Count hosts in one call.
type Launch struct {
	// Token is the client token, at most 64 ASCII characters.
	Token string
	// Count is how many hosts, 1 to 100; at least one or none at all.
	Count                    int32
	ImageID                  string
	InstanceType             string
	SubnetID                 string
	SecurityGroups           []string
	AssociatePublicIPAddress *bool
	InstanceProfile          string
	BlockDevices             []BlockDevice
	// UserData is sent as it is, before its encoding in base64.
	UserData string
	Spot     bool
	// LaunchTemplate names a template to start from, with its version; or is empty.
	LaunchTemplate        string
	LaunchTemplateVersion string
	// Tags are put on hosts and volumes in the same call.
	Tags map[string]string
}

// BlockDevice is a disk of a host.
type BlockDevice struct {
	DeviceName string
	SizeGiB    int32
	VolumeType string
	IOPS       int32
	Encrypted  bool
}

// TaskDefinition is a task of one container to be registered.
type TaskDefinition struct {
	// Family is its name; it has a hash of the content in it.
	Family           string
	ContainerName    string
	Image            string
	Resources        Resources
	Ports            []Port
	Env              map[string]string
	TaskRoleARN      string
	ExecutionRoleARN string
	HealthCheck      *HealthCheck
	LogDriver        string
	LogOptions       map[string]string
	Tags             map[string]string
}

// HealthCheck is a container's health check; times are in seconds.
type HealthCheck struct {
	Command  []string
	Interval int32
	Timeout  int32
	Retries  int32
}

// RegisteredTask is a task definition that ECS has.
type RegisteredTask struct {
	ARN string
	// ContainerName is its first essential container.
	ContainerName string
	Resources     Resources
	Ports         []Port
	HealthCheck   bool
}

// TaskRun asks for one task on one host.
type TaskRun struct {
	// Token is the client token, at most 64 characters.
	Token          string
	TaskDefinition string
	// InstanceID is the EC2 instance that the task must be placed on.
	InstanceID string
	// ContainerHostARN is the same host as ECS names it; a task that the token
	// brought up elsewhere is not taken for this one.
	ContainerHostARN string
	StartedBy        string
	ContainerName    string
	Command          []string
	Env              map[string]string
	Tags             map[string]string
}
