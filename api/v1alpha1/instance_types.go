// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// InstancePhase is where a host is in its life.
// +kubebuilder:validation:Enum=PreConnection;Active;Draining;Unresponsive;Terminating
type InstancePhase string

// The phases of an Instance.
const (
	// InstancePreConnection was asked for; its agent was not heard of yet.
	InstancePreConnection InstancePhase = "PreConnection"
	// InstanceActive takes sessions.
	InstanceActive InstancePhase = "Active"
	// InstanceDraining takes no new session and leaves when the last one ends.
	InstanceDraining InstancePhase = "Draining"
	// InstanceUnresponsive has an agent that isn't connected; it takes no new session.
	InstanceUnresponsive InstancePhase = "Unresponsive"
	// InstanceTerminating is on its way out of EC2.
	InstanceTerminating InstancePhase = "Terminating"
)

// InstanceSpec pins what the host is launched from. Everything but drain is immutable.
type InstanceSpec struct {
	// regionName is the Region the host is in. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="regionName is immutable"
	RegionName string `json:"regionName,omitempty"`
	// amiName is the channel that the host belongs to. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="amiName is immutable"
	AMIName string `json:"amiName,omitempty"`
	// revision is the channel's revision in that region, as status.revisions of
	// the AMI names it. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="revision is immutable"
	Revision string `json:"revision,omitempty"`
	// imageID is the EC2 image that the host boots, e.g. "ami-0abcdef1234567890". Immutable.
	// +required
	// +kubebuilder:validation:MinLength=5
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^ami-[0-9a-f]+$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="imageID is immutable"
	ImageID string `json:"imageID,omitempty"`
	// clientCommitHash is the client build that the image was made for. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=7
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{7,64}$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="clientCommitHash is immutable"
	ClientCommitHash string `json:"clientCommitHash,omitempty"`
	// instanceTypes are the EC2 instance types to try, in order of preference. Immutable.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9-]+\.[a-z0-9-]+$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="instanceTypes is immutable"
	InstanceTypes []string `json:"instanceTypes,omitempty"`
	// drain lets no new session onto the host; when the last one has ended the
	// host is terminated. False by default; it cannot be taken back once the host
	// is terminating.
	// +optional
	Drain *bool `json:"drain,omitempty"`
}

// Claim is one slot of a host held for one Mandelbox.
type Claim struct {
	// slot is the number of the slot, from 0; it gives the session its GPU.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=127
	Slot int32 `json:"slot"`
	// namespace of the Mandelbox.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// name of the Mandelbox.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// uid of the Mandelbox: another object of the same name has no right to the slot.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=36
	UID string `json:"uid,omitempty"`
	// attempt is the Mandelbox's attempt that the claim was made for.
	// +required
	// +kubebuilder:validation:Minimum=1
	Attempt int32 `json:"attempt,omitempty"`
}

// Launch is the durable intent to launch the host. It is written before
// RunInstances is called, so that a repeated call asks for the same host.
type Launch struct {
	// token is the client token of the call; hosts launched in one call share it.
	// See https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Token string `json:"token,omitempty"`
	// index is the AMI launch index of this host among those of the call, from 0.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=99
	Index int32 `json:"index"`
	// count is how many hosts the call asks for.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Count int32 `json:"count,omitempty"`
	// attempt counts the tokens: a new one follows only a definite refusal.
	// +required
	// +kubebuilder:validation:Minimum=1
	Attempt int32 `json:"attempt,omitempty"`
	// userDataHash is the SHA-256 of the user data that the call sends, in hexadecimal.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UserDataHash string `json:"userDataHash,omitempty"`
	// time is when the intent was written.
	// +required
	Time metav1.Time `json:"time,omitempty,omitzero"`
}

// InstanceStatus is what was observed of the host.
type InstanceStatus struct {
	// observedGeneration is the generation that this status answers; -1 until the
	// first reconcile.
	// +optional
	// +kubebuilder:validation:Minimum=-1
	ObservedGeneration *int64 `json:"observedGeneration,omitempty"`
	// conditions are Launched, Registered, CapacityAsPlanned, Warmed, Healthy,
	// Ready, Drained, and Reconciling or Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
	// phase is PreConnection, Active, Draining, Unresponsive or Terminating.
	// +optional
	Phase InstancePhase `json:"phase,omitempty"`
	// launch is the intent under which the host was, or will be, launched.
	// +optional
	Launch *Launch `json:"launch,omitempty"`
	// instanceType is the EC2 instance type that the launch asked for.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	InstanceType string `json:"instanceType,omitempty"`
	// subnetID is the subnet that the launch asked for.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	SubnetID string `json:"subnetID,omitempty"`
	// instanceID is the host's id in EC2.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	InstanceID string `json:"instanceID,omitempty"`
	// availabilityZone is the zone the host is in.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	AvailabilityZone string `json:"availabilityZone,omitempty"`
	// privateIP is the host's address inside its VPC.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=45
	PrivateIP string `json:"privateIP,omitempty"`
	// publicIP is the host's public address, if it has one.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=45
	PublicIP string `json:"publicIP,omitempty"`
	// containerInstanceARN is the host in the region's ECS cluster.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	ContainerInstanceARN string `json:"containerInstanceARN,omitempty"`
	// capacity is how many Mandelboxes the host has room for: what it registered
	// in ECS divided by what a task needs, at most what its type promised.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=128
	Capacity *int32 `json:"capacity,omitempty"`
	// plannedCapacity is how many its instance type promises.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=128
	PlannedCapacity *int32 `json:"plannedCapacity,omitempty"`
	// claims are the slots that are taken, and for whom.
	// +optional
	// +listType=map
	// +listMapKey=slot
	// +kubebuilder:validation:MaxItems=128
	Claims []Claim `json:"claims,omitempty"`
	// claimed is the number of claims.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Claimed *int32 `json:"claimed,omitempty"`
	// launchedTime is when EC2 launched the host.
	// +optional
	LaunchedTime *metav1.Time `json:"launchedTime,omitempty"`
	// activeTime is when the host first became Active.
	// +optional
	ActiveTime *metav1.Time `json:"activeTime,omitempty"`
}

// Instance is one EC2 host with room for several Mandelboxes, registered in its
// region's ECS cluster.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=mbi,categories=cloud
// +kubebuilder:selectablefield:JSONPath=`.spec.regionName`
// +kubebuilder:selectablefield:JSONPath=`.spec.amiName`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Region",type=string,JSONPath=`.spec.regionName`
// +kubebuilder:printcolumn:name="AMI",type=string,JSONPath=`.spec.amiName`
// +kubebuilder:printcolumn:name="Claimed",type=integer,JSONPath=`.status.claimed`
// +kubebuilder:printcolumn:name="Capacity",type=integer,JSONPath=`.status.capacity`
// +kubebuilder:printcolumn:name="Type",type=string,JSONPath=`.status.instanceType`
// +kubebuilder:printcolumn:name="Instance-ID",type=string,JSONPath=`.status.instanceID`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Zone",type=string,JSONPath=`.status.availabilityZone`,priority=1
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.spec.revision`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:validation:XValidation:rule="!has(self.status) || !has(self.status.claims) || size(self.status.claims) <= (has(self.status.capacity) ? self.status.capacity : 0)",message="a host must not have more claims than capacity"
// +kubebuilder:validation:XValidation:rule="!has(self.status) || !has(self.status.claims) || self.status.claims.all(c, has(self.status.capacity) && c.slot < self.status.capacity)",message="a claim must be on a slot below the host's capacity"
// +kubebuilder:validation:XValidation:rule="!has(self.status) || !has(self.status.claims) || (has(self.status.phase) && self.status.phase == 'Active' && !(has(self.spec.drain) && self.spec.drain)) || (has(oldSelf.status) && has(oldSelf.status.claims) && self.status.claims.all(c, oldSelf.status.claims.exists(o, o.slot == c.slot && o.uid == c.uid && o.attempt == c.attempt)))",message="a host that is not Active, or is draining, takes no new claim"
// +kubebuilder:validation:XValidation:rule="!has(self.status) || !has(self.status.claims) || !has(oldSelf.status) || !has(oldSelf.status.claims) || self.status.claims.all(c, oldSelf.status.claims.all(o, o.slot != c.slot || o.uid == c.uid))",message="a claimed slot must be released before another Mandelbox claims it"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status) || !has(oldSelf.status.phase) || oldSelf.status.phase != 'Terminating' || !has(oldSelf.spec.drain) || !oldSelf.spec.drain || (has(self.spec.drain) && self.spec.drain)",message="drain cannot be taken back once the host is terminating"
type Instance struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec pins what the host is launched from.
	// +required
	Spec InstanceSpec `json:"spec,omitzero"`
	// The manager alone writes it, many times in an object's life: that is noted of the
	// whole (see https://kubernetes.io/docs/reference/using-api/server-side-apply/#custom-resources-and-server-side-apply),
	// as for a Mandelbox.

	// status is what was observed of the host.
	// +optional
	// +structType=atomic
	// +kubebuilder:default:={"observedGeneration":-1}
	Status InstanceStatus `json:"status,omitzero"`
}

// InstanceList is a list of Instances.
//
// +kubebuilder:object:root=true
type InstanceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Instance `json:"items"`
}
