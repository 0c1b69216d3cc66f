// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"maps"
	"net/url"
	"strings"
)

// maxClientToken is from
// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html
const maxClientToken = 64

// runTokens charges one resource token for each instance asked for.
func runTokens(c *call) (bucketName, int) {
	n, err := c.params().integer("MaxCount", 1)
	if err != nil {
		// The operation itself refuses the value.
		n = 1
	}
	return bucketEC2RunHosts, n
}

// runInstances launches hosts, or finds those that its client token already made.
func runInstances(c *call) (any, error) {
	token := c.form.Get("ClientToken")
	if len(token) > maxClientToken {
		return nil, refuse("InvalidParameterValue",
			"Value (%s) for parameter clientToken is invalid. It is longer than %d characters.", token, maxClientToken)
	}
	fingerprint := c.fingerprint()
	if previous := c.region.ec2.launches[token]; token != "" && previous != nil {
		return c.repeatLaunch(previous, fingerprint)
	}
	p, err := c.readLaunch()
	if err != nil {
		return nil, err
	}
	if err := c.dryRun(); err != nil {
		return nil, err
	}
	sn, count, err := c.region.ec2.findRoom(p)
	if err != nil {
		return nil, err
	}
	l := &launch{fingerprint: fingerprint, reservationID: c.region.newID("r")}
	for index := range count {
		l.instances = append(l.instances, c.region.launchInstance(p, sn, l.reservationID, token, index))
	}
	if token != "" {
		c.region.ec2.launches[token] = l
	}
	return c.region.reservation(l), nil
}

// repeatLaunch answers a client token that was used before, as
// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html says.
func (c *call) repeatLaunch(previous *launch, fingerprint string) (any, error) {
	if previous.fingerprint != fingerprint {
		return nil, refuse("IdempotentParameterMismatch",
			"Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
	}
	for _, i := range previous.instances {
		if !i.gone() {
			return c.region.reservation(previous), nil
		}
	}
	return nil, refuse("IdempotentInstanceTerminated",
		"The request to launch an instance uses the same client token as a previous request for which the instance has been terminated.")
}

// fingerprint tells whether two requests ask for the same: everything but the
// token itself and what belongs to the transport.
func (c *call) fingerprint() string {
	asked := url.Values{}
	for k, v := range c.form {
		if k != "ClientToken" && k != "DryRun" && !strings.HasPrefix(k, "X-Amz-") {
			asked[k] = v
		}
	}
	sum := sha256.Sum256([]byte(asked.Encode()))
	return hex.EncodeToString(sum[:])
}

// findRoom picks the first candidate subnet with room for the smallest number
// asked for, and says how many hosts it gets.
func (s *ec2State) findRoom(p *launchParameters) (*subnet, int, error) {
	var refusal error
	for _, sn := range p.subnets {
		if free := subnetSize - len(sn.addresses); free < p.maxCount {
			refusal = refuse("InsufficientFreeAddressesInSubnet",
				"There are not enough free addresses in subnet '%s' to satisfy the requested number of instances.", sn.id)
			continue
		}
		count := min(p.maxCount, s.available(p.typ.name, sn.zone))
		if count >= p.minCount {
			s.consume(p.typ.name, sn.zone, count)
			return sn, count, nil
		}
		refusal = insufficientCapacity(p.typ.name, sn.zone)
	}
	return nil, 0, refusal
}

// launchInstance makes one instance and sets it on its way.
func (r *region) launchInstance(p *launchParameters, sn *subnet, reservationID, token string, index int) *instance {
	s := &r.ec2
	s.launched++
	i := &instance{
		id: r.newID("i"), number: s.launched, reservationID: reservationID, clientToken: token, launchIndex: index,
		imageID: p.image.id, architecture: p.image.architecture, rootDevice: p.image.rootDevice, typ: p.typ,
		subnetID: sn.id, zone: sn.zone, groups: p.groups, interfaceID: r.newID("eni"), keyName: p.keyName,
		profile: p.profile, state: statePending, tags: copied(p.tagsOf["instance"]), userData: p.userData,
		launchTime: r.now(), visibleFrom: r.now().Add(r.delays().VisibilityLag), spot: p.spot,
		terminateOnShutdown: p.terminateOnShutdown, metadata: p.metadata, publicAddress: p.publicIP,
	}
	// findRoom has seen that there are addresses enough.
	i.privateIP, _ = sn.takeAddress()
	if p.spot {
		r.requestSpot(i, p.tagsOf["spot-instances-request"])
	}
	for _, d := range p.devices {
		d.volumeID = r.newID("vol")
		i.devices = append(i.devices, d)
	}
	s.instances[i.id] = i
	s.order = append(s.order, i)
	r.boot(i)
	return i
}

// copied are tags of one's own, also where there are none.
func copied(tags map[string]string) map[string]string {
	own := make(map[string]string, len(tags))
	maps.Copy(own, tags)
	return own
}

// publicAddressOf is an address no other instance of the region has. Regions begin
// at different addresses, so that hosts of two of them are told apart.
func (r *region) publicAddressOf(i *instance) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(r.account + "/" + r.name)) // A hash never fails to be written to.
	n := i.number
	return fmt.Sprintf("3.%d.%d.%d", 8+(int(h.Sum32()%200)+n/65536)%200, n/256%256, n%256)
}
