// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import "time"

// ec2State is everything of EC2 in one region.
type ec2State struct {
	vpcID     string
	zones     []string
	subnets   []*subnet
	groups    []*securityGroup
	images    map[string]*machineImage
	instances map[string]*instance
	// order is the instances by age: what pages follow.
	order     []*instance
	launches  map[string]*launch
	templates map[string]*launchTemplate
	capacity  []*Capacity
	// spotRequests are by their id.
	spotRequests map[string]*spotRequest
	// launched counts instances, for their place in the order.
	launched int
}

// subnet is one of the default VPC's, in one zone.
type subnet struct {
	id, zone, cidr string
	// third is the third byte of its first address.
	third int
	// addresses are those given out, by their place in the subnet; next is where
	// the search for a free one starts.
	addresses map[int]bool
	next      int
	tags      map[string]string
}

type securityGroup struct {
	id, name, description string
	tags                  map[string]string
}

type machineImage struct {
	id, name, architecture, description, rootDevice string
	created                                         time.Time
	deregistered                                    bool
	devices                                         []blockDevice
	tags                                            map[string]string
}

// instanceState is an EC2 instance's state by name.
type instanceState string

// The states of an instance:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html
const (
	statePending      instanceState = "pending"
	stateRunning      instanceState = "running"
	stateShuttingDown instanceState = "shutting-down"
	stateTerminated   instanceState = "terminated"
	stateStopping     instanceState = "stopping"
	stateStopped      instanceState = "stopped"
)

// code is the state's number:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceState.html
func (s instanceState) code() int {
	switch s {
	case statePending:
		return 0
	case stateRunning:
		return 16
	case stateShuttingDown:
		return 32
	case stateTerminated:
		return 48
	case stateStopping:
		return 64
	default:
		return 80
	}
}

// instance is an EC2 instance.
type instance struct {
	id string
	// number is its place among all the region ever launched.
	number        int
	reservationID string
	clientToken   string
	launchIndex   int
	imageID       string
	architecture  string
	typ           instanceType
	subnetID      string
	zone          string
	groups        []*securityGroup
	privateIP     string
	publicIP      string
	interfaceID   string
	rootDevice    string
	publicAddress bool // asked for
	keyName       string
	profile       string
	state         instanceState
	// generation rises with each change of state that was asked for, so that a
	// transition planned before it knows that it is out of date.
	generation  int
	reason      stateReason
	transition  string
	tags        map[string]string
	userData    string // decoded
	launchTime  time.Time
	visibleFrom time.Time
	runningAt   time.Time
	spot        bool
	spotRequest string
	// terminateOnShutdown is InstanceInitiatedShutdownBehavior=terminate.
	terminateOnShutdown bool
	metadata            metadataOptions
	devices             []blockDevice
	impaired            bool
	events              []ScheduledEvent
}

// stateReason says why an instance is in its state:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html
type stateReason struct{ code, message string }

type metadataOptions struct {
	tokens, endpoint, tags string
	hopLimit               int
}

type blockDevice struct {
	name, volumeID, volumeType, snapshotID string
	sizeGiB                                int
	deleteOnTermination, encrypted         bool
	// asked says that the launch asks for it, and not only its image.
	asked bool
}

// launch is what a client token stands for: the request it came with and the
// instances it made.
type launch struct {
	fingerprint   string
	reservationID string
	instances     []*instance
}

func (i *instance) gone() bool {
	return i.state == stateShuttingDown || i.state == stateTerminated
}
