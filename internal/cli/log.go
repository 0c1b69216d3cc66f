// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"

	"github.com/go-logr/logr"
	uberzap "go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// newLogger is the manager's logger: JSON and info by default, for people and with
// more to say if it is told to.
func newLogger(development bool, verbosity int8, more ...zap.Opts) logr.Logger {
	return zap.New(append([]zap.Opts{
		zap.UseDevMode(development), zap.Level(zapcore.Level(-verbosity)),
		zap.RawZapOpts(uberzap.WrapCore(func(core zapcore.Core) zapcore.Core { return lateCore{Core: core} })),
	}, more...)...)
}

// lateCore encodes the fields of a logger when something is logged with it. Every
// reconcile has a logger of its own, and nearly none logs anything.
type lateCore struct {
	zapcore.Core
	fields []zapcore.Field
}

// With returns a core that has these fields too.
func (c lateCore) With(fields []zapcore.Field) zapcore.Core {
	return lateCore{Core: c.Core, fields: append(slices.Clip(c.fields), fields...)}
}

// Check has the core with all the fields decide about an entry, and write it.
func (c lateCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.Enabled(entry.Level) {
		return checked
	}
	return c.Core.With(c.fields).Check(entry, checked)
}

// Write writes an entry that was not asked to be checked.
func (c lateCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	return c.Core.Write(entry, append(slices.Clip(c.fields), fields...))
}
