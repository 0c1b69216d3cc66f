package awsemu

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// agentConfig is what a host's user data tells its ECS agent:
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-agent-config.html
type agentConfig struct {
	cluster           string
	attributes        map[string]string
	tags              map[string]string
	tagsFromEC2       bool
	reservedMemoryMiB int
	noGPUs            bool
	// drainsOnNotice has the agent drain its host on a spot interruption's notice.
	drainsOnNotice bool
}

// parseAgentConfig finds the agent's settings in user data: lines KEY=VALUE of a
// here-document or environment file, and what echo and printf write. The parts
// of a MIME document are read like one script. A value that the real agent
// doesn't start with is an error.
func parseAgentConfig(userData string) (agentConfig, error) {
	settings := map[string]string{}
	for line := range strings.Lines(userData) {
		if key, value, ok := strings.Cut(settingLine(line), "="); ok && strings.HasPrefix(key, "ECS_") {
			settings[key] = unquote(value)
		}
	}
	cfg := agentConfig{cluster: "default", attributes: map[string]string{}, tags: map[string]string{}}
	if c := settings["ECS_CLUSTER"]; c != "" {
		cfg.cluster = c
	}
	for name, into := range map[string]*map[string]string{
		"ECS_INSTANCE_ATTRIBUTES":     &cfg.attributes,
		"ECS_CONTAINER_INSTANCE_TAGS": &cfg.tags,
	} {
		if text := settings[name]; text != "" {
			if err := json.Unmarshal([]byte(text), into); err != nil {
				return cfg, fmt.Errorf("reading %s: %w", name, err)
			}
		}
	}
	cfg.tagsFromEC2 = settings["ECS_CONTAINER_INSTANCE_PROPAGATE_TAGS_FROM"] == "ec2_instance"
	cfg.noGPUs = settings["ECS_ENABLE_GPU_SUPPORT"] == "false"
	cfg.drainsOnNotice = settings["ECS_ENABLE_SPOT_INSTANCE_DRAINING"] == "true"
	if text := settings["ECS_RESERVED_MEMORY"]; text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return cfg, fmt.Errorf("reading ECS_RESERVED_MEMORY: %w", err)
		}
		cfg.reservedMemoryMiB = n
	}
	return cfg, nil
}

// settingLine returns what a line of a script writes, or the line itself.
func settingLine(line string) string {
	line = strings.TrimSpace(line)
	for _, command := range []string{"echo", "printf"} {
		rest, ok := strings.CutPrefix(line, command+" ")
		if !ok {
			continue
		}
		rest = strings.TrimSpace(rest)
		for _, flag := range []string{"-e ", "-n "} {
			rest = strings.TrimSpace(strings.TrimPrefix(rest, flag))
		}
		return strings.TrimSpace(strings.TrimSuffix(shellText(rest), `\n`))
	}
	return strings.TrimPrefix(line, "export ")
}

// shellText expands the quotes of a shell's words up to a redirection, a pipe or
// the command's end.
func shellText(text string) string {
	var out strings.Builder
	for text != "" {
		switch c := text[0]; {
		case c == '\'':
			inner, rest, _ := strings.Cut(text[1:], "'")
			out.WriteString(inner)
			text = rest
		case c == '"':
			text = doubleQuoted(text[1:], &out)
		case c == '\\' && len(text) > 1:
			out.WriteByte(text[1])
			text = text[2:]
		case strings.IndexByte(">|;&", c) >= 0:
			return out.String()
		default:
			out.WriteByte(c)
			text = text[1:]
		}
	}
	return out.String()
}

// doubleQuoted expands text up to a closing quote, in which a backslash escapes
// only what would else have a meaning, and returns what comes after.
func doubleQuoted(text string, out *strings.Builder) string {
	for text != "" {
		switch {
		case text[0] == '"':
			return text[1:]
		case text[0] == '\\' && len(text) > 1 && strings.IndexByte("\"\\$`", text[1]) >= 0:
			out.WriteByte(text[1])
			text = text[2:]
		default:
			out.WriteByte(text[0])
			text = text[1:]
		}
	}
	return ""
}

// unquote takes a pair of quotes off, as the reader of an environment file does.
func unquote(value string) string {
	if n := len(value); n >= 2 && (value[0] == '\'' || value[0] == '"') && value[n-1] == value[0] {
		return value[1 : n-1]
	}
	return value
}
