// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Condition types that every kind uses, with the meaning kstatus gives them.
// See https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md.
const (
	// ConditionReady says that the object does what its spec asks for.
	ConditionReady = "Ready"
	// ConditionReconciling says that the operator is at work on the object, or
	// waits for something that will come by itself.
	ConditionReconciling = "Reconciling"
	// ConditionStalled says that only a person can make it go on.
	ConditionStalled = "Stalled"
)

// Condition types of a Mandelbox.
const (
	// ConditionAssigned says that the Mandelbox holds a slot of an Instance.
	ConditionAssigned = "Assigned"
	// ConditionFinished says that the session is over. While it is not, its
	// reason names what the session is waiting for or doing.
	ConditionFinished = "Finished"
)

// Condition types of an Instance.
const (
	// ConditionLaunched says that EC2 has the host, and that it is running.
	ConditionLaunched = "Launched"
	// ConditionRegistered says that the host's ECS agent registered in the
	// region's cluster and is connected.
	ConditionRegistered = "Registered"
	// ConditionWarmed says that the channel's warm-up task ran on the host, or
	// that the channel asks for none.
	ConditionWarmed = "Warmed"
	// ConditionCapacityAsPlanned says whether the host registered room for as many
	// Mandelboxes as its instance type promised.
	ConditionCapacityAsPlanned = "CapacityAsPlanned"
	// ConditionHealthy says that EC2's status checks of the host pass and AWS will do
	// nothing, as far as it says, that ends what runs on it. It is there once it was
	// not so.
	ConditionHealthy = "Healthy"
	// ConditionDrained says that no session is left on a host that is leaving.
	ConditionDrained = "Drained"
)

// Condition types of an AMI.
const (
	// ConditionRolledOut says that the release in the spec is the active one in
	// every region that the spec names.
	ConditionRolledOut = "RolledOut"
)

// Condition types of a Region.
const (
	// ConditionAvailable says that a Mandelbox can be assigned in the region now.
	ConditionAvailable = "Available"
	// ConditionEventsReceived says whether the events of spec.eventQueueURL are
	// received and acted on. While they are not, changes are seen by listing, later.
	ConditionEventsReceived = "EventsReceived"
)

// Reasons that more than one kind uses.
const (
	// ReasonReady is the reason of a condition Ready that is true.
	ReasonReady = "Ready"
	// ReasonProgressing is the reason while the operator is at work.
	ReasonProgressing = "Progressing"
	// ReasonDeleting is the reason while an object is going.
	ReasonDeleting = "Deleting"
	// ReasonSuspended is the reason while spec.suspend holds the object still.
	ReasonSuspended = "Suspended"
	// ReasonThrottled says that AWS asked for fewer calls; the operator slows down.
	ReasonThrottled = "Throttled"
	// ReasonUnauthorized says that the operator's AWS identity may not do what is
	// needed; the message names the action.
	ReasonUnauthorized = "Unauthorized"
	// ReasonCloudError is an answer of AWS that has no reason of its own; the
	// message carries AWS's code.
	ReasonCloudError = "CloudError"
	// ReasonInvalidParameter says that AWS refused a value that the spec gave.
	ReasonInvalidParameter = "InvalidParameter"
	// ReasonRegionNotFound says that the Region an object names does not exist.
	ReasonRegionNotFound = "RegionNotFound"
	// ReasonObserving says that the first look at AWS has not finished yet.
	ReasonObserving = "Observing"
)

// Reasons of a Mandelbox's conditions. The first four are the answers that the
// replaced API gave to its callers.
const (
	// ReasonRegionNotEnabled says that none of the requested regions is enabled.
	ReasonRegionNotEnabled = "RegionNotEnabled"
	// ReasonCommitHashMismatch says that there is room, on hosts of another
	// commit hash than the client's.
	ReasonCommitHashMismatch = "CommitHashMismatch"
	// ReasonNoInstanceAvailable says that no host with room fits; hosts are on
	// their way unless the region is at its limit.
	ReasonNoInstanceAvailable = "NoInstanceAvailable"
	// ReasonUserAlreadyActive says that the user holds as many Mandelboxes as the
	// limit allows.
	ReasonUserAlreadyActive = "UserAlreadyActive"
	// ReasonCommitHashUnknown says that no channel offers the commit hash yet.
	ReasonCommitHashUnknown = "CommitHashUnknown"
	// ReasonChannelNotFound says that the AMI in spec.amiName does not exist yet,
	// or has no active release in the requested regions yet.
	ReasonChannelNotFound = "ChannelNotFound"
	// ReasonAssigned says that the Mandelbox holds a slot.
	ReasonAssigned = "Assigned"
	// ReasonStarting says that the session's task was asked for and isn't running yet.
	ReasonStarting = "Starting"
	// ReasonRunning says that the session runs.
	ReasonRunning = "Running"
	// ReasonStopping says that the session's task was told to stop.
	ReasonStopping = "Stopping"
	// ReasonCompleted says that the session ended by itself with exit code 0.
	ReasonCompleted = "Completed"
	// ReasonCrashed says that the session's task ended with an exit code other than 0.
	ReasonCrashed = "Crashed"
	// ReasonTaskFailed says that ECS could not start the session's task.
	ReasonTaskFailed = "TaskFailed"
	// ReasonStartTimeout says that the session wasn't running within startTimeout,
	// as often as it may be placed anew.
	ReasonStartTimeout = "StartTimeout"
	// ReasonMaxDurationReached says that the session was stopped after maxSessionDuration.
	ReasonMaxDurationReached = "MaxDurationReached"
	// ReasonHostLost says that the session ended because its host did.
	ReasonHostLost = "HostLost"
	// ReasonStopped says that the task was stopped from outside the operator.
	ReasonStopped = "Stopped"
)

// Reasons of an Instance's conditions.
const (
	// ReasonLaunching says that RunInstances was asked for, or is about to be.
	ReasonLaunching = "Launching"
	// ReasonLaunched says that EC2 runs the host.
	ReasonLaunched = "Launched"
	// ReasonInsufficientCapacity says that AWS had no such host to give; the
	// next instance type or zone is tried.
	ReasonInsufficientCapacity = "InsufficientCapacity"
	// ReasonQuotaExceeded says that an AWS quota of the account must be raised.
	ReasonQuotaExceeded = "QuotaExceeded"
	// ReasonRegistering says that the host's ECS agent has not registered yet.
	ReasonRegistering = "Registering"
	// ReasonRegistered says that the host's ECS agent is registered and connected.
	ReasonRegistered = "Registered"
	// ReasonAgentDisconnected says that the host's ECS agent lost its connection.
	ReasonAgentDisconnected = "AgentDisconnected"
	// ReasonHealthy says that nothing speaks against the host any more.
	ReasonHealthy = "Healthy"
	// ReasonImpaired says that a status check of EC2 fails.
	ReasonImpaired = "Impaired"
	// ReasonScheduledMaintenance says that AWS will stop, retire or reboot the host.
	ReasonScheduledMaintenance = "ScheduledMaintenance"
	// ReasonSpotInterruption says that EC2 takes the spot host back within two minutes.
	ReasonSpotInterruption = "SpotInterruption"
	// ReasonRebalanceRecommended says that EC2 is likely to take the spot host back soon.
	ReasonRebalanceRecommended = "RebalanceRecommended"
	// ReasonDrainedOutside says that somebody had ECS start nothing more on the host.
	ReasonDrainedOutside = "DrainedOutside"
	// ReasonStoppedOutside says that somebody, or the host itself, stopped the host.
	ReasonStoppedOutside = "StoppedOutside"
	// ReasonRegistrationTimeout says that the agent did not register in time.
	ReasonRegistrationTimeout = "RegistrationTimeout"
	// ReasonNoWarmup says that the channel asks for no warm-up.
	ReasonNoWarmup = "NoWarmup"
	// ReasonWarming says that the warm-up task is not done yet.
	ReasonWarming = "Warming"
	// ReasonWarmed says that the warm-up task ran.
	ReasonWarmed = "Warmed"
	// ReasonAdopted says that the host was found in EC2 after the status of its
	// Instance was lost, with whatever ran on it.
	ReasonAdopted = "Adopted"
	// ReasonWarmupFailed says that the warm-up task did not end well.
	ReasonWarmupFailed = "WarmupFailed"
	// ReasonAsPlanned says that the host registered the planned room.
	ReasonAsPlanned = "AsPlanned"
	// ReasonLessThanPlanned says that the host registered less room than planned.
	ReasonLessThanPlanned = "LessThanPlanned"
	// ReasonDraining says that the host takes no new sessions and waits for its last.
	ReasonDraining = "Draining"
	// ReasonDrained says that the last session of the host has ended.
	ReasonDrained = "Drained"
	// ReasonTerminating says that EC2 was told to terminate the host.
	ReasonTerminating = "Terminating"
	// ReasonTerminated says that EC2 terminated the host.
	ReasonTerminated = "Terminated"
	// ReasonRevisionNotFound says that the AMI has no revision of the name that
	// the Instance was made for.
	ReasonRevisionNotFound = "RevisionNotFound"
)

// Reasons of an AMI's conditions.
const (
	// ReasonRolledOut says that the spec's release is active everywhere it should be.
	ReasonRolledOut = "RolledOut"
	// ReasonRollingOut says that the spec's release is on its way.
	ReasonRollingOut = "RollingOut"
	// ReasonCommitHashTaken says that an older AMI owns the commit hash in a region.
	ReasonCommitHashTaken = "CommitHashTaken"
	// ReasonBufferTimeout says that the new release's hosts were not ready in time.
	ReasonBufferTimeout = "BufferTimeout"
	// ReasonRolloutFailed says that a region can't launch the new release.
	ReasonRolloutFailed = "RolloutFailed"
	// ReasonDrainTimeout says when the sessions left on a replaced release end.
	ReasonDrainTimeout = "DrainTimeout"
	// ReasonImageNotFound says that EC2 does not know an image of the spec.
	ReasonImageNotFound = "ImageNotFound"
)

// Reasons of a Region's conditions.
const (
	// ReasonDisabled says that spec.enabled is false.
	ReasonDisabled = "Disabled"
	// ReasonNoChannel says that no AMI is active in the region.
	ReasonNoChannel = "NoChannel"
	// ReasonNoRoom says that no slot is free in the region.
	ReasonNoRoom = "NoRoom"
	// ReasonHasRoom says that slots are free in the region.
	ReasonHasRoom = "HasRoom"
	// ReasonScalingUp says that hosts are on their way to meet the buffer or the queue.
	ReasonScalingUp = "ScalingUp"
	// ReasonMaxInstancesReached says that more hosts are wanted than maxInstances allows.
	ReasonMaxInstancesReached = "MaxInstancesReached"
	// ReasonEventsReceived says that the event queue is read.
	ReasonEventsReceived = "EventsReceived"
	// ReasonEventsNotReceived says that all is well but for the event queue.
	ReasonEventsNotReceived = "EventsNotReceived"
	// ReasonSubnetsNotFound says that no subnet matches the spec.
	ReasonSubnetsNotFound = "SubnetsNotFound"
	// ReasonSecurityGroupsNotFound says that a security group of the spec is missing.
	ReasonSecurityGroupsNotFound = "SecurityGroupsNotFound"
	// ReasonHostsNeverActive says that half of the last hosts of a release never
	// became Active, and that it is launched no more.
	ReasonHostsNeverActive = "HostsNeverActive"
	// ReasonTooManyOrphans says that more hosts belong to no Instance, or tasks to no
	// Mandelbox, than the operator removes unasked; the annotation AnnotationRemoveOrphans lets them go.
	ReasonTooManyOrphans = "TooManyOrphans"
	// ReasonScheduleInvalid says that a schedule of the spec can't be read.
	ReasonScheduleInvalid = "ScheduleInvalid"
	// ReasonInUse says that a deletion waits for the objects that use this one.
	ReasonInUse = "InUse"
)
