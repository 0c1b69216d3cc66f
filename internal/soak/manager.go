// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// stopPatience is what a manager gets to end in order before it is killed.
const stopPatience = 40 * time.Second

// manager is one process of the operator, which can be started again and again.
type manager struct {
	command []string
	env     []string
	log     io.Writer

	mu      sync.Mutex
	process *exec.Cmd
	// wanted says that the process is to run; one that ends while it is has failed.
	wanted bool
	ended  chan struct{}
	// failed gets what a process ended with that should have gone on.
	failed chan<- error
}

// start starts the process, unless it runs.
func (m *manager) start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wanted {
		return nil
	}
	process := exec.Command(m.command[0], m.command[1:]...)
	process.Env = append(os.Environ(), m.env...)
	process.Stdout, process.Stderr = m.log, m.log
	// In a group of its own a Ctrl-C doesn't reach it: it is stopped in its turn.
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := process.Start(); err != nil {
		return fmt.Errorf("starting the manager: %w", err)
	}
	m.process, m.wanted, m.ended = process, true, make(chan struct{})
	go m.wait(process, m.ended)
	return nil
}

// runs says whether the process is to run.
func (m *manager) runs() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wanted
}

func (m *manager) wait(process *exec.Cmd, ended chan struct{}) {
	err := process.Wait()
	m.mu.Lock()
	unexpected := m.wanted && m.process == process
	m.mu.Unlock()
	close(ended)
	if unexpected {
		select {
		case m.failed <- fmt.Errorf("the manager ended by itself: %w", errors.Join(err, errEnded)):
		default: // One such end is enough to end the run.
		}
	}
}

// errEnded stands for the end of a manager that reported none.
var errEnded = errors.New("it was to go on")

// kill ends the process with SIGKILL.
func (m *manager) kill() error { return m.end(syscall.SIGKILL) }

// stop ends the process in order.
func (m *manager) stop() error { return m.end(syscall.SIGTERM) }

func (m *manager) end(how syscall.Signal) error {
	m.mu.Lock()
	if !m.wanted {
		m.mu.Unlock()
		return nil
	}
	m.wanted = false
	process, ended := m.process, m.ended
	m.mu.Unlock()
	if err := process.Process.Signal(how); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("ending the manager: %w", err)
	}
	// A frozen process hears of it when it goes on; to any other this is nothing.
	if err := process.Process.Signal(syscall.SIGCONT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("thawing the manager: %w", err)
	}
	select {
	case <-ended:
		return nil
	case <-time.After(stopPatience):
	}
	if err := process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing the manager: %w", err)
	}
	<-ended
	return fmt.Errorf("the manager did not end within %s of %s", stopPatience, how)
}

// freeze stops the process where it stands; it goes on when it is ended.
func (m *manager) freeze() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.wanted {
		return errors.New("the manager doesn't run")
	}
	if err := m.process.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("freezing the manager: %w", err)
	}
	return nil
}
