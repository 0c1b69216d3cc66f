// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// awaitRunning waits until every sample session runs and every host is Active.
func (d *demo) awaitRunning(ctx context.Context) error {
	fleet := d.shown.Load()
	applied := time.Now()
	var missing []string
	err := d.await(ctx, func() (done bool, err error) {
		missing, err = fleet.missing(d.samples)
		return len(missing) == 0, err
	})
	if err != nil {
		if len(missing) > 0 {
			err = fmt.Errorf("%w; what is missing:\n  %s", err, strings.Join(missing, "\n  "))
		}
		return err
	}
	d.timings.addMilestones(fleet.milestones(), applied, d.began)
	d.tell("All sessions run")
	return nil
}

// await looks at the fleet after each of its changes until done says so.
func (d *demo) await(ctx context.Context, done func() (bool, error)) error {
	fleet := d.shown.Load()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-fleet.changed:
		case err := <-d.ended:
			return managerEnded(err)
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("not done after %s", d.Timeout)
			}
			return ctx.Err()
		}
	}
}

// deleteSession deletes one session and sees its task stopped and its slot free.
func (d *demo) deleteSession(ctx context.Context) error {
	fleet := d.shown.Load()
	name := d.samples.sessions[1] // The first one stays, whatever is released.
	session := fleet.session(name)
	if session == nil {
		return fmt.Errorf("session %s has gone by itself", name)
	}
	region := fleet.region(session.Status.Region)
	if region == nil {
		return fmt.Errorf("region %s has gone", session.Status.Region)
	}
	if err := d.api.Delete(ctx, session.DeepCopy()); err != nil {
		return fmt.Errorf("deleting session %s: %w", sessionName(session), err)
	}
	err := d.await(ctx, func() (bool, error) {
		return fleet.session(sessionName(session)) == nil && !fleet.claims(session.Status.InstanceName, session.UID), nil
	})
	if err != nil {
		return fmt.Errorf("deleting session %s, until it is gone and slot %d of %s free: %w",
			sessionName(session), *session.Status.Slot, session.Status.InstanceName, err)
	}
	answer, err := d.aws.ecs(region).DescribeTasks(ctx, &ecs.DescribeTasksInput{
		Cluster: awssdk.String(region.Spec.ECSCluster), Tasks: []string{session.Status.TaskARN},
	})
	if err != nil {
		return fmt.Errorf("looking at the task of session %s: %w", sessionName(session), err)
	}
	for _, task := range answer.Tasks {
		if awssdk.ToString(task.LastStatus) == "STOPPED" {
			d.tell("Deleted %s: task %s is STOPPED (%s), slot %d of %s is free", sessionName(session),
				lastPart(session.Status.TaskARN), awssdk.ToString(task.StoppedReason), *session.Status.Slot, session.Status.InstanceName)
			return nil
		}
	}
	return fmt.Errorf("session %s is gone, but ECS does not show its task %s as STOPPED", sessionName(session), session.Status.TaskARN)
}

func lastPart(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

func (f *fleet) session(name string) *v1alpha1.Mandelbox {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s, ok := f.sessions[name]; ok {
		return s.object
	}
	return nil
}

func (f *fleet) region(name string) *v1alpha1.Region {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.regions[name]
}

// claims says whether the host has a claim of the session.
func (f *fleet) claims(host string, session types.UID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, ok := f.hosts[host]
	if !ok {
		return false
	}
	for _, claim := range h.object.Status.Claims {
		if claim.UID == string(session) {
			return true
		}
	}
	return false
}

// invitation says how to look around, and what to try.
func (d *demo) invitation() []string {
	region, channel := d.samples.regions[0], d.samples.channels[0]
	end := "its task is stopped, and its slot is free again."
	if d.Acts > 1 {
		end = "it was the last of the old release, whose host leaves."
	}
	lines := []string{"", "In another terminal:", "", "  export KUBECONFIG=" + d.plane.KubeconfigPath()}
	if kubectl := d.plane.KubectlPath(); isFile(kubectl) {
		lines = append(lines, "  export PATH="+filepath.Dir(kubectl)+":$PATH")
	}
	return append(lines,
		"  export AWS_ENDPOINT_URL="+d.aws.url,
		// Version 1 of the AWS CLI knows only the second.
		"  export AWS_REGION="+region.AWSRegion()+" AWS_DEFAULT_REGION="+region.AWSRegion(),
		"  export AWS_ACCESS_KEY_ID="+credential+" AWS_SECRET_ACCESS_KEY="+credential,
		"", "The same hosts and tasks, seen from both sides:", "",
		"  kubectl get mbi,mbx -A",
		"  aws ec2 describe-instances --query 'Reservations[].Instances[].[InstanceId,State.Name]' --output text",
		"  aws ecs list-tasks --cluster "+region.Spec.ECSCluster,
		"", "Three things worth trying, with an eye on this table:", "",
		"  # A session ends: "+end,
		"  kubectl delete mandelbox -n team-a ada",
		"  # More warm room: another host boots.",
		"  kubectl patch region "+region.Name+` --type merge -p '{"spec":{"capacity":{"desiredFreeMandelboxes":12}}}'`,
		"  # The next release: its hosts warm up, it takes over, and the old ones leave.",
		"  kubectl patch ami "+channel.Name+` --type merge -p '{"spec":{"clientCommitHash":"5e8d0b2f6a91"}}'`,
		"", "Ctrl-C ends the demo.",
	)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}
