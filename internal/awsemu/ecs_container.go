package awsemu

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

// No container runs here, but a simulated one can be told what to do, by its
// environment (in the task definition or as an override of RunTask):
//
//	MANDELBOX_EMU_EXIT_AFTER=5s      exit by itself, this long after it started
//	MANDELBOX_EMU_EXIT_CODE=3        with this exit code (default 0)
//	MANDELBOX_EMU_FAIL_PULL=1        its image can't be pulled
//	MANDELBOX_EMU_FAIL_START=1       it can't be started
//	MANDELBOX_EMU_UNHEALTHY=1        its health check, if it has one, fails
//	MANDELBOX_EMU_IGNORE_SIGTERM=1   when told to stop, wait to be killed (137)
//	MANDELBOX_EMU_STOP_EXIT_CODE=143 the exit code when told to stop (default 0)
//
// Its command counts too, when it is one of true, false, "sleep SECONDS" and
// "exit CODE", alone or several of them in a script for "sh -c". Anything else
// runs until it is stopped.
type behaviour struct {
	exits         bool
	exitAfter     time.Duration
	exitCode      int
	failPull      bool
	failStart     bool
	unhealthy     bool
	ignoreSIGTERM bool
	stopExitCode  int
	stopTimeout   time.Duration
}

// defaultStopTimeout is the time between SIGTERM and SIGKILL:
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
const defaultStopTimeout = 30 * time.Second

// Exit codes of a container that a signal ended.
const (
	exitKilled   = 128 + 9
	exitSegfault = 128 + 11
)

// newBehaviour reads what a container is to do. A value that can't be read
// refuses the task: better than a test that runs on something else.
func newBehaviour(env map[string]string, command []string, stopTimeout int) (behaviour, error) {
	b := behaviour{stopTimeout: defaultStopTimeout}
	if stopTimeout > 0 {
		b.stopTimeout = time.Duration(stopTimeout) * time.Second
	}
	b.readCommand(command)
	var err error
	number := func(name string, into *int) {
		if text, ok := env[name]; ok && err == nil {
			if *into, err = strconv.Atoi(text); err != nil {
				err = fmt.Errorf("reading %s: %w", name, err)
			}
		}
	}
	number("MANDELBOX_EMU_EXIT_CODE", &b.exitCode)
	number("MANDELBOX_EMU_STOP_EXIT_CODE", &b.stopExitCode)
	if text, ok := env["MANDELBOX_EMU_EXIT_AFTER"]; ok && err == nil {
		b.exits = true
		if b.exitAfter, err = time.ParseDuration(text); err != nil {
			err = fmt.Errorf("reading MANDELBOX_EMU_EXIT_AFTER: %w", err)
		}
	}
	flag := func(name string) bool { return env[name] != "" && env[name] != "0" }
	b.failPull = flag("MANDELBOX_EMU_FAIL_PULL")
	b.failStart = flag("MANDELBOX_EMU_FAIL_START")
	b.unhealthy = flag("MANDELBOX_EMU_UNHEALTHY")
	b.ignoreSIGTERM = flag("MANDELBOX_EMU_IGNORE_SIGTERM")
	return b, err
}

// readCommand works out when a simple command ends, and how.
func (b *behaviour) readCommand(command []string) {
	if len(command) == 3 && isShell(command[0]) && command[1] == "-c" {
		command = strings.Fields(strings.NewReplacer(";", " ; ", "&&", " ; ").Replace(command[2]))
	}
	var after time.Duration
	code := 0
	for len(command) > 0 {
		end := 0
		for end < len(command) && command[end] != ";" {
			end++
		}
		took, result, known := simpleCommand(command[:end])
		if !known {
			return
		}
		after, code = after+took, result
		if path.Base(command[0]) == "exit" || end == len(command) {
			b.exits, b.exitAfter, b.exitCode = true, after, code
			return
		}
		command = command[end+1:]
	}
}

func isShell(name string) bool {
	base := path.Base(name)
	return base == "sh" || base == "bash"
}

// simpleCommand says how long a command takes and how it exits, if it is known.
func simpleCommand(words []string) (took time.Duration, code int, known bool) {
	if len(words) == 0 {
		return 0, 0, false
	}
	name := path.Base(words[0])
	if len(words) == 1 {
		switch name {
		case "true":
			return 0, 0, true
		case "false":
			return 0, 1, true
		}
		return 0, 0, false
	}
	switch name {
	case "sleep":
		// "sleep infinity" is no duration: it runs until it is stopped.
		took, err := time.ParseDuration(strings.TrimSuffix(words[1], "s") + "s")
		return took, 0, err == nil && len(words) == 2
	case "exit":
		code, err := strconv.Atoi(words[1])
		return 0, code, err == nil && len(words) == 2
	}
	return 0, 0, false
}
