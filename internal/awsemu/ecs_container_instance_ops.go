package awsemu

import (
	"encoding/json"
	"fmt"
)

type hostsAnswer struct {
	Hosts    []ecsContainerInstance `json:"containerInstances"`
	Failures []ecsFailure           `json:"failures"`
}

type hostAnswer struct {
	Host ecsContainerInstance `json:"containerInstance"`
}

func describeContainerInstances(c *call, in struct {
	Cluster string   `json:"cluster"`
	Hosts   []string `json:"containerInstances"`
	Include []string `json:"include"`
}) (any, error) {
	cl, err := c.region.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if len(in.Hosts) == 0 {
		return nil, invalidParameter("Container Instances cannot be empty.")
	}
	if len(in.Hosts) > 100 {
		return nil, invalidParameter("Container Instances cannot have more than 100 elements.")
	}
	out := hostsAnswer{[]ecsContainerInstance{}, []ecsFailure{}}
	for _, ref := range in.Hosts {
		ci := cl.host(c.region, ref)
		if ci == nil || ci.visibleAt.After(c.now) {
			out.Failures = append(out.Failures, cl.missingHost(c.region, ref))
			continue
		}
		out.Hosts = append(out.Hosts, ci.view(include(in.Include, "TAGS")))
	}
	return out, nil
}

// missingHost reports a container instance that the cluster doesn't have.
func (cl *cluster) missingHost(r *region, ref string) ecsFailure {
	if id, ok := r.ecsResourceName("container-instance", ref); ok {
		ref = r.ecsARN("container-instance/" + cl.name + "/" + id)
	}
	return ecsFailure{ARN: ref, Reason: "MISSING"}
}

func listContainerInstances(c *call, in struct {
	Cluster    string `json:"cluster"`
	Filter     string `json:"filter"`
	Status     string `json:"status"`
	MaxResults *int   `json:"maxResults"`
	NextToken  string `json:"nextToken"`
}) (any, error) {
	cl, err := c.region.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	holds := func(*containerInstance) bool { return true }
	if in.Filter != "" {
		if holds, err = parseExpression(in.Filter); err != nil {
			return nil, err
		}
	}
	switch in.Status {
	case "", hostActive, hostDraining, "REGISTERING", "DEREGISTERING", "REGISTRATION_FAILED":
	default:
		return nil, invalidParameter("Invalid container instance status: " + in.Status)
	}
	p, err := newPage(in.MaxResults, in.NextToken, "container-instances", cl.name, in.Filter, in.Status)
	if err != nil {
		return nil, err
	}
	cl.hostsByID.AscendGreaterOrEqual(&containerInstance{sequence: p.after + 1}, func(ci *containerInstance) bool {
		if !ci.registered() || ci.visibleAt.After(c.now) || (in.Status != "" && ci.status != in.Status) || !holds(ci) {
			return true
		}
		return p.add(ci.sequence, ci.arn)
	})
	return struct {
		ARNs      []string `json:"containerInstanceArns"`
		NextToken string   `json:"nextToken,omitempty"`
	}{p.names(), p.token()}, nil
}

// updateContainerInstancesState cordons hosts (DRAINING) or takes them back
// (ACTIVE). Tasks that RunTask started stay where they are:
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/container-instance-draining.html
func updateContainerInstancesState(c *call, in struct {
	Cluster string   `json:"cluster"`
	Hosts   []string `json:"containerInstances"`
	Status  string   `json:"status"`
}) (any, error) {
	cl, err := c.region.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if in.Status != hostActive && in.Status != hostDraining {
		return nil, invalidParameter("Container instance status must be one of [ACTIVE, DRAINING].")
	}
	if len(in.Hosts) == 0 || len(in.Hosts) > 10 {
		return nil, invalidParameter("Container instances must have between 1 and 10 elements.")
	}
	out := hostsAnswer{[]ecsContainerInstance{}, []ecsFailure{}}
	for _, ref := range in.Hosts {
		ci := cl.host(c.region, ref)
		switch {
		case ci == nil:
			out.Failures = append(out.Failures, cl.missingHost(c.region, ref))
		case !ci.registered():
			out.Failures = append(out.Failures, ecsFailure{ARN: ci.arn, Reason: "INACTIVE"})
		default:
			c.region.setHostStatus(ci, in.Status)
			out.Hosts = append(out.Hosts, ci.view(false))
		}
	}
	return out, nil
}

// setHostStatus cordons a host, or takes it back.
func (r *region) setHostStatus(ci *containerInstance, status string) {
	if ci.status != status {
		ci.status = status
		r.memberChanged(ci)
	}
}

// deregisterContainerInstance takes a host out of its cluster; only by force
// while tasks run there. Those are no longer ECS's, which calls them stopped:
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeregisterContainerInstance.html
func deregisterContainerInstance(c *call, in struct {
	Cluster string `json:"cluster"`
	Host    string `json:"containerInstance"`
	Force   bool   `json:"force"`
}) (any, error) {
	r := c.region
	cl, err := r.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	ci := cl.host(r, in.Host)
	if ci == nil || !ci.registered() {
		return nil, invalidParameter("Referenced container instance " + in.Host + " not found.")
	}
	if len(ci.tasks) > 0 && !in.Force {
		return nil, invalidParameter("Found running tasks on the instance.")
	}
	r.strikeHost(ci)
	for _, t := range ci.orderedTasks() {
		r.loseTask(t, 0, stopServiceScheduler, "Container instance deregistration forced by user.")
	}
	return hostAnswer{ci.view(true)}, nil
}

// registerContainerInstance is what an agent calls. A host that registers this
// way has no simulated agent behind it but runs tasks all the same.
func registerContainerInstance(c *call, in struct {
	Cluster    string         `json:"cluster"`
	ARN        string         `json:"containerInstanceArn"`
	Document   string         `json:"instanceIdentityDocument"`
	Attributes []ecsAttribute `json:"attributes"`
	Resources  []ecsResource  `json:"totalResources"`
	Tags       []ecsTag       `json:"tags"`
}) (any, error) {
	r := c.region
	cl, err := r.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if in.ARN != "" {
		ci := cl.host(r, in.ARN)
		if ci == nil || !ci.registered() {
			return nil, clientError("The referenced container instance was not found.")
		}
		r.connectAgent(ci)
		return hostAnswer{ci.view(true)}, nil
	}
	var document struct {
		InstanceID       string `json:"instanceId"`
		AvailabilityZone string `json:"availabilityZone"`
	}
	if in.Document != "" {
		if err := json.Unmarshal([]byte(in.Document), &document); err != nil {
			return nil, clientError(fmt.Sprintf("Invalid instance identity document: %v", err))
		}
	}
	tags, err := newTagSet(in.Tags)
	if err != nil {
		return nil, err
	}
	ci := &containerInstance{
		ec2ID: document.InstanceID, zone: document.AvailabilityZone,
		attributes: map[string]string{}, tags: tags, total: registeredResources(in.Resources),
	}
	for _, a := range in.Attributes {
		if a.Value != nil {
			ci.attributes[a.Name] = *a.Value
		} else {
			ci.attributes[a.Name] = ""
		}
	}
	r.enrol(cl, ci)
	return hostAnswer{ci.view(true)}, nil
}

// registeredResources reads what an agent says its host has.
func registeredResources(resources []ecsResource) hostResources {
	h := newHostResources(0, 0, nil)
	for _, res := range resources {
		switch res.Name {
		case "CPU":
			h.cpu = res.Integer
		case "MEMORY":
			h.memory = res.Integer
		case "GPU":
			h.gpus = res.Set
		case "PORTS":
			for _, p := range res.Set {
				h.ports[p+"/tcp"] = struct{}{}
			}
		case "PORTS_UDP":
			for _, p := range res.Set {
				h.ports[p+"/udp"] = struct{}{}
			}
		}
	}
	return h
}
