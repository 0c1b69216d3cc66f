package awsemu

import (
	"sort"
	"strconv"
	"strings"
)

// hostResources is what a host has, or has left.
type hostResources struct {
	cpu, memory int // CPU units (1024 per vCPU), MiB
	gpus        []string
	// ports are the host ports that are taken, as "80/tcp".
	ports map[string]struct{}
}

// reservedPorts are taken on every host, by SSH, Docker and the agent:
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PortMapping.html
var reservedPorts = []string{"22/tcp", "2375/tcp", "2376/tcp", "51678/tcp", "51679/tcp", "51680/tcp"}

func newHostResources(cpu, memory int, gpus []string) hostResources {
	h := hostResources{cpu: cpu, memory: memory, gpus: gpus, ports: map[string]struct{}{}}
	for _, p := range reservedPorts {
		h.ports[p] = struct{}{}
	}
	return h
}

func (h hostResources) clone() hostResources {
	c := newHostResources(h.cpu, h.memory, append([]string(nil), h.gpus...))
	for p := range h.ports {
		c.ports[p] = struct{}{}
	}
	return c
}

// view renders the resources the way that the agent registers them.
func (h hostResources) view() []ecsResource {
	v := []ecsResource{
		{Name: "CPU", Type: "INTEGER", Integer: h.cpu},
		{Name: "MEMORY", Type: "INTEGER", Integer: h.memory},
		{Name: "PORTS", Type: "STRINGSET", Set: h.portNumbers("tcp")},
		{Name: "PORTS_UDP", Type: "STRINGSET", Set: h.portNumbers("udp")},
	}
	if h.gpus != nil {
		v = append(v, ecsResource{Name: "GPU", Type: "STRINGSET", Set: h.gpus})
	}
	return v
}

func (h hostResources) portNumbers(protocol string) []string {
	var out []string
	for p := range h.ports {
		if number, ok := strings.CutSuffix(p, "/"+protocol); ok {
			out = append(out, number)
		}
	}
	sort.Strings(out)
	return out
}

// demand is what a task needs of a host.
type demand struct {
	cpu, memory, gpus int
	ports             []string // fixed host ports, as "80/tcp"
}

// shortage is the reason for which a host with these resources has no room for
// a task, or empty:
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
func (h hostResources) shortage(d demand) string {
	switch {
	case d.cpu > h.cpu:
		return "RESOURCE:CPU"
	case d.memory > h.memory:
		return "RESOURCE:MEMORY"
	case d.gpus > len(h.gpus):
		return "RESOURCE:GPU"
	}
	for _, p := range d.ports {
		if _, taken := h.ports[p]; taken {
			return "RESOURCE:PORTS"
		}
	}
	return ""
}

// take reserves what a task needs and returns the GPUs it got. The caller has
// seen that there is no shortage.
func (h *hostResources) take(d demand) []string {
	h.cpu -= d.cpu
	h.memory -= d.memory
	taken := append([]string(nil), h.gpus[:d.gpus]...)
	h.gpus = h.gpus[d.gpus:]
	for _, p := range d.ports {
		h.ports[p] = struct{}{}
	}
	return taken
}

// give returns what a task had.
func (h *hostResources) give(d demand, gpus []string) {
	h.cpu += d.cpu
	h.memory += d.memory
	if len(gpus) > 0 {
		h.gpus = append(append([]string{}, h.gpus...), gpus...)
		sort.Strings(h.gpus)
	}
	for _, p := range d.ports {
		delete(h.ports, p)
	}
}

// The range that dynamic host ports come from on current ECS images:
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PortMapping.html
const (
	firstDynamicPort = 32768
	lastDynamicPort  = 60999
)

// dynamicPort finds a port of the ephemeral range that nothing on the host uses.
// It isn't part of the host's resources: those hold fixed ports only.
func (ci *containerInstance) dynamicPort(protocol string) int {
	used := map[int]struct{}{}
	for _, t := range ci.tasks {
		for i := range t.containers {
			for _, b := range t.containers[i].bindings {
				if b.Protocol == protocol {
					used[b.HostPort] = struct{}{}
				}
			}
		}
	}
	for port := firstDynamicPort; port < lastDynamicPort; port++ {
		_, bound := used[port]
		_, fixed := ci.free.ports[strconv.Itoa(port)+"/"+protocol]
		if !bound && !fixed {
			return port
		}
	}
	return lastDynamicPort
}
