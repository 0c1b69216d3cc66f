// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// pidSuffix ends the names of the files that hold process ids.
const pidSuffix = ".pid"

// launcherScript notes its process id, which the program then keeps, in the file
// named by its first blank, and becomes the program in its second. envtest also
// runs a program with --help to learn its flags; that run is not the one to note.
//
// Here the API server shares its cores with whoever uses it, and has more memory than
// it needs. With Go's default it spends a third of its processor time on allocating
// memory and collecting garbage, and its requests wait for that; so it collects less often, unless it grows
// large or the user has a say. See https://go.dev/doc/gc-guide.
const launcherScript = `#!/bin/sh
export GOGC="${GOGC:-400}" GOMEMLIMIT="${GOMEMLIMIT:-4GiB}"
if [ "$1" != --help ]; then echo $$ >%s; fi
exec %s "$@"
`

// watchdogScript waits for the end of its input, which comes when the process
// that holds the other end of the pipe closes it or dies in whatever way, and
// then kills the processes that are still noted in the folder $1 and removes it.
const watchdogScript = `cat >/dev/null
for file in "$1"/*.pid; do
	if [ -e "$file" ]; then kill -KILL "$(cat "$file")" 2>/dev/null; fi
done
rm -rf "$1"
`

// processes keeps track of what runs in a control plane's folder, since envtest
// does not tell the ids of the processes it starts, and sees to it that they do
// not outlive this process, not even if it is killed with SIGKILL. (Linux' parent
// death signal would need a say in how envtest starts them, and is bound to the
// starting thread, which a Go program does not own.)
type processes struct {
	dir      string
	watchdog *exec.Cmd
	lifeline io.Closer
}

// superviseIn starts the watchdog over the folder dir.
func superviseIn(dir string) (*processes, error) {
	watchdog := exec.Command("/bin/sh", "-c", watchdogScript, "watchdog", dir)
	// A group of its own, so that a Ctrl-C on the terminal does not end it first.
	watchdog.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	lifeline, err := watchdog.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("opening a pipe to the control plane's watchdog: %w", err)
	}
	if err := watchdog.Start(); err != nil {
		return nil, fmt.Errorf("starting the control plane's watchdog: %w", errors.Join(err, lifeline.Close()))
	}
	return &processes{dir: dir, watchdog: watchdog, lifeline: lifeline}, nil
}

// launcher writes a script that starts program and notes its process id, and
// returns the script's path.
func (p *processes) launcher(name, program string) (string, error) {
	path := filepath.Join(p.dir, name+".sh")
	script := fmt.Sprintf(launcherScript, shellQuote(p.pidFile(name)), shellQuote(program))
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		return "", fmt.Errorf("writing the launcher of %s: %w", name, err)
	}
	return path, nil
}

// kill ends at once every process that is noted and still runs.
func (p *processes) kill() {
	for _, pid := range p.pids() {
		// The only failure there can be is that it has gone already.
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// forget drops the notes of processes that are known to have ended, so that
// nobody kills an innocent process that has been given the same id since.
func (p *processes) forget() {
	for _, file := range p.noted() {
		_ = os.Remove(file) // What stays is removed with the folder.
	}
}

// end kills what is left and ends the watchdog, which removes the folder.
func (p *processes) end() error {
	if err := p.lifeline.Close(); err != nil {
		return fmt.Errorf("closing the pipe to the control plane's watchdog: %w", err)
	}
	if err := p.watchdog.Wait(); err != nil {
		return fmt.Errorf("waiting for the control plane's watchdog: %w", err)
	}
	return nil
}

// pids returns the processes noted so far.
func (p *processes) pids() []int { return slices.Collect(maps.Values(p.pidsByName())) }

// pidsByName returns the processes noted so far by their names. One whose file is
// still being written is left out.
func (p *processes) pidsByName() map[string]int {
	pids := map[string]int{}
	for _, file := range p.noted() {
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if pid, err := strconv.Atoi(strings.TrimSpace(string(content))); err == nil {
			pids[strings.TrimSuffix(filepath.Base(file), pidSuffix)] = pid
		}
	}
	return pids
}

// noted returns the files that hold process ids.
func (p *processes) noted() []string {
	// The pattern is well formed, which is the only thing that can fail.
	files, _ := filepath.Glob(p.pidFile("*"))
	return files
}

func (p *processes) pidFile(name string) string { return filepath.Join(p.dir, name+pidSuffix) }

// shellQuote returns s as one word of a POSIX shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
