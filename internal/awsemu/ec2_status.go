// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import "strconv"

type describeInstanceStatusResponse struct {
	ec2Response
	Statuses  []instanceStatusXML `xml:"instanceStatusSet>item"`
	NextToken string              `xml:"nextToken,omitempty"`
}

type instanceStatusXML struct {
	ID       string     `xml:"instanceId"`
	Zone     string     `xml:"availabilityZone"`
	Events   []eventXML `xml:"eventsSet>item"`
	State    stateXML   `xml:"instanceState"`
	System   checkXML   `xml:"systemStatus"`
	Instance checkXML   `xml:"instanceStatus"`
}

type eventXML struct {
	ID          string `xml:"instanceEventId"`
	Code        string `xml:"code"`
	Description string `xml:"description"`
	NotBefore   string `xml:"notBefore"`
}

type checkXML struct {
	Status  string           `xml:"status"`
	Details []checkDetailXML `xml:"details>item"`
}

type checkDetailXML struct {
	Name   string `xml:"name"`
	Status string `xml:"status"`
}

// describeInstanceStatus lists the checks of running hosts, or of all when asked:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceStatus.html
func describeInstanceStatus(c *call) (any, error) {
	ids := c.list("InstanceId")
	if len(ids) > 0 && c.form.Has("MaxResults") {
		return nil, refuse("InvalidParameterCombination",
			"The parameter instancesSet cannot be used with the parameter maxResults")
	}
	all, err := c.params().boolean("IncludeAllInstances", false)
	if err != nil {
		return nil, err
	}
	candidates, err := c.candidates(ids)
	if err != nil {
		return nil, err
	}
	page, next, err := c.pageOfInstances(candidates, (*instance).statusFilterValues, func(i *instance) bool {
		return all || i.state == stateRunning
	})
	if err != nil {
		return nil, err
	}
	out := &describeInstanceStatusResponse{NextToken: next}
	for _, i := range page {
		out.Statuses = append(out.Statuses, i.statusXML(c.region))
	}
	return out, nil
}

func (i *instance) statusXML(r *region) instanceStatusXML {
	x := instanceStatusXML{
		ID: i.id, Zone: i.zone, State: i.state.xml(), System: check(i.systemStatus(r)), Instance: check(i.status(r)),
	}
	for _, e := range i.events {
		x.Events = append(x.Events, eventXML{ID: e.ID, Code: e.Code, Description: e.Description, NotBefore: timeXML(e.NotBefore)})
	}
	return x
}

// The summaries of an instance's checks.
const (
	statusOK           = "ok"
	statusImpaired     = "impaired"
	statusInitializing = "initializing"
	statusNone         = "not-applicable"
)

// status is how the instance's own check stands.
func (i *instance) status(r *region) string {
	switch {
	case i.state != stateRunning:
		return statusNone
	case i.impaired:
		return statusImpaired
	case r.now().Before(i.runningAt.Add(r.delays().StatusChecks)):
		return statusInitializing
	default:
		return statusOK
	}
}

// check details the one check that both summaries have.
func check(status string) checkXML {
	x := checkXML{Status: status}
	detail := map[string]string{statusOK: "passed", statusImpaired: "failed", statusInitializing: "initializing"}[status]
	if detail != "" {
		x.Details = []checkDetailXML{{Name: "reachability", Status: detail}}
	}
	return x
}

// systemStatus is how AWS's own side of the host stands: an impairment here is
// always one of the instance.
func (i *instance) systemStatus(r *region) string {
	if status := i.status(r); status != statusImpaired {
		return status
	}
	return statusOK
}

// statusFilterValues answers the filters of DescribeInstanceStatus.
func (i *instance) statusFilterValues(r *region, name string) ([]string, bool) {
	switch name {
	case "availability-zone":
		return []string{i.zone}, true
	case "instance-state-name":
		return []string{string(i.state)}, true
	case "instance-state-code":
		return []string{strconv.Itoa(i.state.code())}, true
	case "instance-status.status":
		return []string{i.status(r)}, true
	case "system-status.status":
		return []string{i.systemStatus(r)}, true
	case "event.code":
		codes := make([]string, 0, len(i.events))
		for _, e := range i.events {
			codes = append(codes, e.Code)
		}
		return codes, true
	default:
		return nil, false
	}
}
