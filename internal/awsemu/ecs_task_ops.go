package awsemu

// stopTask tells a task to stop; one that has stopped is given back as it is.
func stopTask(c *call, in struct {
	Cluster string `json:"cluster"`
	Task    string `json:"task"`
	Reason  string `json:"reason"`
}) (any, error) {
	cl, err := c.region.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	t := cl.task(c.region, in.Task)
	if t == nil {
		return nil, invalidParameter("The referenced task was not found.")
	}
	if in.Reason == "" {
		in.Reason = "Task stopped by user"
	}
	c.region.stopTask(t, stopUserInitiated, in.Reason)
	return struct {
		Task ecsTask `json:"task"`
	}{t.view(true)}, nil
}

func describeTasks(c *call, in struct {
	Cluster string   `json:"cluster"`
	Tasks   []string `json:"tasks"`
	Include []string `json:"include"`
}) (any, error) {
	cl, err := c.region.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if len(in.Tasks) == 0 {
		return nil, invalidParameter("Tasks cannot be empty.")
	}
	if len(in.Tasks) > 100 {
		return nil, invalidParameter("Tasks cannot have more than 100 elements.")
	}
	out := tasksAnswer{[]ecsTask{}, []ecsFailure{}}
	for _, ref := range in.Tasks {
		t := cl.task(c.region, ref)
		if t == nil || t.visibleAt.After(c.now) {
			out.Failures = append(out.Failures, cl.missingTask(c.region, ref))
			continue
		}
		out.Tasks = append(out.Tasks, t.view(include(in.Include, "TAGS")))
	}
	return out, nil
}

// missingTask reports a task that the cluster doesn't have.
func (cl *cluster) missingTask(r *region, ref string) ecsFailure {
	if id, ok := r.ecsResourceName("task", ref); ok && id == ref {
		ref = r.ecsARN("task/" + cl.name + "/" + id)
	}
	return ecsFailure{ARN: ref, Reason: "MISSING"}
}

type listTasksRequest struct {
	Cluster       string `json:"cluster"`
	Host          string `json:"containerInstance"`
	Family        string `json:"family"`
	StartedBy     string `json:"startedBy"`
	ServiceName   string `json:"serviceName"`
	DesiredStatus string `json:"desiredStatus"`
	LaunchType    string `json:"launchType"`
	MaxResults    *int   `json:"maxResults"`
	NextToken     string `json:"nextToken"`
}

// listTasks lists the tasks that are meant to run, unless desiredStatus says
// otherwise: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ListTasks.html
func listTasks(c *call, in listTasksRequest) (any, error) {
	cl, err := c.region.cluster(in.Cluster)
	if err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	host := cl.host(c.region, in.Host)
	if in.Host != "" && host == nil {
		return nil, invalidParameter("The referenced container instance was not found.")
	}
	p, err := newPage(in.MaxResults, in.NextToken, "tasks", cl.name, in.Host, in.Family, in.StartedBy, in.DesiredStatus, in.LaunchType)
	if err != nil {
		return nil, err
	}
	cl.tasksByID.AscendGreaterOrEqual(&task{sequence: p.after + 1}, func(t *task) bool {
		if t.visibleAt.After(c.now) || !in.matches(t, host) {
			return true
		}
		return p.add(t.sequence, t.arn)
	})
	return struct {
		ARNs      []string `json:"taskArns"`
		NextToken string   `json:"nextToken,omitempty"`
	}{p.names(), p.token()}, nil
}

func (in listTasksRequest) check() error {
	switch in.DesiredStatus {
	case "", taskRunning, taskPending, taskStopped:
	default:
		return invalidParameter("Invalid desiredStatus: " + in.DesiredStatus)
	}
	if in.StartedBy != "" && (in.Host != "" || in.Family != "" || in.ServiceName != "") {
		return invalidParameter("startedBy must be the only filter that is used.")
	}
	if in.ServiceName != "" {
		return refuse("ServiceNotFoundException", "Service not found.")
	}
	return nil
}

func (in listTasksRequest) matches(t *task, host *containerInstance) bool {
	desired := in.DesiredStatus
	if desired == "" {
		desired = taskRunning
	}
	return t.desired == desired &&
		(host == nil || t.host == host) &&
		(in.Family == "" || t.def.family == in.Family) &&
		(in.StartedBy == "" || t.startedBy == in.StartedBy) &&
		(in.LaunchType == "" || in.LaunchType == "EC2")
}
