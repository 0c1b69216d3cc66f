package awsemu

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Names of families and containers:
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html
var taskDefinitionName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,255}$`)

// parseTaskSpec reads and checks what RegisterTaskDefinition was given.
func parseTaskSpec(body []byte) (taskSpec, error) {
	var spec taskSpec
	if err := json.Unmarshal(body, &spec); err != nil {
		return spec, serializationError(err)
	}
	if !taskDefinitionName.MatchString(spec.Family) {
		return spec, clientError("Family should match [a-zA-Z0-9_-]{1,255}.")
	}
	if len(spec.Containers) == 0 {
		return spec, clientError("Container list cannot be empty.")
	}
	switch spec.NetworkMode {
	case "":
		spec.NetworkMode = "bridge" // the default on Linux hosts
	case "bridge", "host", "awsvpc", "none":
	default:
		return spec, clientError("Unknown network mode: " + spec.NetworkMode)
	}
	if err := checkAmounts(spec); err != nil {
		return spec, err
	}
	for _, pc := range spec.Constraints {
		if pc.Type != "memberOf" {
			return spec, clientError(fmt.Sprintf("constraint.type '%s' is not supported.", pc.Type))
		}
		if _, err := parseExpression(pc.Expression); err != nil {
			return spec, err
		}
	}
	return spec, checkContainers(spec)
}

// checkAmounts checks the task's own CPU and memory, which are numbers in text.
func checkAmounts(spec taskSpec) error {
	if spec.CPU != "" {
		if _, err := parseTaskCPU(spec.CPU); err != nil {
			return clientError("Invalid 'cpu' setting for task.")
		}
	}
	if spec.Memory != "" {
		if _, err := parseTaskMemory(spec.Memory); err != nil {
			return clientError("Invalid 'memory' setting for task.")
		}
	}
	return nil
}

// parseTaskCPU reads CPU units ("1024") or vCPUs ("1 vCPU") into CPU units.
func parseTaskCPU(text string) (int, error) {
	if n, ok := strings.CutSuffix(strings.ToLower(text), "vcpu"); ok {
		vcpus, err := strconv.ParseFloat(strings.TrimSpace(n), 64)
		return int(vcpus * 1024), err
	}
	return strconv.Atoi(text)
}

// parseTaskMemory reads MiB ("2048") or gigabytes ("2 GB") into MiB.
func parseTaskMemory(text string) (int, error) {
	if n, ok := strings.CutSuffix(strings.ToLower(text), "gb"); ok {
		gib, err := strconv.ParseFloat(strings.TrimSpace(n), 64)
		return int(gib * 1024), err
	}
	return strconv.Atoi(text)
}

func checkContainers(spec taskSpec) error {
	names, essential := map[string]struct{}{}, false
	for _, ct := range spec.Containers {
		if !taskDefinitionName.MatchString(ct.Name) {
			return clientError("Container.name should match [a-zA-Z0-9_-]{1,255}.")
		}
		if _, twice := names[ct.Name]; twice {
			return clientError("Container names must be unique: " + ct.Name)
		}
		names[ct.Name] = struct{}{}
		essential = essential || ct.essential()
		if ct.Image == "" {
			return clientError("Container.image should not be null or empty.")
		}
		if ct.Memory == 0 && ct.MemoryReservation == 0 && spec.Memory == "" {
			return clientError(fmt.Sprintf("Invalid setting for container '%s'. At least one of 'memory' or 'memoryReservation' must be specified.", ct.Name))
		}
		if ct.Memory != 0 && ct.MemoryReservation > ct.Memory {
			return clientError(fmt.Sprintf("Invalid setting for container '%s'. 'memoryReservation' must not be greater than 'memory'.", ct.Name))
		}
		if err := checkRequirements(ct); err != nil {
			return err
		}
		if err := checkPorts(spec.NetworkMode, ct); err != nil {
			return err
		}
	}
	if !essential {
		return clientError("A task definition must have at least one essential container.")
	}
	return nil
}

func checkRequirements(ct containerSpec) error {
	for _, req := range ct.Requirements {
		if req.Type != "GPU" {
			return clientError(fmt.Sprintf("Invalid resource requirement type '%s' for container '%s'.", req.Type, ct.Name))
		}
		if n, err := strconv.Atoi(req.Value); err != nil || n < 1 {
			return clientError(fmt.Sprintf("Invalid GPU value '%s' for container '%s'.", req.Value, ct.Name))
		}
	}
	return nil
}

// checkPorts follows
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PortMapping.html
func checkPorts(networkMode string, ct containerSpec) error {
	for _, p := range ct.Ports {
		switch {
		case p.ContainerPort < 1 || p.ContainerPort > 65535 || p.HostPort < 0 || p.HostPort > 65535:
			return clientError(fmt.Sprintf("Invalid port mapping of container '%s'.", ct.Name))
		case p.protocol() != "tcp" && p.protocol() != "udp":
			return clientError(fmt.Sprintf("Invalid protocol '%s' of container '%s'.", p.Protocol, ct.Name))
		case (networkMode == "awsvpc" || networkMode == "host") && p.HostPort != 0 && p.HostPort != p.ContainerPort:
			return clientError("When networkMode=" + networkMode + ", the host ports and container ports in port mappings must match.")
		}
	}
	return nil
}
