// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MandelboxPhase is where a session is in its life.
// +kubebuilder:validation:Enum=Pending;Allocated;Running;Dying;Finished
type MandelboxPhase string

// The phases of a Mandelbox.
const (
	// MandelboxPending waits for a slot.
	MandelboxPending MandelboxPhase = "Pending"
	// MandelboxAllocated holds a slot; its task isn't running yet.
	MandelboxAllocated MandelboxPhase = "Allocated"
	// MandelboxRunning runs on its host.
	MandelboxRunning MandelboxPhase = "Running"
	// MandelboxDying was told to stop and has not stopped yet.
	MandelboxDying MandelboxPhase = "Dying"
	// MandelboxFinished is over; it never leaves this phase.
	MandelboxFinished MandelboxPhase = "Finished"
)

// EnvVar is one variable of a container's environment.
type EnvVar struct {
	// name of the variable. Names that begin with MANDELBOX_ are the operator's.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
	Name string `json:"name,omitempty"`
	// value of the variable; empty by default.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=2048
	Value *string `json:"value,omitempty"`
}

// MandelboxSpec says whose session it is, where it may run and for how long.
// Everything but the lifetime fields is immutable.
// +kubebuilder:validation:XValidation:rule="has(self.clientCommitHash) != has(self.amiName)",message="exactly one of clientCommitHash and amiName must be set"
// +kubebuilder:validation:XValidation:rule="has(self.clientCommitHash) == has(oldSelf.clientCommitHash) && has(self.amiName) == has(oldSelf.amiName)",message="clientCommitHash and amiName are immutable"
// +kubebuilder:validation:XValidation:rule="has(self.env) == has(oldSelf.env)",message="env is immutable"
type MandelboxSpec struct {
	// userID is the user the session belongs to, as the product knows them, e.g.
	// "google-oauth2|103". How many Mandelboxes one user may hold at once in one
	// namespace is limited. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="userID is immutable"
	UserID string `json:"userID,omitempty"`
	// sessionID is the product's own name for the session; it reaches the
	// container as MANDELBOX_SESSION_ID. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="sessionID is immutable"
	SessionID string `json:"sessionID,omitempty"`
	// regions are the names of the Regions the session may run in, nearest first.
	// Each is followed by its own fallbackRegions. Immutable.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="regions is immutable"
	// +kubebuilder:validation:XValidation:rule="self.all(r, self.exists_one(s, s == r))",message="regions must not name a region twice"
	Regions []string `json:"regions,omitempty"`
	// clientCommitHash asks for a host of exactly this client build: 7 to 64
	// hexadecimal digits, or "local_dev" for whatever is active where developers'
	// clients are allowed. Exactly one of clientCommitHash and amiName is set. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=7
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^(local_dev|[0-9a-f]{7,64})$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="clientCommitHash is immutable"
	ClientCommitHash string `json:"clientCommitHash,omitempty"`
	// amiName asks for the active release of this channel, whatever its commit
	// hash. Exactly one of clientCommitHash and amiName is set. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="amiName is immutable"
	AMIName string `json:"amiName,omitempty"`
	// env is added to the environment of the session's container, after the
	// channel's own; at most 6000 characters in all, since ECS takes 8192 of overrides. Immutable.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="env is immutable"
	// +kubebuilder:validation:XValidation:rule="self.map(e, size(e.name) + (has(e.value) ? size(e.value) : 0)).sum() <= 6000",message="env must not exceed 6000 characters in all"
	// +kubebuilder:validation:XValidation:rule="self.all(e, !e.name.startsWith('MANDELBOX_') && e.name != 'NVIDIA_VISIBLE_DEVICES')",message="env names beginning with MANDELBOX_ and NVIDIA_VISIBLE_DEVICES are set by the operator"
	Env []EnvVar `json:"env,omitempty"`
	// assignmentTimeout is how long the session may wait for room before it ends
	// as Finished with the reason it waited for; 10m by default.
	// +optional
	// +kubebuilder:default="10m0s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="assignmentTimeout must be positive"
	AssignmentTimeout *metav1.Duration `json:"assignmentTimeout,omitempty"`
	// startTimeout is how long the task may take from RunTask to running before it
	// is stopped and the session placed anew; 90s by default.
	// +optional
	// +kubebuilder:default="1m30s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="startTimeout must be positive"
	StartTimeout *metav1.Duration `json:"startTimeout,omitempty"`
	// maxSessionDuration ends a session that has run for so long; without it a
	// session has no such end.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="maxSessionDuration must be positive"
	MaxSessionDuration *metav1.Duration `json:"maxSessionDuration,omitempty"`
	// ttlAfterFinished deletes the object so long after the session finished;
	// without it the object stays. "0s" deletes it at once.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	TTLAfterFinished *metav1.Duration `json:"ttlAfterFinished,omitempty"`
}

// PortBinding is where one port of the container can be reached on the host.
type PortBinding struct {
	// name of the port, as the channel's task names it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
	// containerPort is the port inside the container.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	ContainerPort int32 `json:"containerPort,omitempty"`
	// hostPort is the port of the host that leads to it.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	HostPort int32 `json:"hostPort,omitempty"`
	// protocol is TCP or UDP.
	// +required
	Protocol Protocol `json:"protocol,omitempty"`
}

// MandelboxStatus is what was observed of the session.
type MandelboxStatus struct {
	// observedGeneration is the generation that this status answers; -1 until the
	// first reconcile.
	// +optional
	// +kubebuilder:validation:Minimum=-1
	ObservedGeneration *int64 `json:"observedGeneration,omitempty"`
	// conditions are Assigned, Ready, Finished, and Reconciling or Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +patchStrategy=merge
	// +patchMergeKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
	// phase is Pending, Allocated, Running, Dying or Finished.
	// +optional
	Phase MandelboxPhase `json:"phase,omitempty"`
	// instanceName is the Instance that the session holds a slot of.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	InstanceName string `json:"instanceName,omitempty"`
	// slot is the number of that slot, from 0.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Slot *int32 `json:"slot,omitempty"`
	// attempt counts how often the session was given a slot; a claim with a lower
	// number is outdated.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Attempt int32 `json:"attempt,omitempty"`
	// region is the Region of that Instance.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Region string `json:"region,omitempty"`
	// ip is the address of the session's host: the public one where it has one.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=45
	IP string `json:"ip,omitempty"`
	// ports are the ports of the host that lead to the session.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Ports []PortBinding `json:"ports,omitempty"`
	// taskARN is the session's ECS task.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	TaskARN string `json:"taskARN,omitempty"`
	// assignedTime is when the session was given its slot.
	// +optional
	AssignedTime *metav1.Time `json:"assignedTime,omitempty"`
	// runningTime is when its task was running.
	// +optional
	RunningTime *metav1.Time `json:"runningTime,omitempty"`
	// finishedTime is when the session ended.
	// +optional
	FinishedTime *metav1.Time `json:"finishedTime,omitempty"`
	// exitCode is what the session's container ended with, once it did.
	// +optional
	ExitCode *int32 `json:"exitCode,omitempty"`
}

// Mandelbox is one user's session: an ECS task on one Instance.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=mbx,categories=cloud,path=mandelboxes,singular=mandelbox
// +kubebuilder:selectablefield:JSONPath=`.status.instanceName`
// +kubebuilder:selectablefield:JSONPath=`.status.region`
// +kubebuilder:selectablefield:JSONPath=`.spec.userID`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Finished")].reason`
// +kubebuilder:printcolumn:name="User",type=string,JSONPath=`.spec.userID`
// +kubebuilder:printcolumn:name="Region",type=string,JSONPath=`.status.region`
// +kubebuilder:printcolumn:name="Instance",type=string,JSONPath=`.status.instanceName`
// +kubebuilder:printcolumn:name="Slot",type=integer,JSONPath=`.status.slot`
// +kubebuilder:printcolumn:name="IP",type=string,JSONPath=`.status.ip`
// +kubebuilder:printcolumn:name="Port",type=string,JSONPath=`.status.ports[*].hostPort`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Exit",type=integer,JSONPath=`.status.exitCode`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Finished")].message`,priority=1
// +kubebuilder:printcolumn:name="Task",type=string,JSONPath=`.status.taskARN`,priority=1
type Mandelbox struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec says whose session it is, where it may run and for how long.
	// +required
	Spec MandelboxSpec `json:"spec,omitzero"`
	// The manager alone writes it, many times in an object's life: that is noted of the
	// whole (see https://kubernetes.io/docs/reference/using-api/server-side-apply/#custom-resources-and-server-side-apply),
	// since notes of each field were nearly half of the object.

	// status is what was observed of the session.
	// +optional
	// +structType=atomic
	// +kubebuilder:default:={"observedGeneration":-1}
	Status MandelboxStatus `json:"status,omitzero"`
}

// MandelboxList is a list of Mandelboxes.
//
// +kubebuilder:object:root=true
type MandelboxList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Mandelbox `json:"items"`
}
