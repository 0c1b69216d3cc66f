// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package gitops_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	. "github.com/onsi/gomega"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// recordVariable has the messages of the health tests written anew, from the objects
// that `make record` has just recorded. What an object's health is stays written by hand.
const recordVariable = "MANDELBOX_RECORD"

// health is Argo CD's.
type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// healthTests is a health_test.yaml.
type healthTests struct {
	Tests []healthTest `json:"tests"`
}

type healthTest struct {
	HealthStatus health `json:"healthStatus"`
	InputPath    string `json:"inputPath"`
}

// actionTests is an action_test.yaml.
type actionTests struct {
	DiscoveryTests []struct {
		InputPath string `json:"inputPath"`
		Result    []struct {
			Name     string `json:"name"`
			Disabled bool   `json:"disabled"`
		} `json:"result"`
	} `json:"discoveryTests"`
	ActionTests []struct {
		Action             string `json:"action"`
		InputPath          string `json:"inputPath"`
		ExpectedOutputPath string `json:"expectedOutputPath"`
	} `json:"actionTests"`
}

// runLua runs a script on an object and returns what the script does. The script has
// what Argo CD gives to scripts of argocd-cm unless told otherwise: the base and the
// table library, and a second.
func runLua(t *testing.T, script string, object *unstructured.Unstructured) any {
	t.Helper()
	g := NewWithT(t)
	source, err := os.ReadFile(script)
	g.Expect(err).NotTo(HaveOccurred())
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		g.Expect(state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name))).To(Succeed())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", toLua(state, object.Object))
	g.Expect(state.DoString(string(source))).To(Succeed(), script)
	return fromLua(state.Get(-1))
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case bool:
		return lua.LBool(v)
	case string:
		return lua.LString(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case []any:
		list := state.NewTable()
		for _, item := range v {
			list.Append(toLua(state, item))
		}
		return list
	case map[string]any:
		table := state.NewTable()
		for key, item := range v {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	}
	return lua.LNil
}

// fromLua makes of a table a list if it has a length, else a map.
func fromLua(value lua.LValue) any {
	switch v := value.(type) {
	case lua.LBool:
		return bool(v)
	case lua.LString:
		return string(v)
	case lua.LNumber:
		return int64(v)
	case *lua.LTable:
		if n := v.Len(); n > 0 {
			list := make([]any, 0, n)
			v.ForEach(func(_, item lua.LValue) { list = append(list, fromLua(item)) })
			return list
		}
		table := map[string]any{}
		v.ForEach(func(key, item lua.LValue) { table[key.String()] = fromLua(item) })
		return table
	}
	return nil
}

func readTests(t *testing.T, path string, into any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	NewWithT(t).Expect(yaml.UnmarshalStrict(raw, into)).To(Succeed(), path)
}

func TestArgoCDHealth(t *testing.T) {
	// agrees says which health may stand for what kstatus reads.
	agrees := map[kstatus.Status][]string{
		kstatus.InProgressStatus:  {"Progressing"},
		kstatus.TerminatingStatus: {"Progressing"},
		kstatus.FailedStatus:      {"Degraded"},
		kstatus.CurrentStatus:     {"Healthy", "Suspended"},
	}
	for kind, wants := range states {
		t.Run(kind, func(t *testing.T) {
			g := NewWithT(t)
			path := filepath.Join(folder(kind), "health_test.yaml")
			var tests healthTests
			readTests(t, path, &tests)
			g.Expect(tests.Tests).To(HaveLen(len(wants)), "not every recorded object is tested")
			for i := range tests.Tests {
				test := &tests.Tests[i]
				object := read(t, filepath.Join(folder(kind), test.InputPath))
				result, ok := runLua(t, filepath.Join(folder(kind), "health.lua"), object).(map[string]any)
				g.Expect(ok).To(BeTrue(), test.InputPath)
				g.Expect(result["status"]).To(Equal(test.HealthStatus.Status), test.InputPath)
				if os.Getenv(recordVariable) != "" {
					test.HealthStatus.Message, _ = result["message"].(string)
				}
				g.Expect(result["message"]).To(Equal(test.HealthStatus.Message), test.InputPath)
				computed, err := kstatus.Compute(object)
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(agrees[computed.Status]).To(ContainElement(result["status"]), test.InputPath)
			}
			if os.Getenv(recordVariable) != "" {
				raw, err := yaml.Marshal(tests)
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(os.WriteFile(path, raw, 0o600)).To(Succeed())
			}
		})
	}
}

func TestArgoCDActions(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(folder("*"), "actions", "action_test.yaml"))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	NewWithT(t).Expect(paths).To(HaveLen(3), "Region, AMI and Instance have actions")
	for _, path := range paths {
		actions := filepath.Dir(path)
		t.Run(filepath.Base(filepath.Dir(actions)), func(t *testing.T) {
			g := NewWithT(t)
			var tests actionTests
			readTests(t, path, &tests)
			offered := map[string]bool{}
			for _, test := range tests.DiscoveryTests {
				want := map[string]any{}
				for _, action := range test.Result {
					want[action.Name] = map[string]any{"disabled": action.Disabled}
					offered[action.Name] = true
				}
				object := read(t, filepath.Join(actions, test.InputPath))
				g.Expect(runLua(t, filepath.Join(actions, "discovery.lua"), object)).To(Equal(want), test.InputPath)
			}
			g.Expect(offered).NotTo(BeEmpty())
			for _, test := range tests.ActionTests {
				want := read(t, filepath.Join(actions, test.ExpectedOutputPath))
				object := read(t, filepath.Join(actions, test.InputPath))
				g.Expect(runLua(t, filepath.Join(actions, test.Action, "action.lua"), object)).To(Equal(want.Object), test.Action)
				delete(offered, test.Action)
			}
			g.Expect(offered).To(BeEmpty(), "actions that are offered and not tested")
		})
	}
}
