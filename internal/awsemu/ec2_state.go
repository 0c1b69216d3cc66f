package awsemu

import (
	"time"
)

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
	capacity  map[capacityPool]int
}

// subnet is one of the default VPC's, in one zone.
type subnet struct {
	id, zone, cidr string
	// network is the first three bytes of its addresses as "172.31.0", used is
	// how many addresses have been given out.
	prefix       [2]byte
	third        byte
	used         int
	mapPublicIP  bool
	defaultForAZ bool
	tags         map[string]string
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
	id            string
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
	changedAt   time.Time
	runningAt   time.Time
	spot        bool
	spotRequest string
	// terminateOnShutdown is InstanceInitiatedShutdownBehavior=terminate.
	terminateOnShutdown bool
	metadata            metadataOptions
	devices             []blockDevice
	impaired            bool
	events              []scheduledEvent
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
}

// scheduledEvent is a maintenance that AWS announces:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceStatusEvent.html
type scheduledEvent struct {
	id, code, description string
	notBefore             time.Time
}

// launch is what a client token stands for: the request it came with and the
// instances it made.
type launch struct {
	fingerprint   string
	reservationID string
	instances     []*instance
}

type capacityPool struct{ instanceType, zone string }

func (i *instance) gone() bool {
	return i.state == stateShuttingDown || i.state == stateTerminated
}
