// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crashtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/managerrole"
)

// What the story is about.
const (
	regionName  = "us-east-1"
	channelName = "stable"
	credential  = "crashtest"
	// scarceType is the instance type that EC2 may run out of. There is another one,
	// since the operator remembers for minutes what was not to be had.
	scarceType = "g4dn.2xlarge"
)

// releases are the channel's: the commit hash of each, by its number.
var releases = []string{"1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"}

func imageOf(release int) string { return fmt.Sprintf("ami-0%016d", release+1) }

// chapter is a part of the story: when its time has come, people or fate act.
// Nothing in it depends on what the operator did for it, so that the story goes on
// whatever crashes.
type chapter struct {
	what string
	when func(v view) bool
	act  func(ctx context.Context, t *trial, v view) error
}

// story is the reference story. Hosts have two slots.
var story = []chapter{{
	what: "a region and a channel are made",
	when: func(view) bool { return true },
	act: func(ctx context.Context, t *trial, _ view) error {
		return errors.Join(t.createRegion(ctx), t.createChannel(ctx))
	},
}, {
	what: "three people come, while the first hosts are on their way",
	when: func(v view) bool { return len(v.hosts) >= 2 },
	act: func(ctx context.Context, t *trial, _ view) error {
		return errors.Join(t.createSession(ctx, "s1"), t.createSession(ctx, "s2"), t.createSession(ctx, "s3"))
	},
}, {
	what: "less room is wanted",
	when: func(v view) bool {
		return v.running("s1") && v.running("s2") && v.running("s3") && v.open(releases[0]) >= 3
	},
	act: func(ctx context.Context, t *trial, _ view) error {
		return t.want(ctx, 1, 0)
	},
}, {
	what: "a host is drained, one session ends, one is deleted, one crashes as another comes, and a release is rolled out",
	when: func(v view) bool { return v.shrunk() },
	act: func(ctx context.Context, t *trial, v view) error {
		return errors.Join(
			t.patch(ctx, &v1alpha1.Instance{ObjectMeta: metav1.ObjectMeta{Name: v.sessions["s1"].Status.InstanceName}}, `{"spec":{"drain":true}}`),
			t.exit(v, "s1", 0), t.deleteSession(ctx, "s2"), t.exit(v, "s3", 3), t.createSession(ctx, "s4"), t.release(ctx, 1),
			// What the rollout launches is not to go before people have come to it.
			t.want(ctx, 1, time.Minute),
		)
	},
}, {
	what: "the release is out: two come to it, the one before ends, and more room is wanted",
	when: func(v view) bool { return v.active() == releases[1] && v.running("s4") },
	act: func(ctx context.Context, t *trial, v view) error {
		return errors.Join(t.createSession(ctx, "s5"), t.createSession(ctx, "s6"), t.exit(v, "s4", 0), t.want(ctx, 2, time.Minute))
	},
}, {
	what: "one leaves who has only just come",
	when: func(v view) bool { return v.started("s6") },
	act:  func(ctx context.Context, t *trial, _ view) error { return t.deleteSession(ctx, "s6") },
}, {
	what: "a host dies with its session",
	when: func(v view) bool { return v.running("s5") && v.sessions["s6"] == nil },
	act: func(_ context.Context, t *trial, v view) error {
		id := v.hosts[v.sessions["s5"].Status.InstanceName].Status.InstanceID
		t.checker.HostLost(id)
		return t.aws.KillInstance("", regionName, id)
	},
}, {
	what: "the last one comes, and less room is wanted",
	when: func(v view) bool { return v.phase("s5") == v1alpha1.MandelboxFinished },
	act: func(ctx context.Context, t *trial, _ view) error {
		return errors.Join(t.want(ctx, 1, 0), t.createSession(ctx, lastSession))
	},
}}

// lastSession is who runs in the end.
const lastSession = "s7"

func theRegion() *v1alpha1.Region {
	return &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: regionName}}
}

// running says whether a session is Running.
func (v view) running(session string) bool { return v.phase(session) == v1alpha1.MandelboxRunning }

// started says whether a session has a task, whatever its status says.
func (v view) started(session string) bool {
	m := v.sessions[session]
	return m != nil && slices.ContainsFunc(v.cloud.Tasks, func(t awsemu.ObservedTask) bool {
		uid, _, ok := cloud.ParseStartedBy(t.StartedBy)
		return ok && uid == string(m.UID)
	})
}

// active is the commit hash of the channel's active release.
func (v view) active() string {
	channel := v.channels[channelName]
	if channel == nil {
		return ""
	}
	if active := channel.Revision(channel.Status.ActiveRevision); active != nil {
		return active.ClientCommitHash
	}
	return ""
}

// open counts the hosts of a release that take sessions.
func (v view) open(commit string) int {
	n := 0
	for _, i := range v.hosts {
		if i.Open() && i.Spec.ClientCommitHash == commit {
			n++
		}
	}
	return n
}

// shrunk says whether no host of the first release is too many: where each has a
// session, none can go.
func (v view) shrunk() bool {
	for _, i := range v.hosts {
		if i.Open() && len(i.Status.Claims) == 0 && v.open(releases[0]) > 2 {
			return false
		}
	}
	return true
}

// patch changes an object as a person would, whatever version there is.
func (t *trial) patch(ctx context.Context, o client.Object, patch string) error {
	return t.lane.api.Patch(ctx, o, client.RawPatch("application/merge-patch+json", []byte(patch)))
}

// want has the Region keep so many slots free, and let go of a host that has been
// too many for so long.
func (t *trial) want(ctx context.Context, free int, stabilization time.Duration) error {
	return t.patch(ctx, theRegion(), fmt.Sprintf(`{"spec":{"capacity":{"desiredFreeMandelboxes":%d,"scaleDownStabilization":%q}}}`, free, stabilization))
}

// exit has a session's container end by itself.
func (t *trial) exit(v view, session string, code int) error {
	m := v.sessions[session]
	if m == nil || m.Status.TaskARN == "" {
		return fmt.Errorf("session %s has no task to end", session)
	}
	return t.aws.ExitTask("", regionName, m.Status.TaskARN, code, "")
}

func (t *trial) deleteSession(ctx context.Context, name string) error {
	return t.lane.api.Delete(ctx, &v1alpha1.Mandelbox{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: name}})
}

// createSession makes a session. Every second one comes with its finalizer, as the
// webhook has it; the others get it by a write more, at which there is one to crash.
func (t *trial) createSession(ctx context.Context, name string) error {
	m := &v1alpha1.Mandelbox{
		ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: name},
		Spec:       v1alpha1.MandelboxSpec{UserID: "user-" + name, SessionID: name, Regions: []string{regionName}, AMIName: channelName},
	}
	if slices.Contains([]string{"s1", "s3", "s5", lastSession}, name) {
		m.Finalizers = []string{v1alpha1.MandelboxFinalizer}
	}
	if err := t.lane.api.Create(ctx, m); err != nil {
		return fmt.Errorf("creating Mandelbox %s: %w", name, err)
	}
	t.namer.know(string(m.UID), name)
	return nil
}

// release has the channel offer a release.
func (t *trial) release(ctx context.Context, number int) error {
	return t.patch(ctx, &v1alpha1.AMI{ObjectMeta: metav1.ObjectMeta{Name: channelName}},
		fmt.Sprintf(`{"spec":{"clientCommitHash":%q,"images":[{"region":%q,"imageID":%q}]}}`, releases[number], regionName, imageOf(number)))
}

func (t *trial) createChannel(ctx context.Context) error {
	channel := &v1alpha1.AMI{
		ObjectMeta: metav1.ObjectMeta{Name: channelName},
		Spec: v1alpha1.AMISpec{
			ClientCommitHash: releases[0],
			Images:           []v1alpha1.RegionImage{{Region: regionName, ImageID: imageOf(0)}},
			Task: v1alpha1.TaskTemplate{
				Image: "example.com/mandelbox:1", CPU: 4096, MemoryMiB: 8192,
				Ports: []v1alpha1.TaskPort{{Name: "webrtc", ContainerPort: 32262, Protocol: v1alpha1.ProtocolTCP}},
			},
			Rollout: v1alpha1.Rollout{BufferTimeout: &metav1.Duration{Duration: time.Minute}},
		},
	}
	if err := t.lane.api.Create(ctx, channel); err != nil {
		return fmt.Errorf("creating AMI %s: %w", channelName, err)
	}
	return nil
}

// createRegion makes the Region in the network that the local AWS has from the start.
func (t *trial) createRegion(ctx context.Context) error {
	network := ec2.NewFromConfig(awssdk.Config{
		Region: regionName, BaseEndpoint: awssdk.String(t.lane.awsEndpoint),
		Credentials: credentials.NewStaticCredentialsProvider(awsemu.RootAccessKey, credential, ""),
	})
	subnets, err := network.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	if err != nil {
		return fmt.Errorf("looking for subnets: %w", err)
	}
	groups, err := network.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{})
	if err != nil {
		return fmt.Errorf("looking for security groups: %w", err)
	}
	region := theRegion()
	region.Spec = v1alpha1.RegionSpec{
		InstanceTypes: []string{scarceType, "g4dn.4xlarge"},
		Capacity: v1alpha1.Capacity{
			VCPUsPerMandelbox: 4, DesiredFreeMandelboxes: ptr.To[int32](3), MaxInstances: ptr.To[int32](8),
			ScaleDownStabilization: &metav1.Duration{},
		},
		HostTimeouts: v1alpha1.HostTimeouts{
			PreConnection:     &metav1.Duration{Duration: 5 * time.Second},
			AgentDisconnected: &metav1.Duration{Duration: 2 * time.Second},
		},
	}
	// In one subnet, the hosts of one decision share a call.
	for _, subnet := range subnets.Subnets[:1] {
		region.Spec.Subnets.IDs = append(region.Spec.Subnets.IDs, awssdk.ToString(subnet.SubnetId))
	}
	for _, group := range groups.SecurityGroups {
		region.Spec.SecurityGroups.IDs = append(region.Spec.SecurityGroups.IDs, awssdk.ToString(group.GroupId))
	}
	if err := t.lane.api.Create(ctx, region); err != nil {
		return fmt.Errorf("creating Region %s: %w", regionName, err)
	}
	return nil
}

// newAWS is a local AWS as short-lived as leaves every state to be seen.
func newAWS(role *awsemu.IAM, change func(*awsemu.Delays)) *awsemu.Server {
	delays := &awsemu.Delays{
		InstancePending: 30 * time.Millisecond, AgentBoot: 50 * time.Millisecond,
		InstanceShuttingDown: 30 * time.Millisecond, InstanceStopping: 30 * time.Millisecond,
		StatusChecks: 30 * time.Millisecond, SpotNotice: 200 * time.Millisecond,
		TaskPull: 20 * time.Millisecond, TaskStart: 20 * time.Millisecond, TaskStop: 30 * time.Millisecond,
		TerminatedRetention: time.Hour, StoppedTaskRetention: time.Hour,
	}
	if change != nil {
		change(delays)
	}
	return awsemu.New(awsemu.Options{
		Seed: 1, Images: []awsemu.Image{{ID: imageOf(0)}, {ID: imageOf(1)}}, Delays: delays,
		IAM: role, NetworkTags: managerrole.NetworkTags(),
	})
}
