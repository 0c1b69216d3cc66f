// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"sigs.k8s.io/yaml"
)

// config is the folder of the manifests, and the charts that are tested are the
// committed ones in it.
var config = filepath.Join("..", "..", "config")

const (
	crdsChart     = "mandelbox-operator-crds"
	managersChart = "mandelbox-operator"
)

// render renders a chart as `helm template` would.
func render(name, in string, values map[string]any) (map[string]object, error) {
	loaded, err := loader.Load(filepath.Join(config, "charts", name))
	if err != nil {
		return nil, err
	}
	all, err := chartutil.ToRenderValues(loaded, values, chartutil.ReleaseOptions{Name: "release", Namespace: in}, nil)
	if err != nil {
		return nil, err
	}
	rendered, err := engine.Render(loaded, all)
	if err != nil {
		return nil, err
	}
	objects := map[string]object{}
	for path, content := range rendered {
		if !strings.HasSuffix(path, ".yaml") || strings.TrimSpace(content) == "" {
			continue
		}
		o := object{}
		if err := yaml.UnmarshalStrict([]byte(content), &o); err != nil {
			return nil, err
		}
		objects[key(o)] = o
	}
	return objects, nil
}

func key(o object) string { return o.kind() + "/" + o.name() }

// mustRender renders the operator's chart.
func mustRender(t *testing.T, in string, values map[string]any) map[string]object {
	t.Helper()
	objects, err := render(managersChart, in, values)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// decoded has an object as YAML decodes it, with the same types as a rendered one.
func decoded(t *testing.T, o object) object {
	t.Helper()
	raw, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	again := object{}
	if err := yaml.Unmarshal(raw, &again); err != nil {
		t.Fatal(err)
	}
	return again
}

func TestTheChartsAreWhatKustomizeMakes(t *testing.T) {
	objects, err := kustomized(filepath.Join(config, "default"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]object{}
	for _, o := range objects {
		if o.kind() != "Namespace" { // Helm makes it, if asked to.
			want[key(o)] = decoded(t, o)
		}
	}
	got := mustRender(t, namespace, nil)
	crds, err := render(crdsChart, namespace, map[string]any{"keep": false})
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(got, crds)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kustomize and Helm differ (-kustomize +Helm):\n%s", diff)
	}
}

func TestTheCRDsOutliveTheirChart(t *testing.T) {
	crds, err := render(crdsChart, namespace, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(crds) != 4 {
		t.Errorf("%d CRDs, not 4", len(crds))
	}
	for name, crd := range crds {
		if fields(fields(crd["metadata"])["annotations"])["helm.sh/resource-policy"] != "keep" {
			t.Errorf("%s goes with the chart", name)
		}
	}
}

func TestLint(t *testing.T) {
	for _, name := range []string{crdsChart, managersChart} {
		for _, message := range lint.AllWithKubeVersionAndSchemaValidation(filepath.Join(config, "charts", name), nil, namespace, nil, false).Messages {
			// An icon is all that Helm misses, as information.
			if message.Severity > support.InfoSev {
				t.Errorf("%s: %s", name, message)
			}
		}
	}
}

// deployment is the pod template's spec of the manager's Deployment, its metadata and
// its container.
func deployment(objects map[string]object) (spec, pod, metadata, container map[string]any) {
	spec = fields(objects["Deployment/mandelbox-operator"]["spec"])
	template := fields(spec["template"])
	pod, metadata = fields(template["spec"]), fields(template["metadata"])
	return spec, pod, metadata, fields(items(pod["containers"])[0])
}

func TestChangedValues(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0", 64)
	objects := mustRender(t, "elsewhere", map[string]any{
		"image":    map[string]any{"repository": "registry.example.com/operator", "tag": "v9", "pullPolicy": "Always"},
		"replicas": 3, "extraArgs": []any{"--mandelboxes-per-user=5"},
		"extraEnv":                  []any{map[string]any{"name": "HTTPS_PROXY", "value": "http://proxy"}},
		"serviceAccount":            map[string]any{"annotations": map[string]any{"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/r"}},
		"resources":                 map[string]any{"limits": map[string]any{"memory": "2Gi"}, "requests": nil},
		"podAnnotations":            map[string]any{"a": "b"},
		"podLabels":                 map[string]any{"c": "d"},
		"nodeSelector":              map[string]any{"e": "f"},
		"tolerations":               []any{map[string]any{"key": "g"}},
		"imagePullSecrets":          []any{map[string]any{"name": "h"}},
		"affinity":                  map[string]any{"nodeAffinity": map[string]any{}},
		"topologySpreadConstraints": []any{},
		"priorityClassName":         "system-cluster-critical",
		"priorityClass":             map[string]any{"create": false},
		"flowControl":               map[string]any{"create": false},
		"networkPolicy":             map[string]any{"enabled": false},
		"podDisruptionBudget":       map[string]any{"maxUnavailable": 2},
	})
	spec, pod, metadata, container := deployment(objects)
	same := func(what string, want, got any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	same("image", any("registry.example.com/operator:v9"), container["image"])
	same("pullPolicy", any("Always"), container["imagePullPolicy"])
	same("replicas", any(float64(3)), spec["replicas"])
	if args := items(container["args"]); !slices.Contains(args, any("--mandelboxes-per-user=5")) || !slices.Contains(args, any("--leader-elect")) {
		t.Errorf("args are %v", args)
	}
	same("env", 2, len(items(container["env"])))
	same("role", map[string]any{"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/r"},
		fields(fields(objects["ServiceAccount/mandelbox-operator"]["metadata"])["annotations"]))
	same("resources", map[string]any{"limits": map[string]any{"memory": "2Gi"}}, fields(container["resources"]))
	same("annotations", map[string]any{"a": "b", "kubectl.kubernetes.io/default-container": "manager"}, fields(metadata["annotations"]))
	same("labels", any("d"), fields(metadata["labels"])["c"])
	same("nodeSelector", map[string]any{"e": "f"}, fields(pod["nodeSelector"]))
	same("tolerations", []any{map[string]any{"key": "g"}}, items(pod["tolerations"]))
	same("imagePullSecrets", []any{map[string]any{"name": "h"}}, items(pod["imagePullSecrets"]))
	same("affinity", map[string]any{"nodeAffinity": map[string]any{}}, fields(pod["affinity"]))
	same("spread", 0, len(items(pod["topologySpreadConstraints"])))
	same("priority", any("system-cluster-critical"), pod["priorityClassName"])
	same("budget", any(float64(2)), fields(objects["PodDisruptionBudget/mandelbox-operator"]["spec"])["maxUnavailable"])
	for _, gone := range []string{
		"NetworkPolicy/mandelbox-operator", "PriorityClass/mandelbox-operator", "FlowSchema/mandelbox-operator",
		"FlowSchema/mandelbox-tenants", "PriorityLevelConfiguration/mandelbox-tenants",
	} {
		if _, there := objects[gone]; there {
			t.Errorf("%s is there", gone)
		}
	}
	for name, o := range objects {
		raw, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), namespace) {
			t.Errorf("%s still speaks of %s", name, namespace)
		}
	}
	_, _, _, container = deployment(mustRender(t, namespace, map[string]any{"image": map[string]any{"digest": digest}}))
	same("digest", any("mandelbox-operator@"+digest), container["image"])
}

func TestRefusedValues(t *testing.T) {
	for name, values := range map[string]map[string]any{
		"no replica":        {"replicas": 0},
		"a misspelt value":  {"replica": 2},
		"a misspelt policy": {"image": map[string]any{"pullPolicy": "Sometimes"}},
		"a short digest":    {"image": map[string]any{"digest": "sha256:00"}},
		"flags as a string": {"extraArgs": "--leader-elect"},
	} {
		if _, err := render(managersChart, namespace, values); err == nil || !strings.Contains(err.Error(), "schema") {
			t.Errorf("%s: not refused by the schema, but %v", name, err)
		}
	}
}

// TestGenerated generates the charts anew, and finds the committed ones.
func TestGenerated(t *testing.T) {
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(config)); err != nil {
		t.Fatal(err)
	}
	if err := generate(folder); err != nil {
		t.Fatal(err)
	}
	same := func(a, b string) error {
		return filepath.WalkDir(filepath.Join(a, "charts"), func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			name, err := filepath.Rel(a, path)
			if err != nil {
				return err
			}
			one, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			other, err := os.ReadFile(filepath.Join(b, name))
			if err != nil {
				return err
			}
			if diff := cmp.Diff(string(one), string(other)); diff != "" {
				t.Errorf("%s differs; run `make generate`:\n%s", name, diff)
			}
			return nil
		})
	}
	for a, b := range map[string]string{folder: config, config: folder} {
		if err := same(a, b); err != nil {
			t.Error(err)
		}
	}
}
