// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// PurchaseOption is how hosts are bought.
// +kubebuilder:validation:Enum=OnDemand;Spot
type PurchaseOption string

// The purchase options.
const (
	// PurchaseOnDemand pays by the second and is never taken back.
	PurchaseOnDemand PurchaseOption = "OnDemand"
	// PurchaseSpot is cheaper, and AWS may take the host back at two minutes' notice.
	PurchaseSpot PurchaseOption = "Spot"
)

// UserDataFormat is what spec.userData is.
// +kubebuilder:validation:Enum=ECS;Custom
type UserDataFormat string

// The user data formats.
const (
	// UserDataECS is a shell script; the operator puts the ECS agent's
	// configuration in front of it.
	UserDataECS UserDataFormat = "ECS"
	// UserDataCustom is sent as it is: it must configure the ECS agent itself.
	UserDataCustom UserDataFormat = "Custom"
)

// Tag is a key and value on an AWS resource.
type Tag struct {
	// key of the tag.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Key string `json:"key,omitempty"`
	// value of the tag.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=256
	Value *string `json:"value,omitempty"`
}

// ResourceSelector names AWS resources by id or by tags.
// +kubebuilder:validation:XValidation:rule="has(self.ids) != has(self.tags)",message="exactly one of ids and tags must be set"
type ResourceSelector struct {
	// ids of the resources. Exactly one of ids and tags is set.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	IDs []string `json:"ids,omitempty"`
	// tags that a resource must all carry; an empty value asks for the key alone.
	// +optional
	// +listType=map
	// +listMapKey=key
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Tags []Tag `json:"tags,omitempty"`
}

// BlockDevice is a disk of a host.
type BlockDevice struct {
	// deviceName is what the image calls it, e.g. "/dev/xvda".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	DeviceName string `json:"deviceName,omitempty"`
	// sizeGiB is its size.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65536
	SizeGiB int32 `json:"sizeGiB,omitempty"`
	// volumeType is the EBS volume type; "gp3" by default.
	// +optional
	// +kubebuilder:default=gp3
	// +kubebuilder:validation:Enum=gp2;gp3;io1;io2;st1;sc1;standard
	VolumeType string `json:"volumeType,omitempty"`
	// iops is the number of operations a second, for types that take it.
	// +optional
	// +kubebuilder:validation:Minimum=100
	// +kubebuilder:validation:Maximum=256000
	IOPS int32 `json:"iops,omitempty"`
	// encrypted says whether the disk is encrypted; true by default.
	// +optional
	// +kubebuilder:default=true
	Encrypted *bool `json:"encrypted,omitempty"`
}

// LaunchTemplate is an EC2 launch template that hosts are launched from; what
// the Region says goes before what the template says.
type LaunchTemplate struct {
	// name of the launch template.
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name,omitempty"`
	// version of it: a number, "$Latest" or "$Default", which is the default.
	// +optional
	// +kubebuilder:default="$Default"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^([0-9]+|\$Latest|\$Default)$`
	Version string `json:"version,omitempty"`
}

// Schedule keeps more slots free at known peaks.
type Schedule struct {
	// name of the schedule, e.g. "weekday-mornings".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
	// cron says when the peak begins, in five fields: minute, hour, day of the
	// month, month and day of the week, e.g. "30 7 * * MON-FRI".
	// +required
	// +kubebuilder:validation:MinLength=9
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[0-9A-Za-z*/,?-]+( [0-9A-Za-z*/,?-]+){4}$`
	Cron string `json:"cron,omitempty"`
	// timeZone is the IANA time zone that cron is read in, e.g. "Europe/Paris";
	// UTC by default. Where clocks are put forward over a beginning, the peak begins
	// at the next one.
	// +optional
	// +kubebuilder:default=UTC
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$`
	TimeZone string `json:"timeZone,omitempty"`
	// duration is how long the peak lasts, from a minute to a week.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('168h')",message="duration must be between 1m and 168h"
	Duration metav1.Duration `json:"duration,omitzero"`
	// desiredFreeMandelboxes is how many slots are kept free while the schedule is
	// in force, for each active channel, where that are more than otherwise.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	DesiredFreeMandelboxes *int32 `json:"desiredFreeMandelboxes,omitempty"`
}

// Capacity says how much warm room a region keeps. A change takes effect at once.
// +kubebuilder:validation:XValidation:rule="!has(self.minInstances) || self.minInstances <= self.maxInstances",message="minInstances must not exceed maxInstances"
type Capacity struct {
	// vcpusPerMandelbox is how many vCPUs of a host one Mandelbox takes; 4 by default.
	// +optional
	// +kubebuilder:default=4
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=192
	VCPUsPerMandelbox int32 `json:"vcpusPerMandelbox,omitempty"`
	// mandelboxesPerGPU is how many Mandelboxes share one GPU, 2 by default; 0
	// leaves GPUs out of the reckoning.
	// +optional
	// +kubebuilder:default=2
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=64
	MandelboxesPerGPU *int32 `json:"mandelboxesPerGPU,omitempty"`
	// desiredFreeMandelboxes is how many slots are kept free for those to come, for
	// each active channel; 20 by default.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000
	DesiredFreeMandelboxes *int32 `json:"desiredFreeMandelboxes,omitempty"`
	// minInstances is the least number of hosts for each active channel; 0 by default.
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=5000
	MinInstances *int32 `json:"minInstances,omitempty"`
	// maxInstances is the greatest number of hosts in the whole region. It is
	// required, since it bounds what the region can cost.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=5000
	MaxInstances *int32 `json:"maxInstances,omitempty"`
	// scaleDownStabilization is how long there must have been a host too many
	// before an empty one leaves; 5m by default.
	// +optional
	// +kubebuilder:default="5m0s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	ScaleDownStabilization *metav1.Duration `json:"scaleDownStabilization,omitempty"`
	// schedules keep more slots free at known peaks: the greatest number of those in
	// force and the plain desiredFreeMandelboxes counts.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Schedules []Schedule `json:"schedules,omitempty"`
}

// HostTimeouts says when the operator gives a host up.
type HostTimeouts struct {
	// preConnection is how long a host may take from its launch until its agent
	// registers, 15m by default; after that it is replaced.
	// +optional
	// +kubebuilder:default="15m0s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="preConnection must be positive"
	PreConnection *metav1.Duration `json:"preConnection,omitempty"`
	// agentDisconnected is how long a host's agent may be silent, 2m by default;
	// after that the host takes no new session, and leaves once it has none.
	// +optional
	// +kubebuilder:default="2m0s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="agentDisconnected must be positive"
	AgentDisconnected *metav1.Duration `json:"agentDisconnected,omitempty"`
	// impaired is how long EC2's status checks of a host may fail, 5m by default;
	// after that the host takes no new session, leaves once it has none, and is
	// replaced.
	// +optional
	// +kubebuilder:default="5m0s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="impaired must be positive"
	Impaired *metav1.Duration `json:"impaired,omitempty"`
}

// RegionSpec says where hosts are launched, of what kind, and how many are kept warm.
// +kubebuilder:validation:XValidation:rule="has(self.awsRegion) == has(oldSelf.awsRegion)",message="awsRegion is immutable"
// +kubebuilder:validation:XValidation:rule="!has(self.userDataFormat) || self.userDataFormat != 'Custom' || has(self.userData)",message="userDataFormat Custom needs userData"
type RegionSpec struct {
	// awsRegion is the AWS region, e.g. "us-east-1"; the object's name by default. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[a-z]{2}(-[a-z]+)+-[0-9]+$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="awsRegion is immutable"
	AWSRegion string `json:"awsRegion,omitempty"`
	// ecsCluster is the name of the ECS cluster, "mandelbox" by default; it is made
	// if it does not exist. Immutable.
	// +optional
	// +kubebuilder:default=mandelbox
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]+$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="ecsCluster is immutable"
	ECSCluster string `json:"ecsCluster,omitempty"`
	// roleARN is an IAM role that the operator assumes for all calls in this
	// region, so that regions may live in other accounts.
	// +optional
	// +kubebuilder:validation:MinLength=20
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$`
	RoleARN string `json:"roleARN,omitempty"`
	// eventQueueURL is the URL of an SQS queue, in this AWS region, that rules of
	// EventBridge send the events of EC2, ECS and AWS Health to, e.g.
	// "https://sqs.us-east-1.amazonaws.com/123456789012/mandelbox-events". With it,
	// changes are seen within a second; without it, or while the queue can't be read,
	// by listing alone. No other Region may share the queue. None by default.
	// +optional
	// +kubebuilder:validation:MinLength=24
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https?://[A-Za-z0-9.-]+(:[0-9]+)?/[0-9]{12}/[A-Za-z0-9_-]{1,80}$`
	// +kubebuilder:validation:XValidation:rule="self.startsWith('https://') || !self.contains('.amazonaws.com')",message="eventQueueURL must be an https URL, unless it is of a local endpoint"
	EventQueueURL string `json:"eventQueueURL,omitempty"`
	// enabled says whether hosts are launched and Mandelboxes assigned here; true
	// by default. Sessions that run when it is switched off go on.
	// +optional
	// +kubebuilder:default=true
	Enabled *bool `json:"enabled,omitempty"`
	// suspend has the operator decide nothing here: no host is launched, told to
	// leave or drained, and nothing is made in or removed from AWS for the Region.
	// What is observed is still reported, hosts that were asked for before still come
	// up, and Mandelboxes are still assigned to the slots that are free, and end as
	// they would. A deletion is carried out all the same. False by default.
	// +optional
	Suspend *bool `json:"suspend,omitempty"`
	// subnets that hosts are spread over.
	// +required
	Subnets ResourceSelector `json:"subnets,omitzero"`
	// securityGroups of each host. They must let users in on the ephemeral ports
	// (32768 to 65535), which ECS takes host ports from.
	// +required
	SecurityGroups ResourceSelector `json:"securityGroups,omitzero"`
	// associatePublicIPAddress gives each host a public address, or keeps it from
	// one; by default the subnet decides.
	// +optional
	AssociatePublicIPAddress *bool `json:"associatePublicIPAddress,omitempty"`
	// instanceProfile is the name of the IAM instance profile of the hosts, which
	// lets their agent speak to ECS.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	InstanceProfile string `json:"instanceProfile,omitempty"`
	// instanceTypes are the EC2 instance types, in order of preference.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9-]+\.[a-z0-9-]+$`
	// +kubebuilder:validation:XValidation:rule="self.all(t, self.exists_one(s, s == t))",message="instanceTypes must not name a type twice"
	InstanceTypes []string `json:"instanceTypes,omitempty"`
	// purchaseOption is OnDemand (the default) or Spot.
	// +optional
	// +kubebuilder:default=OnDemand
	PurchaseOption PurchaseOption `json:"purchaseOption,omitempty"`
	// blockDevices are the disks of each host; the image's own by default.
	// +optional
	// +listType=map
	// +listMapKey=deviceName
	// +kubebuilder:validation:MaxItems=16
	BlockDevices []BlockDevice `json:"blockDevices,omitempty"`
	// userData runs when a host boots; at most 12 KiB, since EC2 takes 16 KiB with
	// what the operator adds.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=12288
	UserData string `json:"userData,omitempty"`
	// userDataFormat is ECS (the default: a shell script, to which the cluster,
	// attributes and agent settings are added) or Custom.
	// +optional
	// +kubebuilder:default=ECS
	UserDataFormat UserDataFormat `json:"userDataFormat,omitempty"`
	// launchTemplate is a base for what this spec leaves open.
	// +optional
	LaunchTemplate *LaunchTemplate `json:"launchTemplate,omitempty"`
	// tags are put on everything made in this region, beside the operator's own.
	// +optional
	// +listType=map
	// +listMapKey=key
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(t, !t.key.startsWith('mandelbox.dev/') && !t.key.startsWith('aws:'))",message="tag keys beginning with mandelbox.dev/ or aws: are reserved"
	Tags []Tag `json:"tags,omitempty"`
	// capacity says how much warm room is kept.
	// +required
	Capacity Capacity `json:"capacity,omitzero"`
	// fallbackRegions are the names of Regions that take a Mandelbox when this one
	// has no room, in order.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.all(r, self.exists_one(s, s == r))",message="fallbackRegions must not name a region twice"
	FallbackRegions []string `json:"fallbackRegions,omitempty"`
	// hostTimeouts say when a host is given up.
	// +optional
	// +kubebuilder:default={}
	HostTimeouts HostTimeouts `json:"hostTimeouts,omitzero"`
}

// ScalingLaunch is a number of hosts of one channel that a decision asks for.
type ScalingLaunch struct {
	// amiName is the channel.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	AMIName string `json:"amiName,omitempty"`
	// revision is its revision in this region.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Revision string `json:"revision,omitempty"`
	// count is how many hosts.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=5000
	Count int32 `json:"count,omitempty"`
}

// ScalingDecision is the last decision to launch hosts. It is written before the
// Instances are made, whose names are a function of it: a decision that is
// carried out twice collides instead of doubling.
type ScalingDecision struct {
	// number of the decision; it only grows.
	// +required
	// +kubebuilder:validation:Minimum=1
	Number int64 `json:"number,omitempty"`
	// time of the decision.
	// +required
	Time metav1.Time `json:"time,omitempty,omitzero"`
	// launches are the hosts it asks for.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Launches []ScalingLaunch `json:"launches,omitempty"`
	// done says that all its Instances were made.
	// +optional
	Done *bool `json:"done,omitempty"`
}

// LaunchOutcome is what became of one host.
type LaunchOutcome struct {
	// instance is the name of the Instance.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Instance string `json:"instance,omitempty"`
	// active says whether the host ever became Active.
	// +required
	Active *bool `json:"active,omitempty"`
	// created is when the Instance was created.
	// +required
	Created metav1.Time `json:"created,omitempty,omitzero"`
}

// LaunchRecord is what became of the last hosts of one release.
type LaunchRecord struct {
	// amiName is the channel.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	AMIName string `json:"amiName,omitempty"`
	// revision is its revision in this region.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Revision string `json:"revision,omitempty"`
	// launchParameters is the hash of the launch parameters that the hosts had;
	// others start a new record.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	LaunchParameters string `json:"launchParameters,omitempty"`
	// outcomes are those of the last four hosts that became Active or never will,
	// the oldest first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4
	Outcomes []LaunchOutcome `json:"outcomes,omitempty"`
}

// RegionStatus is what was observed of the region.
type RegionStatus struct {
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
	// conditions are Available, Ready, and Reconciling or Stalled; and EventsReceived
	// where spec.eventQueueURL is set.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
	// free is the number of free slots of active releases.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Free *int32 `json:"free,omitempty"`
	// claimed is the number of claimed slots.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Claimed *int32 `json:"claimed,omitempty"`
	// pending is the number of Mandelboxes that wait for room here.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Pending *int32 `json:"pending,omitempty"`
	// hosts counts the region's hosts by phase.
	// +optional
	Hosts HostCounts `json:"hosts,omitzero"`
	// activeImages are the images that are active here.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	ActiveImages []string `json:"activeImages,omitempty"`
	// subnets are the ids that spec.subnets resolved to.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=200
	// +kubebuilder:validation:items:MaxLength=64
	Subnets []string `json:"subnets,omitempty"`
	// securityGroups are the ids that spec.securityGroups resolved to.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	SecurityGroups []string `json:"securityGroups,omitempty"`
	// ecsClusterARN is the region's ECS cluster, once it exists.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	ECSClusterARN string `json:"ecsClusterARN,omitempty"`
	// decision is the last decision to launch hosts.
	// +optional
	Decision *ScalingDecision `json:"decision,omitempty"`
	// surplusSince is since when there has been a host too many.
	// +optional
	SurplusSince *metav1.Time `json:"surplusSince,omitempty"`
	// outdatedHosts is the number of hosts that were launched with other parameters
	// than the spec has now; they leave before others.
	// +optional
	// +kubebuilder:validation:Minimum=0
	OutdatedHosts *int32 `json:"outdatedHosts,omitempty"`
	// schedules are the names of the schedules in force.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=63
	Schedules []string `json:"schedules,omitempty"`
	// launches are the records of the releases that want hosts here. A release of
	// whose last four hosts half never became Active is launched no more, until it
	// or the launch parameters change, or the annotation
	// cloud.mandelbox.dev/retry-launches is set to the time of now.
	// +optional
	// +listType=map
	// +listMapKey=amiName
	// +listMapKey=revision
	// +kubebuilder:validation:MaxItems=64
	Launches []LaunchRecord `json:"launches,omitempty"`
}

// Region is one AWS region: where hosts are launched, of what kind, and how much
// warm room is kept.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=rgn,categories=cloud
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Enabled",type=boolean,JSONPath=`.spec.enabled`
// +kubebuilder:printcolumn:name="Free",type=integer,JSONPath=`.status.free`
// +kubebuilder:printcolumn:name="Claimed",type=integer,JSONPath=`.status.claimed`
// +kubebuilder:printcolumn:name="Pending",type=integer,JSONPath=`.status.pending`
// +kubebuilder:printcolumn:name="Active",type=integer,JSONPath=`.status.hosts.active`
// +kubebuilder:printcolumn:name="Booting",type=integer,JSONPath=`.status.hosts.preConnection`
// +kubebuilder:printcolumn:name="Max",type=integer,JSONPath=`.spec.capacity.maxInstances`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:validation:XValidation:rule="!has(self.spec.fallbackRegions) || self.spec.fallbackRegions.all(r, r != self.metadata.name)",message="a region must not fall back on itself"
// +kubebuilder:validation:XValidation:rule="has(self.spec.awsRegion) || self.metadata.name.matches('^[a-z]{2}(-[a-z]+)+-[0-9]+$')",message="spec.awsRegion is required when the name is not that of an AWS region"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.eventQueueURL) || !self.spec.eventQueueURL.startsWith('https://sqs.') || self.spec.eventQueueURL.startsWith('https://sqs.' + (has(self.spec.awsRegion) ? self.spec.awsRegion : self.metadata.name) + '.')",message="spec.eventQueueURL is of a queue in another AWS region"
type Region struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec says where hosts are launched and how many.
	// +required
	Spec RegionSpec `json:"spec,omitzero"`
	// status is what was observed of the region.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status RegionStatus `json:"status,omitzero"`
}

// AWSRegion is the AWS region that the object stands for: spec.awsRegion, or its name.
func (r *Region) AWSRegion() string {
	if r.Spec.AWSRegion != "" {
		return r.Spec.AWSRegion
	}
	return r.Name
}

// Enabled says whether hosts are launched and Mandelboxes assigned in the region.
func (r *Region) Enabled() bool {
	return r.Spec.Enabled == nil || *r.Spec.Enabled
}

// Suspended says whether the operator decides nothing in the region.
func (r *Region) Suspended() bool { return ptr.Deref(r.Spec.Suspend, false) }

// RegionList is a list of Regions.
//
// +kubebuilder:object:root=true
type RegionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Region `json:"items"`
}
