package awsemu

import "fmt"

// findTask finds a task by ARN or id in any cluster of the region.
func (r *region) findTask(ref string) (*task, error) {
	for _, cl := range r.ecs.clusters {
		if t := cl.task(r, ref); t != nil {
			return t, nil
		}
	}
	return nil, fmt.Errorf("task %s in %s: %w", ref, r.name, errNotFound)
}

// findAgent finds the ECS agent of an EC2 instance that has registered.
func (r *region) findAgent(instanceID string) (*containerInstance, error) {
	ci := r.ecs.agents[instanceID]
	if ci == nil {
		return nil, fmt.Errorf("registered ECS agent of %s in %s: %w", instanceID, r.name, errNotFound)
	}
	return ci, nil
}

// exitTask has the task's first essential container exit at once. ECS hears of it
// when the host's agent is connected.
func (r *region) exitTask(ref string, exitCode int, reason string) error {
	t, err := r.findTask(ref)
	if err != nil {
		return err
	}
	if t.last != taskRunning {
		return fmt.Errorf("task %s is %s, not running", ref, t.last)
	}
	for i := range t.containers {
		if ct := &t.containers[i]; ct.spec.essential() && ct.last == taskRunning {
			r.onHost(t.host, func() { r.containerExited(t, ct, exitCode, reason) })
			return nil
		}
	}
	return fmt.Errorf("no essential container of task %s is running", ref)
}

// ExitTask has a running task end by itself with an exit code. The reason, such
// as "OutOfMemoryError: Container killed due to memory usage", becomes the
// container's and may be empty. The task is named by ARN or id; it is an error if
// it isn't running.
func (s *Server) ExitTask(account, region, taskARN string, exitCode int, reason string) error {
	r := s.region(scope{account: account, region: region})
	r.lock()
	defer r.unlock()
	if err := r.exitTask(taskARN, exitCode, reason); err != nil {
		return fmt.Errorf("exiting a task: %w", err)
	}
	return nil
}

// CrashTask has a running task end as a segmentation fault ends it: exit code 139.
func (s *Server) CrashTask(account, region, taskARN string) error {
	return s.ExitTask(account, region, taskARN, exitSegfault, "")
}

// DisconnectAgent cuts a host's ECS agent off. What happens on the host from now
// on is heard of when ReconnectAgent is called; until then RunTask doesn't place
// tasks there, and one told to stop stays RUNNING.
func (s *Server) DisconnectAgent(account, region, instanceID string) error {
	r := s.region(scope{account: account, region: region})
	r.lock()
	defer r.unlock()
	ci, err := r.findAgent(instanceID)
	if err != nil {
		return fmt.Errorf("disconnecting an agent: %w", err)
	}
	r.disconnectAgent(ci)
	return nil
}

// ReconnectAgent lets a host's ECS agent report again.
func (s *Server) ReconnectAgent(account, region, instanceID string) error {
	r := s.region(scope{account: account, region: region})
	r.lock()
	defer r.unlock()
	ci, err := r.findAgent(instanceID)
	if err != nil {
		return fmt.Errorf("reconnecting an agent: %w", err)
	}
	r.connectAgent(ci)
	return nil
}
