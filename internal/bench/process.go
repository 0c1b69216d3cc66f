// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopPatience is what a process gets to end in order before it is killed.
const stopPatience = 40 * time.Second

// process is a process of the operator's binary.
type process struct {
	name  string
	cmd   *exec.Cmd
	ended chan struct{}
	err   error
}

// startProcess starts the program. What it prints goes to output.
func startProcess(name, program string, env []string, output io.Writer, args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(program, args...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = output, output
	// In a group of its own a Ctrl-C doesn't reach it: it is stopped in its turn.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// failure says that the process has ended, if it has.
func (p *process) failure() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s has ended by itself: %w", p.name, errors.Join(errEnded, p.err))
	default:
		return nil
	}
}

// errEnded stands for the end of a process that reported none.
var errEnded = errors.New("it was to go on")

// end sends the signal and waits for the end; it kills what doesn't end.
func (p *process) end(how syscall.Signal) error {
	select {
	case <-p.ended:
		return nil
	default:
	}
	if err := p.cmd.Process.Signal(how); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("ending %s: %w", p.name, err)
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopPatience):
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing %s: %w", p.name, err)
	}
	<-p.ended
	return fmt.Errorf("%s did not end within %s of %s", p.name, stopPatience, how)
}

// usage is what a process has used of the machine.
type usage struct {
	// cpu is the processor time, user and system.
	cpu time.Duration
	// resident is the memory in use now, peak the most there ever was, in bytes.
	resident, peak int64
}

// clockTick is the unit of processor times in /proc: USER_HZ is 100 on every
// architecture that Go runs on. See https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html.
const clockTick = time.Second / 100

// usageOf reads what Linux says of a process.
func usageOf(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, fmt.Errorf("reading the processor time: %w", err)
	}
	// The second field is the program's name in parentheses, which may have spaces.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	const utime, stime = 11, 12
	if len(fields) <= stime {
		return usage{}, fmt.Errorf("reading the processor time: %q is too short", stat)
	}
	var u usage
	for _, field := range []int{utime, stime} {
		ticks, err := strconv.ParseInt(fields[field], 10, 64)
		if err != nil {
			return usage{}, fmt.Errorf("reading the processor time: %w", err)
		}
		u.cpu += time.Duration(ticks) * clockTick
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return usage{}, fmt.Errorf("reading the memory in use: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		for name, into := range map[string]*int64{"VmRSS:": &u.resident, "VmHWM:": &u.peak} {
			if value, ok := strings.CutPrefix(line, name); ok {
				kilobytes, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
				if err != nil {
					return usage{}, fmt.Errorf("reading the memory in use: %w", err)
				}
				*into = kilobytes << 10
			}
		}
	}
	return u, nil
}

// describeUsage says in a line what each process used.
func describeUsage(used map[string]usage) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(used)) {
		parts = append(parts, fmt.Sprintf("%s %.2fs", name, used[name].cpu.Seconds()))
	}
	return strings.Join(parts, ", ")
}
