// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// spotRequestRetention is how long a request is listed once its instance is
// terminated:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSpotInstanceRequests.html
const spotRequestRetention = 4 * time.Hour

// spotStatus is the state of a request, and the code that says why. See
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-request-status.html
type spotStatus struct{ state, code, message string }

var (
	spotFulfilled = spotStatus{"active", "fulfilled", "Your Spot request is fulfilled."}
	// spotInterrupted comes with the notice already, while the instance still runs,
	// when EC2 needs the capacity back and the instance is to be terminated then:
	// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instances-request-status-lifecycle.html
	spotInterrupted = spotStatus{
		"closed", "instance-terminated-no-capacity",
		"Your Spot instance was terminated because there is no Spot capacity available.",
	}
	spotEndedByUser = spotStatus{
		"closed", "instance-terminated-by-user", "Spot Instance terminated due to user-initiated termination.",
	}
	spotEndedByService = spotStatus{
		"cancelled", "instance-terminated-by-service", "Spot Instance terminated by the service.",
	}
)

// spotRequest is the one-time request that a spot instance was launched by.
type spotRequest struct {
	id       string
	instance *instance
	status   spotStatus
	updated  time.Time
	tags     map[string]string
}

// requestSpot makes the fulfilled request of an instance.
func (r *region) requestSpot(i *instance, tags map[string]string) {
	request := &spotRequest{
		id: "sir-" + r.srv.dice.hex(8), instance: i, status: spotFulfilled, updated: r.now(), tags: copied(tags),
	}
	i.spotRequest = request.id
	r.ec2.spotRequests[request.id] = request
}

// spotRequest finds a request by its id.
func (s *ec2State) spotRequest(id string) (*spotRequest, error) {
	request, ok := s.spotRequests[id]
	if !ok {
		return nil, refuse("InvalidSpotInstanceRequestID.NotFound", "The spot instance request ID '%s' does not exist", id)
	}
	return request, nil
}

// spotNoticed has an instance's request tell of the interruption to come, and its
// agent act on it.
func (r *region) spotNoticed(i *instance) {
	if request := r.ec2.spotRequests[i.spotRequest]; request != nil && !i.gone() {
		request.status, request.updated = spotInterrupted, r.now()
		r.agentNoticed(i)
	}
}

// spotEnded closes the request of an instance that goes, unless it is already.
func (r *region) spotEnded(i *instance, why stateReason) {
	request := r.ec2.spotRequests[i.spotRequest]
	if request == nil {
		return
	}
	if request.status == spotFulfilled {
		request.status, request.updated = spotEndedByService, r.now()
		if why == reasonUser || why == reasonInstance {
			request.status = spotEndedByUser
		}
	}
	r.after(spotRequestRetention, func() { delete(r.ec2.spotRequests, request.id) })
}

type describeSpotRequestsResponse struct {
	ec2Response
	Requests  []spotRequestXML `xml:"spotInstanceRequestSet>item"`
	NextToken string           `xml:"nextToken,omitempty"`
}

type spotRequestXML struct {
	ID            string   `xml:"spotInstanceRequestId"`
	Type          string   `xml:"type"`
	State         string   `xml:"state"`
	Code          string   `xml:"status>code"`
	Updated       string   `xml:"status>updateTime"`
	Message       string   `xml:"status>message"`
	ImageID       string   `xml:"launchSpecification>imageId"`
	InstanceType  string   `xml:"launchSpecification>instanceType"`
	InstanceID    string   `xml:"instanceId"`
	Created       string   `xml:"createTime"`
	Product       string   `xml:"productDescription"`
	Tags          []tagXML `xml:"tagSet>item"`
	Zone          string   `xml:"launchedAvailabilityZone"`
	OnInterrupted string   `xml:"instanceInterruptionBehavior"`
}

// describeSpotInstanceRequests lists spot requests by id or by filter, the oldest first:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSpotInstanceRequests.html
func describeSpotInstanceRequests(c *call) (any, error) {
	candidates, err := c.spotCandidates()
	if err != nil {
		return nil, err
	}
	filters, err := c.filters()
	if err != nil {
		return nil, err
	}
	var found []spotRequestXML
	for _, request := range candidates {
		if c.now.Before(request.instance.visibleFrom) {
			continue
		}
		matched, err := filters.match(request.filterValues)
		if err != nil {
			return nil, err
		}
		if matched {
			found = append(found, request.xml())
		}
	}
	page, next, err := paginate(c, found, 5, 1000)
	if err != nil {
		return nil, err
	}
	return &describeSpotRequestsResponse{Requests: page, NextToken: next}, nil
}

// spotCandidates are the requests named, or all.
func (c *call) spotCandidates() ([]*spotRequest, error) {
	ids := c.list("SpotInstanceRequestId")
	if len(ids) == 0 {
		return slices.SortedFunc(maps.Values(c.region.ec2.spotRequests), func(a, b *spotRequest) int {
			return cmp.Compare(a.instance.number, b.instance.number)
		}), nil
	}
	named := make([]*spotRequest, 0, len(ids))
	for _, id := range ids {
		request, err := c.region.ec2.spotRequest(id)
		if err != nil {
			return nil, err
		}
		named = append(named, request)
	}
	return named, nil
}

func (q *spotRequest) xml() spotRequestXML {
	return spotRequestXML{
		ID: q.id, Type: "one-time", State: q.status.state, Code: q.status.code, Updated: timeXML(q.updated), Message: q.status.message,
		ImageID: q.instance.imageID, InstanceType: q.instance.typ.name, InstanceID: q.instance.id,
		Created: timeXML(q.instance.launchTime), Product: "Linux/UNIX", Tags: tagsXML(q.tags), Zone: q.instance.zone,
		OnInterrupted: "terminate",
	}
}

func (q *spotRequest) filterValues(name string) ([]string, bool) {
	one := func(v string) ([]string, bool) { return []string{v}, true }
	switch name {
	case "spot-instance-request-id":
		return one(q.id)
	case "instance-id":
		return one(q.instance.id)
	case "state":
		return one(q.status.state)
	case "status-code":
		return one(q.status.code)
	case "status-message":
		return one(q.status.message)
	case "type":
		return one("one-time")
	case "launch.image-id":
		return one(q.instance.imageID)
	case "launch.instance-type":
		return one(q.instance.typ.name)
	case "launched-availability-zone":
		return one(q.instance.zone)
	default:
		return tagValues(q.tags, name)
	}
}
