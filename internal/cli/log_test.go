// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	uberzap "go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// costly is a value that notes when it is encoded.
type costly struct{ encoded *int }

func (c costly) MarshalJSON() ([]byte, error) {
	*c.encoded++
	return json.Marshal("costly")
}

func TestALoggerEncodesItsFieldsWhenItLogs(t *testing.T) {
	var out bytes.Buffer
	encoded := 0
	log := newLogger(false, 0, zap.WriteTo(&out)).WithName("manager").WithValues("first", costly{&encoded})
	one, other := log.WithValues("name", "one"), log.WithValues("name", "other", "more", 2)
	one.V(1).Info("not at this level")
	if encoded != 0 || out.Len() != 0 {
		t.Fatalf("encoded %d values and wrote %q, before anything was logged", encoded, out.String())
	}
	one.Info("told", "last", true)
	other.Error(errors.New("broken"), "failed")

	want := []map[string]any{
		{"level": "info", "logger": "manager", "msg": "told", "first": "costly", "name": "one", "last": true},
		{"level": "error", "logger": "manager", "msg": "failed", "first": "costly", "name": "other", "more": 2.0, "error": "broken"},
	}
	decoder := json.NewDecoder(&out)
	for _, line := range want {
		var got map[string]any
		if err := decoder.Decode(&got); err != nil {
			t.Fatal(err)
		}
		delete(got, "ts")
		delete(got, "stacktrace")
		if diff := cmp.Diff(line, got); diff != "" {
			t.Errorf("logged otherwise (-want +got):\n%s", diff)
		}
	}
}

func TestALateCoreWritesWithItsFields(t *testing.T) {
	core, logs := observer.New(zapcore.InfoLevel)
	late := lateCore{Core: core}.With([]zapcore.Field{uberzap.String("first", "one")})
	if err := late.Write(zapcore.Entry{Message: "told"}, []zapcore.Field{uberzap.Bool("last", true)}); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"first": "one", "last": true}
	if all := logs.All(); len(all) != 1 || !cmp.Equal(all[0].ContextMap(), want) {
		t.Errorf("wrote %v, want one entry with %v", all, want)
	}
}
