// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	. "github.com/onsi/gomega"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cli/demo"
)

// patience is how long the demo may take to start and to stop.
const patience = 5 * time.Minute

// testedElsewhere are commands that are run by another test, which is named.
var testedElsewhere = map[string]string{
	"go run . aws --listen 127.0.0.1:4566": "internal/cli/aws_test.go",
	"kubectl mandelbox dashboard":          "internal/cli/kubectl/show_test.go",
}

// commands are the lines of the README's shell blocks, in their order.
func commands(t *testing.T) []string {
	t.Helper()
	var lines []string
	for _, b := range blocks(t, "README.md") {
		if b.language == "sh" {
			lines = append(lines, b.lines()...)
		}
	}
	if len(lines) == 0 {
		t.Fatal("the README has no commands")
	}
	return lines
}

// TestReadme has the manifests of all pages tried, and runs the commands of the README
// and then those of the other pages, as their reader would, with the demo in another
// terminal. Of make's targets, which CI and config/config_test.go run, it sees that they
// exist.
func TestReadme(t *testing.T) {
	reader := &reader{demo: startDemo(t), plugin: pluginFolder(t)}
	reader.tryManifests(t)
	seen := map[string]bool{}
	for _, command := range commands(t) {
		seen[command] = true
		t.Run(command, func(t *testing.T) { reader.follow(t, command) })
	}
	for _, line := range strings.Split(reader.demo.String(), "\n") {
		line = strings.TrimSpace(line)
		if (strings.HasPrefix(line, "kubectl ") || strings.HasPrefix(line, "aws ")) && !seen[line] {
			t.Errorf("the demo suggests %q, which the README does not have and nobody runs", line)
		}
	}
	for command, where := range testedElsewhere {
		if !seen[command] {
			t.Errorf("the README no longer says %q, which %s tests", command, where)
		}
		if _, err := os.Stat(where); err != nil {
			t.Errorf("%s, which tests %q, is gone: %v", where, command, err)
		}
	}
	reader.followPages(t)
	reader.followInline(t)
}

// reader is somebody who follows the README.
type reader struct {
	demo *runningDemo
	// plugin is a folder in which the kubectl plugin is.
	plugin string
}

// follow runs a command, or fails if nobody would notice it being wrong.
func (r *reader) follow(t *testing.T, command string) {
	program, _, _ := strings.Cut(command, " ")
	switch {
	case testedElsewhere[command] != "":
		return
	case program == "make":
		r.planMake(t, command)
	case program == "kubectl":
		if output := r.run(t, command); strings.TrimSpace(output) == "" {
			t.Error("it printed nothing")
		}
	case program == "aws":
		r.askAWS(t, command)
	default:
		t.Error("nobody runs this command; run it here, or name its test in testedElsewhere")
	}
}

// run runs a command in a shell that has taken the demo's export lines.
func (r *reader) run(t *testing.T, command string) string {
	t.Helper()
	shell := exec.CommandContext(t.Context(), "sh", "-ec", strings.Join(append(r.demo.exports(), "export PATH="+r.plugin+":$PATH", command), "\n"))
	var errs bytes.Buffer
	shell.Stderr = &errs
	output, err := shell.Output()
	if err != nil {
		t.Errorf("%v: %s%s", err, output, &errs)
	}
	return string(output)
}

// planMake has make say what it would do. What is given to a subcommand must be flags
// that it has.
func (r *reader) planMake(t *testing.T, command string) {
	t.Helper()
	r.run(t, strings.Replace(command, "make ", "make --dry-run ", 1))
	target, _, hasArgs := strings.Cut(strings.TrimPrefix(command, "make "), " ")
	if !hasArgs || !slices.Contains([]string{"run", "demo", "soak", "crashtest"}, target) {
		return
	}
	command, _, _ = strings.Cut(command, " #")
	args := strings.Fields(r.run(t, "set -- "+strings.TrimPrefix(command, "make ")+"; for a in \"$@\"; do echo \"${a#ARGS=}\"; done"))
	if args[0] == "run" {
		args[0] = "manager"
	}
	planOperator(t, args)
}

// askAWS asks what the command asks through the SDK, and through the AWS CLI where
// there is one, and compares the answer with what kubectl says.
func (r *reader) askAWS(t *testing.T, command string) {
	t.Helper()
	g := NewWithT(t)
	config := awssdk.Config{
		Region: "us-east-1", BaseEndpoint: awssdk.String(r.demo.variable("AWS_ENDPOINT_URL")),
		Credentials: credentials.NewStaticCredentialsProvider(r.demo.variable("AWS_ACCESS_KEY_ID"), "secret", ""),
	}
	var inAWS []string
	var inKubernetes string
	switch strings.Join(strings.Fields(command)[1:3], " ") {
	case "ec2 describe-instances":
		out, err := ec2.NewFromConfig(config).DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{})
		g.Expect(err).NotTo(HaveOccurred())
		for _, reservation := range out.Reservations {
			for _, instance := range reservation.Instances {
				if instance.State.Name != types.InstanceStateNameTerminated {
					inAWS = append(inAWS, awssdk.ToString(instance.InstanceId))
				}
			}
		}
		inKubernetes = r.run(t, "kubectl get mbi --field-selector spec.regionName=us-east-1 -o jsonpath='{.items[*].status.instanceID}'")
	case "ecs list-tasks":
		out, err := ecs.NewFromConfig(config).ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: awssdk.String("mandelbox")})
		g.Expect(err).NotTo(HaveOccurred())
		inAWS = out.TaskArns
		inKubernetes = r.run(t, "kubectl get mbx -A --field-selector status.region=us-east-1 -o jsonpath='{.items[*].status.taskARN}'")
	default:
		t.Fatal("there is no such question here; add it")
	}
	g.Expect(inAWS).NotTo(BeEmpty())
	g.Expect(inAWS).To(ConsistOf(strings.Fields(inKubernetes)))
	if _, err := exec.LookPath("aws"); err == nil {
		g.Expect(r.run(t, command)).To(ContainSubstring(inAWS[0]))
	}
}

// runningDemo is a demo, and what it has printed so far.
type runningDemo struct {
	mu  sync.Mutex
	out bytes.Buffer
}

// Write takes what the demo prints.
func (d *runningDemo) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.Write(p)
}

func (d *runningDemo) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.out.String()
}

// startDemo starts a demo and waits until both its acts are over. It ends, in order,
// with the test.
func startDemo(t *testing.T) *runningDemo {
	t.Helper()
	g := NewWithT(t)
	d, delays := &runningDemo{}, awsemu.FastDelays()
	ctx, interrupt := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- demo.Run(ctx, demo.Options{Out: d, AWSListen: "127.0.0.1:0", Delays: &delays}) }()
	t.Cleanup(func() {
		interrupt()
		g.Eventually(ended).WithTimeout(patience).Should(Receive(Satisfy(func(err error) bool { return errors.Is(err, context.Canceled) })))
		if t.Failed() {
			t.Logf("the demo printed:\n%s", d)
		}
	})
	g.Eventually(func() error {
		select {
		case err := <-ended:
			ended <- err
			return StopTrying(fmt.Sprintf("the demo ended: %v", err))
		default:
		}
		if !strings.Contains(d.String(), "Ctrl-C ends the demo.") {
			return errors.New("the second act is not over yet")
		}
		return nil
	}).WithTimeout(patience).Should(Succeed())
	return d
}

// exports are the lines that the demo asks its user to enter.
func (d *runningDemo) exports() []string {
	var lines []string
	for _, line := range strings.Split(d.String(), "\n") {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "export ") {
			lines = append(lines, line)
		}
	}
	return lines
}

// variable is what the demo's export lines give a variable.
func (d *runningDemo) variable(name string) string {
	for _, word := range strings.Fields(strings.Join(d.exports(), " ")) {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			return value
		}
	}
	return ""
}
