// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"encoding/json"
	"regexp"
	"strings"
)

// The formats of user data.
const (
	// UserDataECS is a shell script, in front of which the ECS agent is configured.
	UserDataECS = "ECS"
	// UserDataCustom is sent as it is.
	UserDataCustom = "Custom"
)

// The ECS attribute that says how a host's GPUs are given to sessions. With the
// value GPUExclusive, UserData switches on the agent's GPU support, which needs
// the NVIDIA driver on the image.
const (
	AttributeGPU = "mandelbox.dev/gpu"
	GPUExclusive = "Exclusive"
)

// containerStopTimeout is how long a container may take to end by itself after
// SIGTERM before it is killed: time to save a session's state.
const containerStopTimeout = "30s"

// UserData makes the user data of a host. In the ECS format it is a bash script
// that first writes the agent's configuration (the cluster to join, the host's
// attributes, images taken from the host's own store if they are there) and then
// runs the given script. In the Custom format it is the script as it is. The same
// arguments give the same bytes, since user data is a parameter of the launch
// token.
//
// The settings are those of
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html.
func UserData(format, cluster string, attributes map[string]string, script string) string {
	if format == UserDataCustom {
		return script
	}
	var b strings.Builder
	b.WriteString("#!/bin/bash\n")
	config := strings.Join(agentConfig(cluster, attributes), "\n")
	writeHeredoc(&b, "mkdir -p /etc/ecs\ncat >> /etc/ecs/ecs.config", config)
	writeScript(&b, script)
	return b.String()
}

// agentConfig is the ECS agent's configuration, a line for each setting.
func agentConfig(cluster string, attributes map[string]string) []string {
	lines := []string{"ECS_CLUSTER=" + cluster}
	if len(attributes) > 0 {
		// Maps are marshalled in the order of their keys; a map of strings always can be.
		encoded, _ := json.Marshal(attributes)
		lines = append(lines, "ECS_INSTANCE_ATTRIBUTES="+string(encoded))
	}
	lines = append(lines,
		"ECS_IMAGE_PULL_BEHAVIOR=prefer-cached",
		"ECS_ENABLE_SPOT_INSTANCE_DRAINING=true",
		"ECS_CONTAINER_STOP_TIMEOUT="+containerStopTimeout,
		"ECS_ENABLE_TASK_IAM_ROLE=true",
	)
	if attributes[AttributeGPU] == GPUExclusive {
		lines = append(lines, "ECS_ENABLE_GPU_SUPPORT=true")
	}
	return lines
}

// plainShell is a first line that asks for nothing that the surrounding bash
// script doesn't give.
var plainShell = regexp.MustCompile(`^#!\s*(/usr)?/bin/(env )?(ba)?sh\s*$`)

// writeScript adds the user's script. One without a first line of its own, or
// with that of a plain shell, goes on in the same shell; any other is written to
// a file and run by the interpreter that it names.
func writeScript(b *strings.Builder, script string) {
	script = strings.TrimRight(script, "\n")
	if strings.TrimSpace(script) == "" {
		return
	}
	first, rest, _ := strings.Cut(script, "\n")
	switch {
	case !strings.HasPrefix(first, "#!"):
		b.WriteString(script + "\n")
	case plainShell.MatchString(strings.TrimRight(first, "\r")):
		b.WriteString(rest + "\n")
	default:
		writeHeredoc(b, "cat > /var/lib/mandelbox-user-data", script)
		b.WriteString("chmod 700 /var/lib/mandelbox-user-data\n/var/lib/mandelbox-user-data\n")
	}
}

// writeHeredoc adds a command that reads the content from a here-document in
// which the shell expands nothing.
func writeHeredoc(b *strings.Builder, command, content string) {
	end := "END_OF_MANDELBOX"
	for strings.Contains(content, end) {
		end += "_"
	}
	b.WriteString(command + " <<'" + end + "'\n" + content + "\n" + end + "\n")
}
