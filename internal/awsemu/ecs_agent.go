package awsemu

import "fmt"

// hostBooted starts the host's ECS agent, with the region locked. The agent
// registers after Delays.AgentBoot, unless its configuration is wrong or names a
// cluster that isn't there: then it never does, as in AWS. A host that was
// registered before, and has been started again, keeps its registration.
func (r *region) hostBooted(i *instance) {
	generation := i.generation
	r.after(r.delays().AgentBoot, func() {
		if i.state != stateRunning || i.generation != generation {
			return
		}
		if ci := r.ecs.agents[i.id]; ci != nil {
			r.connectAgent(ci)
			return
		}
		if err := r.registerAgent(i); err != nil {
			r.srv.logger.Info("An ECS agent did not register", "instance", i.id, "reason", err.Error())
		}
	})
}

// registerAgent makes the host a container instance of its cluster.
func (r *region) registerAgent(i *instance) error {
	cfg, err := parseAgentConfig(i.userData)
	if err != nil {
		return fmt.Errorf("configuring the agent: %w", err)
	}
	cl, err := r.cluster(cfg.cluster)
	if err != nil {
		return fmt.Errorf("registering with %s: %w", cfg.cluster, err)
	}
	ci := &containerInstance{
		ec2ID: i.id, zone: i.zone, attributes: r.hostAttributes(i), tags: tagSet{}, drainsOnNotice: cfg.drainsOnNotice,
		total: newHostResources(i.typ.vcpus*1024, registeredMemory(i.typ.memoryMiB)-cfg.reservedMemoryMiB, r.gpuIDs(i, cfg)),
	}
	for name, value := range cfg.attributes {
		ci.attributes[name] = value
	}
	if cfg.tagsFromEC2 {
		for k, v := range i.tags {
			ci.tags[k] = v
		}
	}
	for k, v := range cfg.tags {
		ci.tags[k] = v
	}
	r.enrol(cl, ci)
	return nil
}

// registeredMemory is what an agent finds on a host with this much: the kernel
// keeps some for itself, around a twentieth.
func registeredMemory(mib int) int { return mib - mib/20 }

// gpuIDs name the host's GPUs, the way that the NVIDIA driver does.
func (r *region) gpuIDs(i *instance, cfg agentConfig) []string {
	if i.typ.gpus == 0 || cfg.noGPUs {
		return nil
	}
	ids := make([]string, i.typ.gpus)
	for n := range ids {
		ids[n] = "GPU-" + r.srv.dice.uuid()
	}
	return ids
}

// hostAttributes are those that every agent registers:
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-placement-constraints.html#attributes
func (r *region) hostAttributes(i *instance) map[string]string {
	architecture := i.architecture
	if architecture == "" {
		architecture = "x86_64"
	}
	return map[string]string{
		"ecs.ami-id":            i.imageID,
		"ecs.availability-zone": i.zone,
		"ecs.instance-type":     i.typ.name,
		"ecs.os-type":           "linux",
		"ecs.os-family":         "LINUX",
		"ecs.cpu-architecture":  architecture,
		"ecs.vpc-id":            r.ec2.vpcID,
		"ecs.subnet-id":         i.subnetID,
	}
}

// agentNoticed is told when EC2 gives a spot host its notice, with the region locked.
// An agent that is to then has its host drained, as soon as it can tell ECS:
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/spot-instance-draining-linux-container.html
func (r *region) agentNoticed(i *instance) {
	ci := r.ecs.agents[i.id]
	if ci == nil || !ci.drainsOnNotice {
		return
	}
	r.onHost(ci, func() { r.setHostStatus(ci, hostDraining) })
}

// hostStopped is told when a host stops, with the region locked. It stays
// registered with its agent disconnected, and its tasks are found stopped.
func (r *region) hostStopped(i *instance) {
	r.hostLost(i, "Host EC2 (instance "+i.id+") stopped.")
}

// hostTerminated is told when a host goes for good, with the region locked. ECS
// deregisters it by itself only if its agent was connected until then; otherwise
// it stays, disconnected, until somebody deregisters it:
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeregisterContainerInstance.html
func (r *region) hostTerminated(i *instance) {
	ci := r.ecs.agents[i.id]
	if ci == nil {
		return
	}
	connected := ci.connected
	r.hostLost(i, "Host EC2 (instance "+i.id+") terminated.")
	if connected {
		r.strikeHost(ci)
	}
}

// hostLost ends what ran on a host whose agent was there to be missed. The tasks
// of a host that had gone silent before keep the state last heard of.
func (r *region) hostLost(i *instance, reason string) {
	ci := r.ecs.agents[i.id]
	if ci == nil || !ci.connected {
		return
	}
	r.disconnectAgent(ci)
	for _, t := range ci.orderedTasks() {
		r.loseTask(t, r.delays().TaskStop, stopTermination, reason)
	}
}

// disconnectAgent has ECS lose sight of a host. What happens on it from now on
// is reported when the agent is back.
func (r *region) disconnectAgent(ci *containerInstance) {
	if !ci.connected {
		return
	}
	ci.connected = false
	r.memberChanged(ci)
	for _, t := range ci.orderedTasks() {
		r.taskChanged(t)
	}
}

// connectAgent has the agent report all that was missed, in its order.
func (r *region) connectAgent(ci *containerInstance) {
	if ci.connected {
		return
	}
	ci.connected = true
	r.memberChanged(ci)
	missed := ci.missed
	ci.missed = nil
	for _, report := range missed {
		report()
	}
}

// onHost runs a step of a host's agent once ECS can hear of it.
func (r *region) onHost(ci *containerInstance, step func()) {
	switch {
	case !ci.registered():
	case ci.connected:
		step()
	default:
		ci.missed = append(ci.missed, step)
	}
}
