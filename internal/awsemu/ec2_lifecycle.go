// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

var instanceIDPattern = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)

// Why an instance is in its state:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html
var (
	reasonUser     = stateReason{"Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown"}
	reasonInstance = stateReason{
		"Client.InstanceInitiatedShutdown", "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
	}
	reasonInternal = stateReason{"Server.InternalError", "Server.InternalError: Internal error on launch or of the host"}
	reasonSpot     = stateReason{"Server.SpotInstanceTermination", "Server.SpotInstanceTermination: Spot instance termination"}
)

// enter has an instance in a state, and tells of it.
func (r *region) enter(i *instance, state instanceState) {
	i.state = state
	r.publishInstance(i, "EC2 Instance State-change Notification", map[string]string{"state": string(state)})
}

// boot takes an instance from pending to running, and then its agent along.
func (r *region) boot(i *instance) {
	r.enter(i, statePending)
	i.reason, i.transition = stateReason{"pending", "pending"}, ""
	r.then(i, r.delays().InstancePending, func() {
		r.enter(i, stateRunning)
		i.reason, i.runningAt = stateReason{}, r.now()
		if i.publicAddress {
			i.publicIP = r.publicAddressOf(i)
		}
		r.hostBooted(i)
	})
}

// then runs f after d unless the instance was told something else meanwhile.
func (r *region) then(i *instance, d time.Duration, f func()) {
	i.generation++
	generation := i.generation
	r.after(d, func() {
		if i.generation == generation {
			f()
		}
	})
}

// terminate takes an instance to terminated, at once if delay is zero.
func (r *region) terminate(i *instance, why stateReason, delay time.Duration) {
	if i.gone() {
		return
	}
	r.enter(i, stateShuttingDown)
	i.reason = why
	i.transition = transitionText(why, r.now())
	r.hostTerminated(i)
	r.spotEnded(i, why)
	if delay <= 0 {
		i.generation++
		r.terminated(i)
		return
	}
	r.then(i, delay, func() { r.terminated(i) })
}

// terminated gives back what the instance held, and forgets it later.
func (r *region) terminated(i *instance) {
	r.enter(i, stateTerminated)
	for _, sn := range r.ec2.subnets {
		if sn.id == i.subnetID {
			sn.releaseAddress(i.privateIP)
		}
	}
	i.privateIP, i.publicIP = "", ""
	r.after(r.delays().TerminatedRetention, func() { r.ec2.forget(i) })
}

func (s *ec2State) forget(i *instance) {
	delete(s.instances, i.id)
	for n, other := range s.order {
		if other == i {
			s.order = append(s.order[:n:n], s.order[n+1:]...)
			return
		}
	}
}

// stop takes an instance to stopped. Its public address goes, its private one stays.
func (r *region) stop(i *instance, why stateReason) {
	if i.state != statePending && i.state != stateRunning {
		return
	}
	r.enter(i, stateStopping)
	i.reason = why
	i.transition = transitionText(why, r.now())
	r.hostStopped(i)
	r.then(i, r.delays().InstanceStopping, func() {
		r.enter(i, stateStopped)
		i.publicIP = ""
	})
}

// transitionText is the older form of the reason, which names the time.
func transitionText(why stateReason, at time.Time) string {
	who := "User initiated"
	if strings.HasPrefix(why.code, "Server.") {
		who = why.code
	}
	return fmt.Sprintf("%s (%s)", who, at.UTC().Format("2006-01-02 15:04:05 GMT"))
}

// findInstances returns the instances with these ids, or EC2's refusal that names
// every id it doesn't know. With visible, those just launched aren't known yet.
func (r *region) findInstances(ids []string, visible bool) ([]*instance, error) {
	var found []*instance
	var missing []string
	for _, id := range ids {
		if !instanceIDPattern.MatchString(id) {
			return nil, refuse("InvalidInstanceID.Malformed", "Invalid id: \"%s\"", id)
		}
		i, ok := r.ec2.instances[id]
		if !ok || (visible && r.now().Before(i.visibleFrom)) {
			missing = append(missing, id)
			continue
		}
		found = append(found, i)
	}
	switch len(missing) {
	case 0:
		return found, nil
	case 1:
		return nil, refuse("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", missing[0])
	default:
		return nil, refuse("InvalidInstanceID.NotFound", "The instance IDs '%s' do not exist", strings.Join(missing, ", "))
	}
}

type stateXML struct {
	Code int    `xml:"code"`
	Name string `xml:"name"`
}

func (s instanceState) xml() stateXML { return stateXML{s.code(), string(s)} }

type instanceChangesResponse struct {
	ec2Response
	Changes []instanceChangeXML `xml:"instancesSet>item"`
}

type instanceChangeXML struct {
	ID       string   `xml:"instanceId"`
	Current  stateXML `xml:"currentState"`
	Previous stateXML `xml:"previousState"`
}

// terminateTokens charges one resource token for each instance named.
func terminateTokens(c *call) (bucketName, int) {
	return bucketEC2TerminateHosts, len(c.list("InstanceId"))
}

// maxTerminate is from
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateInstances.html
const maxTerminate = 1000

// changeInstances applies a change to the instances named, or to none of them
// when one id is bad.
func changeInstances(c *call, check func(*instance) error, change func(*instance)) (any, error) {
	ids := c.list("InstanceId")
	if len(ids) == 0 {
		return nil, refuse("MissingParameter", "The request must contain the parameter InstanceId")
	}
	if len(ids) > maxTerminate {
		return nil, refuse("InvalidParameterValue", "At most %d instances can be named in one request.", maxTerminate)
	}
	instances, err := c.region.findInstances(ids, false)
	if err != nil {
		return nil, err
	}
	for _, i := range instances {
		if err := check(i); err != nil {
			return nil, err
		}
	}
	out := &instanceChangesResponse{}
	for _, i := range instances {
		previous := i.state
		change(i)
		out.Changes = append(out.Changes, instanceChangeXML{ID: i.id, Current: i.state.xml(), Previous: previous.xml()})
	}
	return out, nil
}

// terminateInstances ends hosts; one that is gone already stays as it is.
func terminateInstances(c *call) (any, error) {
	return changeInstances(c, func(*instance) error { return nil }, func(i *instance) {
		c.region.terminate(i, reasonUser, c.region.delays().InstanceShuttingDown)
	})
}

// stopInstances stops running hosts.
func stopInstances(c *call) (any, error) {
	check := func(i *instance) error {
		if i.gone() || i.state == statePending {
			return incorrectState(i, "stopped")
		}
		if i.spot {
			return refuse("UnsupportedOperation",
				"You can't stop the Spot Instance '%s' because it is associated with a one-time Spot Instance request.", i.id)
		}
		return nil
	}
	return changeInstances(c, check, func(i *instance) { c.region.stop(i, reasonUser) })
}

// startInstances starts stopped hosts.
func startInstances(c *call) (any, error) {
	check := func(i *instance) error {
		if i.gone() || i.state == stateStopping {
			return incorrectState(i, "started")
		}
		return nil
	}
	return changeInstances(c, check, func(i *instance) {
		if i.state == stateStopped {
			c.region.boot(i)
		}
	})
}

func incorrectState(i *instance, verb string) error {
	return refuse("IncorrectInstanceState",
		"The instance '%s' is not in a state from which it can be %s.", i.id, verb)
}
