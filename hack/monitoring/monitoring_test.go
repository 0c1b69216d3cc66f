// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

var (
	monitoring = filepath.Join("..", "..", "config", "monitoring")
	docs       = filepath.Join("..", "..", "docs")
)

// rule is one of the PrometheusRule.
type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// groups is what a file of rules holds, and a PrometheusRule in its spec.
type groups struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// alerts are the groups of the PrometheusRule, and all its rules.
func alerts(t *testing.T) (groups, []rule) {
	t.Helper()
	var object struct {
		Spec groups `json:"spec"`
	}
	if err := yaml.Unmarshal(read(t, filepath.Join(monitoring, "prometheus_rule.yaml")), &object); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, group := range object.Spec.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("there is no alert")
	}
	return object.Spec, all
}

// known are the metrics of a manager with their labels: the operator's own as
// docs/metrics.md has them, which is generated from the code, and the others as a spec
// of package controllers scraped them, which leaves out values.
func known(t *testing.T) map[string][]string {
	t.Helper()
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (gauge|counter|histogram) \\| ([^|]+) \\|")
	metrics := map[string][]string{}
	add := func(name, kind string, labels []string) {
		metrics[name] = labels
		if kind == "histogram" {
			metrics[name+"_bucket"] = append(slices.Clone(labels), "le")
			metrics[name+"_sum"], metrics[name+"_count"] = labels, labels
		}
	}
	for _, match := range row.FindAllStringSubmatch(string(read(t, filepath.Join(docs, "metrics.md"))), -1) {
		var labels []string
		for _, label := range strings.Split(match[3], ",") {
			labels = append(labels, strings.Trim(strings.TrimSpace(label), "`"))
		}
		add(match[1], match[2], labels)
	}
	if len(metrics) == 0 {
		t.Fatal("docs/metrics.md has no metric")
	}
	for _, line := range strings.Split(strings.TrimSpace(string(read(t, filepath.Join(monitoring, "testdata", "scraped.txt")))), "\n") {
		words := strings.Fields(line)
		add(words[0], words[1], words[2:])
	}
	return metrics
}

// ofTarget are the labels that a scrape gives to everything.
var ofTarget = []string{"instance", "job", "namespace", "pod", "service", "endpoint", "container"}

// check parses a query, and returns what is wrong with it.
func check(metrics map[string][]string, query string) (wrong []string) {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		return []string{err.Error()}
	}
	has := slices.Clone(ofTarget)
	var asked []string
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			of, there := metrics[n.Name]
			if !there {
				wrong = append(wrong, "no metric is called "+n.Name)
				return nil
			}
			has = append(has, of...)
			for _, matcher := range n.LabelMatchers {
				if matcher.Name != labels.MetricName && !slices.Contains(append(slices.Clone(ofTarget), of...), matcher.Name) {
					wrong = append(wrong, n.Name+" has no label "+matcher.Name)
				}
			}
		case *parser.AggregateExpr:
			asked = append(asked, n.Grouping...)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				asked = append(asked, n.VectorMatching.MatchingLabels...)
			}
		}
		return nil
	})
	for _, label := range asked {
		if !slices.Contains(has, label) {
			wrong = append(wrong, "nothing it asks has a label "+label)
		}
	}
	return wrong
}

// dashboards are the queries of each dashboard, by its file and the panel's title.
func dashboards(t *testing.T) map[string][]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(monitoring, "dashboards", "*.json"))
	if err != nil || len(paths) != 2 {
		t.Fatalf("%d dashboards, not 2 (%v)", len(paths), err)
	}
	queries := map[string][]string{}
	for _, path := range paths {
		var dashboard struct {
			Templating struct {
				List []struct{ Name, Type, Definition string }
			}
			Panels []struct {
				Type, Title string
				Targets     []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(read(t, path), &dashboard); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		replace := []string{"$__rate_interval", "5m"}
		for _, variable := range dashboard.Templating.List {
			replace = append(replace, "$"+variable.Name, "x")
			if match := regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`).FindStringSubmatch(variable.Definition); match != nil {
				queries[filepath.Base(path)] = append(queries[filepath.Base(path)], match[1]+"{"+match[2]+`!=""}`)
			} else if variable.Type == "query" {
				t.Errorf("%s: the variable %s is asked by what this test doesn't read: %s", path, variable.Name, variable.Definition)
			}
		}
		for _, panel := range dashboard.Panels {
			if panel.Type != "row" && len(panel.Targets) == 0 {
				t.Errorf("%s: %s asks for nothing", path, panel.Title)
			}
			for _, target := range panel.Targets {
				name := filepath.Base(path) + " " + panel.Title
				queries[name] = append(queries[name], strings.NewReplacer(replace...).Replace(target.Expr))
			}
		}
	}
	return queries
}

func TestEveryQueryAsksForMetricsThatThereAre(t *testing.T) {
	metrics := known(t)
	for _, bad := range []string{"mandelbox_slot", `mandelbox_slots{phase="free"}`, "sum by (colour) (mandelbox_slots)", "sum("} {
		if len(check(metrics, bad)) == 0 {
			t.Errorf("%s is taken for good", bad)
		}
	}
	queries := dashboards(t)
	_, rules := alerts(t)
	for _, r := range rules {
		queries[r.Alert] = []string{r.Expr}
	}
	// The table of alarms in docs/metrics.md.
	for _, match := range regexp.MustCompile("(?m)^\\| [A-Z][^|]*\\? \\| `(.*?)`").FindAllStringSubmatch(string(read(t, filepath.Join(docs, "metrics.md"))), -1) {
		queries["docs/metrics.md"] = append(queries["docs/metrics.md"], match[1])
	}
	for name, list := range queries {
		for _, query := range list {
			for _, wrong := range check(metrics, query) {
				t.Errorf("%s: %s: %s", name, query, wrong)
			}
		}
	}
}

func TestEveryAlertHasARunbookAndATest(t *testing.T) {
	_, rules := alerts(t)
	var want []string
	for _, r := range rules {
		want = append(want, r.Alert)
		if r.Labels["severity"] != "critical" && r.Labels["severity"] != "warning" {
			t.Errorf("%s has severity %q", r.Alert, r.Labels["severity"])
		}
		if !strings.HasSuffix(r.Annotations["runbook_url"], "/docs/runbooks/"+r.Alert+".md") {
			t.Errorf("%s leads to %s", r.Alert, r.Annotations["runbook_url"])
		}
		page := string(read(t, filepath.Join(docs, "runbooks", r.Alert+".md")))
		for _, part := range []string{
			"# " + r.Alert + "\n", "Severity: " + r.Labels["severity"] + ", when it has been so for " + r.For + ".",
			"## What users notice\n", "## Where to look\n", "## What to do\n",
		} {
			if !strings.Contains(page, part) {
				t.Errorf("the runbook of %s lacks %q", r.Alert, part)
			}
		}
	}
	slices.Sort(want)
	for _, pattern := range []string{filepath.Join(docs, "runbooks", "*.md"), filepath.Join(monitoring, "tests", "*.yaml")} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, path := range paths {
			got = append(got, strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s is of %v, the alerts are %v", pattern, got, want)
		}
	}
}

// TestAlerts has promtool play what each alert is tested with.
func TestAlerts(t *testing.T) {
	spec, rules := alerts(t)
	folder := t.TempDir()
	raw, err := yaml.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	arguments := []string{"tool", "promtool", "test", "rules"}
	files := map[string][]byte{"rules.yaml": raw}
	for _, r := range rules {
		content := read(t, filepath.Join(monitoring, "tests", r.Alert+".yaml"))
		if !strings.Contains(string(content), "exp_labels") {
			t.Errorf("the test of %s never has it fire", r.Alert)
		}
		files[r.Alert+".yaml"] = content
		arguments = append(arguments, filepath.Join(folder, r.Alert+".yaml"))
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.CommandContext(t.Context(), "go", arguments...)
	// Of service discovery, promtool has use for none here.
	command.Env = append(os.Environ(), "GOFLAGS=-tags=remove_all_sd")
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}
