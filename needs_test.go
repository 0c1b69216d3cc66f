// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	. "github.com/onsi/gomega"
	"go.yaml.in/yaml/v3"
)

// checkNeedy checks each command of a block that can't be run here as far as it can be.
func (r *reader) checkNeedy(t *testing.T, b block) {
	t.Helper()
	for _, line := range b.lines() {
		words := strings.Fields(line)
		switch {
		case b.mark == "needs: aws" && words[0] == "aws":
			checkAWS(t, line, words)
		case b.mark == "needs: aws" && words[0] == "export":
		case b.mark != "needs: aws" && words[0] == "make":
			r.planMake(t, line)
		case b.mark != "needs: aws" && words[0] == "helm":
			checkHelm(t, words)
		case b.mark != "needs: aws" && words[0] == "kubectl":
			r.checkDeployed(t, line)
		case b.mark == "needs: registry" && words[0] == "docker":
			NewWithT(t).Expect(line).To(MatchRegexp(`^docker (push|pull|build) \S`))
		default:
			t.Errorf("nobody checks %q in a block marked %q", line, b.mark)
		}
	}
}

// awsClients are the services whose commands are compared with the SDK, which has the
// operations and parameters of the AWS CLI in its own spelling.
var awsClients = map[string]reflect.Type{
	"ec2": reflect.TypeFor[*ec2.Client](),
	"ecs": reflect.TypeFor[*ecs.Client](),
	"sts": reflect.TypeFor[*sts.Client](),
}

// ofTheCLI are options of the AWS CLI itself.
var ofTheCLI = []string{"region", "query", "output", "profile"}

// checkAWS sees that the AWS CLI has such a command with such options, and that the
// files it names are there.
func checkAWS(t *testing.T, line string, words []string) {
	t.Helper()
	g := NewWithT(t)
	g.Expect(len(words)).To(BeNumerically(">", 2), line)
	options := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?:^| )--([a-z-]+)`).FindAllStringSubmatch(line, -1) {
		options[match[1]] = true
	}
	for _, option := range ofTheCLI {
		delete(options, option)
	}
	if words[1] == "cloudformation" {
		checkCloudFormation(t, line, words[2], options)
		return
	}
	client, known := awsClients[words[1]]
	g.Expect(known).To(BeTrue(), "nobody knows the service of %q", line)
	method, found := client.MethodByName(pascal(words[2]))
	g.Expect(found).To(BeTrue(), "there is no operation of %q", line)
	input := method.Type.In(2).Elem()
	for option := range options {
		_, has := input.FieldByName(pascal(option))
		g.Expect(has).To(BeTrue(), "%s has no --%s", words[2], option)
	}
}

// pascal spells what the AWS CLI calls describe-instances as the SDK does.
func pascal(kebab string) string {
	var b strings.Builder
	for _, part := range strings.Split(kebab, "-") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

// substitution is what a shell puts the output of a command in the place of.
var substitution = regexp.MustCompile(`\$\([^)]*\)`)

// cloudFormationOptions are those that are used here, from
// https://docs.aws.amazon.com/cli/latest/reference/cloudformation/.
var cloudFormationOptions = map[string][]string{
	"deploy":          {"stack-name", "template-file", "capabilities", "parameter-overrides"},
	"describe-stacks": {"stack-name"},
	"delete-stack":    {"stack-name"},
	"wait":            {"stack-name"},
}

func checkCloudFormation(t *testing.T, line, command string, options map[string]bool) {
	t.Helper()
	g := NewWithT(t)
	g.Expect(cloudFormationOptions).To(HaveKey(command), line)
	for option := range options {
		g.Expect(cloudFormationOptions[command]).To(ContainElement(option), line)
	}
	if command != "deploy" {
		return
	}
	match := regexp.MustCompile(`--template-file (\S+)`).FindStringSubmatch(line)
	g.Expect(match).NotTo(BeNil(), line)
	// The template itself is validated in config/aws; here, what is passed to it.
	var template struct {
		Parameters map[string]map[string]any `yaml:"Parameters"`
	}
	g.Expect(yaml.Unmarshal(read(t, match[1]), &template)).To(Succeed())
	_, overrides, _ := strings.Cut(substitution.ReplaceAllString(line, "x"), "--parameter-overrides ")
	given := map[string]bool{}
	for _, override := range strings.Fields(overrides) {
		if name, _, isOne := strings.Cut(override, "="); isOne {
			g.Expect(template.Parameters).To(HaveKey(name), line)
			given[name] = true
		}
	}
	for name, parameter := range template.Parameters {
		if _, hasDefault := parameter["Default"]; !hasDefault {
			g.Expect(given).To(HaveKey(name), "%s is required: %s", name, line)
		}
	}
	g.Expect(line).To(ContainSubstring("--capabilities CAPABILITY_IAM"), "the template makes roles")
}

// checkHelm sees that the charts and value files are there. That the charts can be
// rendered is tested in hack/charts.
func checkHelm(t *testing.T, words []string) {
	t.Helper()
	g := NewWithT(t)
	g.Expect(words[1]).To(BeElementOf("upgrade", "install", "uninstall", "template"))
	for _, word := range words {
		if strings.HasPrefix(word, "config/") {
			_, err := os.Stat(filepath.Join(filepath.FromSlash(word), "Chart.yaml"))
			g.Expect(err).NotTo(HaveOccurred())
		}
	}
}

// checkDeployed sees that what a command speaks to is among what config/default
// installs, and that what it applies can be built.
func (r *reader) checkDeployed(t *testing.T, line string) {
	t.Helper()
	g := NewWithT(t)
	if match := regexp.MustCompile(`^kubectl (?:apply|delete) .*-k (\S+)$`).FindStringSubmatch(line); match != nil {
		// That the API server takes them is tested in config.
		g.Expect(r.run(t, "kubectl kustomize "+match[1])).To(ContainSubstring("kind: "))
		return
	}
	manifests := r.run(t, "kubectl kustomize config/default")
	for _, match := range regexp.MustCompile(`\b(?:deployment|deploy)[/ ]([a-z-]+)`).FindAllStringSubmatch(line, -1) {
		g.Expect(manifests).To(MatchRegexp(`kind: Deployment\nmetadata:\n(?:  .*\n)*  name: %s\n  namespace: mandelbox-system\n`, match[1]), line)
		g.Expect(line).To(ContainSubstring("-n mandelbox-system"))
	}
	g.Expect(line).To(MatchRegexp(`-n mandelbox-system .*(deployment|deploy|pods?|lease)`), "nobody knows what it speaks to")
}
