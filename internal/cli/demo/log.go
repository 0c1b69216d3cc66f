// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"sync"

	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// lastLines is how much of the log explains a failure.
const lastLines = 15

// logFile takes the logs of everything in this process, which would tear the
// table, and keeps their end. It may be written to before it has a file, and
// after it was closed, by libraries that don't know either.
type logFile struct {
	mu   sync.Mutex
	file *os.File
	last [][]byte
}

// processLog is the log of this process: client-go's and net/http's can be set only
// once, before anything is logged. The demos of one process, one after the other,
// share it.
var processLog = sync.OnceValue(func() *logFile {
	l := &logFile{}
	logger := zap.New(zap.WriteTo(l), zap.UseDevMode(true), zap.Level(zapcore.InfoLevel))
	ctrl.SetLogger(logger)
	klog.SetLogger(logger.WithName("client-go"))
	// net/http's servers complain here of a client that doesn't trust them yet.
	log.SetOutput(l)
	return l
})

// open writes to a new file from now on.
func (l *logFile) open(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("making the manager's log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.file, l.last = file, nil
	return nil
}

// close ends the file.
func (l *logFile) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	file := l.file
	l.file = nil
	return file.Close()
}

// Write takes in one entry.
func (l *logFile) Write(entry []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last = append(l.last, bytes.TrimRight(bytes.Clone(entry), "\n")); len(l.last) > lastLines {
		l.last = l.last[1:]
	}
	if l.file == nil {
		return len(entry), nil
	}
	return l.file.Write(entry)
}

// lastWords are the last lines of the log, with a title.
func (l *logFile) lastWords() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.last) == 0 {
		return nil
	}
	lines := []string{"", "The manager's log ended with:"}
	for _, entry := range l.last {
		lines = append(lines, "  "+string(entry))
	}
	return append(lines, "")
}
