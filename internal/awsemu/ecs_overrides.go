package awsemu

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// taskOverrides is https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_TaskOverride.html
type taskOverrides struct {
	CPU        string              `json:"cpu"`
	Memory     string              `json:"memory"`
	Containers []containerOverride `json:"containerOverrides"`
}

type containerOverride struct {
	Name              string                `json:"name"`
	Command           []string              `json:"command"`
	CPU               *int                  `json:"cpu"`
	Memory            *int                  `json:"memory"`
	MemoryReservation *int                  `json:"memoryReservation"`
	Environment       []ecsKeyValue         `json:"environment"`
	Requirements      []resourceRequirement `json:"resourceRequirements"`
}

// applyOverrides makes the containers of a task, and what it needs of a host,
// from its definition and the request. It also returns the overrides as a task shows them.
func applyOverrides(spec taskSpec, raw json.RawMessage) ([]taskContainer, json.RawMessage, demand, error) {
	var over taskOverrides
	shown := map[string]json.RawMessage{}
	if len(raw) > 0 {
		for _, into := range []any{&over, &shown} {
			if err := json.Unmarshal(raw, into); err != nil {
				return nil, nil, demand{}, serializationError(err)
			}
		}
	}
	for _, list := range []string{"containerOverrides", "inferenceAcceleratorOverrides"} {
		if shown[list] == nil {
			shown[list] = json.RawMessage("[]")
		}
	}
	spec.Containers = slices.Clone(spec.Containers)
	for _, o := range over.Containers {
		if err := o.apply(spec.Containers); err != nil {
			return nil, nil, demand{}, err
		}
	}
	if over.CPU != "" {
		spec.CPU = over.CPU
	}
	if over.Memory != "" {
		spec.Memory = over.Memory
	}
	if err := checkAmounts(spec); err != nil {
		return nil, nil, demand{}, err
	}
	containers, err := newContainers(spec)
	if err != nil {
		return nil, nil, demand{}, err
	}
	text, err := json.Marshal(shown)
	return containers, text, spec.demand(), err
}

// apply changes the one container that the override names.
func (o containerOverride) apply(containers []containerSpec) error {
	i := slices.IndexFunc(containers, func(c containerSpec) bool { return c.Name == o.Name })
	if i < 0 {
		return invalidParameter(fmt.Sprintf("Override for container named %s is not a container in the TaskDefinition.", o.Name))
	}
	c := &containers[i]
	if o.Command != nil {
		c.Command = o.Command
	}
	for from, into := range map[*int]*int{o.CPU: &c.CPU, o.Memory: &c.Memory, o.MemoryReservation: &c.MemoryReservation} {
		if from != nil {
			*into = *from
		}
	}
	if o.Requirements != nil {
		c.Requirements = o.Requirements
		if err := checkRequirements(*c); err != nil {
			return err
		}
	}
	c.Environment = slices.Concat(c.Environment, o.Environment)
	return nil
}

func newContainers(spec taskSpec) ([]taskContainer, error) {
	containers := make([]taskContainer, 0, len(spec.Containers))
	for _, c := range spec.Containers {
		env := map[string]string{}
		for _, kv := range c.Environment {
			env[kv.Name] = kv.Value // an override comes later, and wins
		}
		command := c.Command
		if len(command) == 0 {
			command = c.EntryPoint
		}
		b, err := newBehaviour(env, command, c.StopTimeout)
		if err != nil {
			return nil, clientError(fmt.Sprintf("Container %s: %v", c.Name, err))
		}
		containers = append(containers, taskContainer{spec: c, behaviour: b})
	}
	return containers, nil
}

// demand is what a task needs: the task's own CPU and memory if it has them, else
// the sum over its containers, where a memory reservation counts before the limit.
func (s taskSpec) demand() demand {
	var d demand
	for _, c := range s.Containers {
		d.cpu += c.CPU
		d.gpus += c.gpus()
		if c.MemoryReservation > 0 {
			d.memory += c.MemoryReservation
		} else {
			d.memory += c.Memory
		}
		for _, p := range c.Ports {
			switch {
			case s.NetworkMode == "host":
				d.ports = append(d.ports, strconv.Itoa(p.ContainerPort)+"/"+p.protocol())
			case s.NetworkMode == "bridge" && p.HostPort != 0:
				d.ports = append(d.ports, strconv.Itoa(p.HostPort)+"/"+p.protocol())
			}
		}
	}
	// The amounts were checked when they were given.
	if n, err := parseTaskCPU(s.CPU); err == nil {
		d.cpu = n
	}
	if n, err := parseTaskMemory(s.Memory); err == nil {
		d.memory = n
	}
	return d
}
