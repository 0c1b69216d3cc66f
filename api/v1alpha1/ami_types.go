// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Protocol is the transport of a port.
// +kubebuilder:validation:Enum=TCP;UDP
type Protocol string

// The protocols.
const (
	// ProtocolTCP is TCP.
	ProtocolTCP Protocol = "TCP"
	// ProtocolUDP is UDP.
	ProtocolUDP Protocol = "UDP"
)

// GPUMode is how a session gets at the GPUs of its host.
// +kubebuilder:validation:Enum=Shared;Exclusive;None
type GPUMode string

// The GPU modes.
const (
	// GPUShared spreads the sessions of a host evenly over its GPUs.
	GPUShared GPUMode = "Shared"
	// GPUExclusive gives each session a GPU of its own, as ECS pins it.
	GPUExclusive GPUMode = "Exclusive"
	// GPUNone gives sessions no GPU.
	GPUNone GPUMode = "None"
)

// RolloutStrategy is how a release takes over from the one before it.
// +kubebuilder:validation:Enum=Atomic;PerRegion
type RolloutStrategy string

// The rollout strategies.
const (
	// RolloutAtomic swaps all regions in one write, once each has its warm buffer.
	RolloutAtomic RolloutStrategy = "Atomic"
	// RolloutPerRegion swaps each region as soon as it has its own warm buffer.
	RolloutPerRegion RolloutStrategy = "PerRegion"
)

// RegionImage is the image of a release in one region.
type RegionImage struct {
	// region is the name of the Region.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Region string `json:"region,omitempty"`
	// imageID is the EC2 image in that region, e.g. "ami-0abcdef1234567890". It
	// must carry an ECS agent.
	// +required
	// +kubebuilder:validation:MinLength=5
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^ami-[0-9a-f]+$`
	ImageID string `json:"imageID,omitempty"`
	// containerImage replaces task.image in this region, so that each region can
	// pull from a registry of its own.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	ContainerImage string `json:"containerImage,omitempty"`
	// desiredFreeMandelboxes replaces the Region's for this channel.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	DesiredFreeMandelboxes *int32 `json:"desiredFreeMandelboxes,omitempty"`
	// minInstances replaces the Region's for this channel.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=5000
	MinInstances *int32 `json:"minInstances,omitempty"`
}

// TaskPort is a port that the container listens on; ECS binds it to a free port of the host.
type TaskPort struct {
	// name of the port, e.g. "webrtc".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
	// containerPort is the port inside the container.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	ContainerPort int32 `json:"containerPort,omitempty"`
	// protocol is TCP or UDP; TCP by default.
	// +optional
	// +kubebuilder:default=TCP
	Protocol Protocol `json:"protocol,omitempty"`
}

// TaskHealthCheck says how ECS finds out whether the container is healthy.
type TaskHealthCheck struct {
	// command is what ECS runs inside the container, e.g. ["CMD-SHELL", "curl -f http://localhost/"].
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=1024
	Command []string `json:"command,omitempty"`
	// intervalSeconds is the time between two checks; 30 by default.
	// +optional
	// +kubebuilder:default=30
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=300
	IntervalSeconds int32 `json:"intervalSeconds,omitempty"`
	// timeoutSeconds is how long one check may take; 5 by default.
	// +optional
	// +kubebuilder:default=5
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=60
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`
	// retries is how many checks may fail in a row; 3 by default.
	// +optional
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10
	Retries int32 `json:"retries,omitempty"`
}

// LogOption is one option of a container's log driver.
type LogOption struct {
	// name of the option, e.g. "awslogs-group".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name,omitempty"`
	// value of the option.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Value string `json:"value,omitempty"`
}

// TaskLogging says where the container's output goes.
type TaskLogging struct {
	// driver is the log driver, e.g. "awslogs".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Driver string `json:"driver,omitempty"`
	// options are passed to the driver.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Options []LogOption `json:"options,omitempty"`
}

// TaskTemplate is the container that a Mandelbox of the channel runs: written out
// here, or a task definition that exists in every region.
// +kubebuilder:validation:XValidation:rule="has(self.image) != has(self.familyRevision)",message="exactly one of task.image and task.familyRevision must be set"
// +kubebuilder:validation:XValidation:rule="!has(self.image) || (has(self.cpu) && has(self.memoryMiB))",message="task.cpu and task.memoryMiB are required with task.image"
// +kubebuilder:validation:XValidation:rule="!has(self.familyRevision) || (!has(self.cpu) && !has(self.memoryMiB) && !has(self.env) && !has(self.ports) && !has(self.taskRoleARN) && !has(self.executionRoleARN) && !has(self.healthCheck) && !has(self.logging))",message="task.familyRevision must not be combined with the fields of an inline task"
type TaskTemplate struct {
	// image is the container image. Exactly one of image and familyRevision is set.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`
	// familyRevision is an existing ECS task definition, "family:revision", the
	// same in every region; never an ARN, which has a region in it.
	// +optional
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=300
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]+:[0-9]+$`
	FamilyRevision string `json:"familyRevision,omitempty"`
	// cpu is the CPU share that ECS reserves, 1024 to a vCPU.
	// +optional
	// +kubebuilder:validation:Minimum=128
	// +kubebuilder:validation:Maximum=196608
	CPU int32 `json:"cpu,omitempty"`
	// memoryMiB is the memory that ECS reserves and the container may not exceed.
	// +optional
	// +kubebuilder:validation:Minimum=4
	// +kubebuilder:validation:Maximum=1048576
	MemoryMiB int32 `json:"memoryMiB,omitempty"`
	// gpu is Shared (several sessions to a GPU, the default), Exclusive or None.
	// +optional
	// +kubebuilder:default=Shared
	GPU GPUMode `json:"gpu,omitempty"`
	// ports are the container's ports.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(p, self.exists_one(q, q.containerPort == p.containerPort && q.protocol == p.protocol))",message="task.ports must not name a container port twice"
	Ports []TaskPort `json:"ports,omitempty"`
	// env is the container's environment; a Mandelbox's own env is added to it.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=50
	Env []EnvVar `json:"env,omitempty"`
	// taskRoleARN is the IAM role of the container.
	// +optional
	// +kubebuilder:validation:MinLength=20
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$`
	TaskRoleARN string `json:"taskRoleARN,omitempty"`
	// executionRoleARN is the IAM role with which ECS pulls the image and writes logs.
	// +optional
	// +kubebuilder:validation:MinLength=20
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$`
	ExecutionRoleARN string `json:"executionRoleARN,omitempty"`
	// healthCheck must pass, where given, before a session counts as running.
	// +optional
	HealthCheck *TaskHealthCheck `json:"healthCheck,omitempty"`
	// logging says where the container's output goes; to the host's default by default.
	// +optional
	Logging *TaskLogging `json:"logging,omitempty"`
}

// Warmup is a run of the channel's task on each new host before it takes
// sessions: the first start of a container on a host takes over a minute.
type Warmup struct {
	// command replaces the container's command for the warm-up, e.g. ["true"]; by
	// default the image's own command runs.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=1024
	Command []string `json:"command,omitempty"`
	// timeout is how long the warm-up may take, 5m by default; a container that
	// still runs by then was warm enough and is stopped.
	// +optional
	// +kubebuilder:default="5m0s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="timeout must be positive"
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// Rollout says how a changed spec takes over.
type Rollout struct {
	// strategy is Atomic (the default) or PerRegion.
	// +optional
	// +kubebuilder:default=Atomic
	Strategy RolloutStrategy `json:"strategy,omitempty"`
	// bufferTimeout is how long the new release's hosts may take to become ready,
	// 15m by default; after that the rollout stalls and the old release goes on serving.
	// +optional
	// +kubebuilder:default="15m0s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="bufferTimeout must be positive"
	BufferTimeout *metav1.Duration `json:"bufferTimeout,omitempty"`
	// drainTimeout is how long sessions of a replaced release may run on after the
	// swap. None by default: they run until they end. It is the only thing by which a
	// rollout ends sessions, and goes for hosts that begin to drain after it was set:
	// each is annotated with the time, which may be changed there.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="drainTimeout must be positive"
	DrainTimeout *metav1.Duration `json:"drainTimeout,omitempty"`
}

// AMISpec is the release that the channel offers; changing it rolls it out.
type AMISpec struct {
	// clientCommitHash is the client build that the images were made for: 7 to 64
	// hexadecimal digits. In a region a commit hash belongs to one AMI.
	// +required
	// +kubebuilder:validation:MinLength=7
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{7,64}$`
	ClientCommitHash string `json:"clientCommitHash,omitempty"`
	// images are the EC2 images of the release, one for each region it is offered in.
	// +required
	// +listType=map
	// +listMapKey=region
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Images []RegionImage `json:"images,omitempty"`
	// task is the container that a Mandelbox of this channel runs.
	// +required
	Task TaskTemplate `json:"task,omitzero"`
	// warmup is a run of the task on each new host before it takes sessions; none by default.
	// +optional
	Warmup *Warmup `json:"warmup,omitempty"`
	// rollout says how a changed spec takes over.
	// +optional
	// +kubebuilder:default={}
	Rollout Rollout `json:"rollout,omitzero"`
	// suspend stops a rollout where it stands; what is active goes on serving.
	// False by default.
	// +optional
	Suspend *bool `json:"suspend,omitempty"`
}

// RevisionState is what a revision is doing.
// +kubebuilder:validation:Enum=Warming;Active;Failed;Retiring
type RevisionState string

// The states of a revision.
const (
	// RevisionWarming is launching its buffer; nothing is assigned to it yet.
	RevisionWarming RevisionState = "Warming"
	// RevisionActive is the one that new Mandelboxes get.
	RevisionActive RevisionState = "Active"
	// RevisionFailed did not get its buffer; its hosts leave.
	RevisionFailed RevisionState = "Failed"
	// RevisionRetiring was replaced; its hosts leave as their sessions end.
	RevisionRetiring RevisionState = "Retiring"
)

// TaskResources is what one task of a revision needs of its host.
type TaskResources struct {
	// cpu is the CPU share, 1024 to a vCPU.
	// +optional
	// +kubebuilder:validation:Minimum=0
	CPU *int32 `json:"cpu,omitempty"`
	// memoryMiB is the memory.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MemoryMiB *int32 `json:"memoryMiB,omitempty"`
	// gpus is the number of GPUs that ECS pins to the task; 0 for Shared and None.
	// +optional
	// +kubebuilder:validation:Minimum=0
	GPUs *int32 `json:"gpus,omitempty"`
}

// RevisionRegion is one revision in one region: the whole row, so that an old
// release can still launch hosts and run tasks while the new one warms.
type RevisionRegion struct {
	// region is the name of the Region.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Region string `json:"region,omitempty"`
	// id names what hosts of this revision and region run: a hash of commit hash,
	// image and task. A region that a release doesn't change keeps its id.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	ID string `json:"id,omitempty"`
	// imageID is the EC2 image.
	// +required
	// +kubebuilder:validation:MinLength=5
	// +kubebuilder:validation:MaxLength=64
	ImageID string `json:"imageID,omitempty"`
	// taskDefinition is the registered ECS task definition; empty until it is.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	TaskDefinition string `json:"taskDefinition,omitempty"`
	// containerName is the container in it that gets a session's environment.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	ContainerName string `json:"containerName,omitempty"`
	// resources is what a task of it needs.
	// +optional
	Resources TaskResources `json:"resources,omitzero"`
	// gpu is how a session gets at the GPUs.
	// +optional
	GPU GPUMode `json:"gpu,omitempty"`
	// healthCheck says whether the task has one, which must then pass before a
	// session counts as running.
	// +optional
	HealthCheck *bool `json:"healthCheck,omitempty"`
	// ports name the container's ports.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Ports []TaskPort `json:"ports,omitempty"`
}

// Revision is one release of the channel.
type Revision struct {
	// name is a hash of the release's commit hash, images and task.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
	// clientCommitHash is the client build.
	// +required
	// +kubebuilder:validation:MinLength=7
	// +kubebuilder:validation:MaxLength=64
	ClientCommitHash string `json:"clientCommitHash,omitempty"`
	// state is Warming, Active, Failed or Retiring.
	// +required
	State RevisionState `json:"state,omitempty"`
	// time is when the revision came into this state.
	// +optional
	Time metav1.Time `json:"time,omitempty,omitzero"`
	// regions are the rows of the release.
	// +optional
	// +listType=map
	// +listMapKey=region
	// +kubebuilder:validation:MaxItems=32
	Regions []RevisionRegion `json:"regions,omitempty"`
}

// HostCounts counts hosts by phase.
type HostCounts struct {
	// preConnection is how many were asked for and not heard of yet.
	// +optional
	// +kubebuilder:validation:Minimum=0
	PreConnection *int32 `json:"preConnection,omitempty"`
	// active is how many take sessions.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Active *int32 `json:"active,omitempty"`
	// draining is how many wait for their last session to end.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Draining *int32 `json:"draining,omitempty"`
	// unresponsive is how many have an agent that isn't connected.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Unresponsive *int32 `json:"unresponsive,omitempty"`
	// terminating is how many are on their way out.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Terminating *int32 `json:"terminating,omitempty"`
}

// AMIRegionStatus is how the channel stands in one region.
type AMIRegionStatus struct {
	// region is the name of the Region.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Region string `json:"region,omitempty"`
	// imageID is the image of the active release, or of the coming one before the first.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	ImageID string `json:"imageID,omitempty"`
	// active says whether new Mandelboxes of the channel may go there.
	// +optional
	Active *bool `json:"active,omitempty"`
	// protectedFromScaleDown says whether a rollout is filling its buffer there.
	// +optional
	ProtectedFromScaleDown *bool `json:"protectedFromScaleDown,omitempty"`
	// hosts counts the channel's hosts by phase.
	// +optional
	Hosts HostCounts `json:"hosts,omitzero"`
	// activeRevision is the revision that new Mandelboxes get in this region, while
	// that is another than status.activeRevision: a rollout region by region is under way.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	ActiveRevision string `json:"activeRevision,omitempty"`
	// free is the number of free slots of the active release.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Free *int32 `json:"free,omitempty"`
	// message says what is wrong or being waited for there, if anything.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// AMIStatus is how far the release has come.
type AMIStatus struct {
	// observedGeneration is the generation that this status answers; -1 until the
	// first reconcile.
	// +optional
	// +kubebuilder:validation:Minimum=-1
	ObservedGeneration *int64 `json:"observedGeneration,omitempty"`
	// lastHandledReconcileAt is the value that the annotation
	// cloud.mandelbox.dev/reconcile-at had at the last reconcile, which answered it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
	// conditions are Ready, RolledOut, and Reconciling or Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
	// activeRevision is the revision that new Mandelboxes get; writing it is the swap.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	ActiveRevision string `json:"activeRevision,omitempty"`
	// progress says in a word or two for each region how far the rollout is there,
	// e.g. "us-east-1 done, us-west-2 3/8 warm".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Progress string `json:"progress,omitempty"`
	// revisions are at most three releases: the active one, the coming one and
	// the one before.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=3
	Revisions []Revision `json:"revisions,omitempty"`
	// regions say how the channel stands in each region.
	// +optional
	// +listType=map
	// +listMapKey=region
	// +kubebuilder:validation:MaxItems=64
	Regions []AMIRegionStatus `json:"regions,omitempty"`
}

// AMI is a release channel: a client commit hash with its image in each region,
// and the container that a Mandelbox runs there. Changing the spec rolls it out.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=ami,categories=cloud,path=amis,singular=ami
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Rollout",type=string,JSONPath=`.status.conditions[?(@.type=="RolledOut")].reason`
// +kubebuilder:printcolumn:name="Commit",type=string,JSONPath=`.spec.clientCommitHash`
// +kubebuilder:printcolumn:name="Active",type=string,JSONPath=`.status.activeRevision`
// +kubebuilder:printcolumn:name="Progress",type=string,JSONPath=`.status.progress`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="RolledOut")].message`,priority=1
type AMI struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec is the release that the channel offers.
	// +required
	Spec AMISpec `json:"spec,omitzero"`
	// status is how far the release has come.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status AMIStatus `json:"status,omitzero"`
}

// AMIList is a list of AMIs.
//
// +kubebuilder:object:root=true
type AMIList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AMI `json:"items"`
}
