// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// bigEnv is an environment of so many characters in all.
func bigEnv(size int) []v1alpha1.EnvVar {
	var env []v1alpha1.EnvVar
	for name := 'A'; size > 0; name++ {
		value := strings.Repeat("x", min(size-1, 2000))
		env = append(env, v1alpha1.EnvVar{Name: string(name), Value: &value})
		size -= 1 + len(value)
	}
	return env
}

var _ = Describe("Mandelbox", func() {
	type session = *v1alpha1.Mandelbox

	DescribeTable("accepts", func(ctx context.Context, change func(session)) {
		object := newMandelbox()
		change(object)
		expectAccepted(ctx, object)
	},
		Entry("the least there is to say", func(session) {}),
		Entry("a channel in place of a commit hash", func(m session) {
			m.Spec.ClientCommitHash, m.Spec.AMIName = "", "stable"
		}),
		Entry("a developer's client", func(m session) { m.Spec.ClientCommitHash = v1alpha1.LocalDevCommitHash }),
		Entry("several regions", func(m session) { m.Spec.Regions = []string{"us-east-1", "us-east-2"} }),
		Entry("an environment of 6000 characters", func(m session) { m.Spec.Env = bigEnv(6000) }),
		Entry("a variable without a value", func(m session) { m.Spec.Env = []v1alpha1.EnvVar{{Name: "DEBUG"}} }),
		Entry("the shortest times", func(m session) {
			m.Spec.AssignmentTimeout, m.Spec.StartTimeout = duration(time.Millisecond), duration(time.Millisecond)
			m.Spec.MaxSessionDuration, m.Spec.TTLAfterFinished = duration(time.Millisecond), duration(0)
		}),
	)

	DescribeTable("refuses", func(ctx context.Context, change func(session), message string) {
		object := newMandelbox()
		change(object)
		expectRefused(ctx, object, message)
	},
		Entry("a commit hash and a channel", func(m session) {
			m.Spec.AMIName = "stable"
		}, refused("exactly one of clientCommitHash and amiName must be set")),
		Entry("neither a commit hash nor a channel", func(m session) {
			m.Spec.ClientCommitHash = ""
		}, refused("exactly one of clientCommitHash and amiName must be set")),
		Entry("a region twice", func(m session) {
			m.Spec.Regions = []string{"us-east-1", "us-east-1"}
		}, refused("regions must not name a region twice")),
		Entry("no region", func(m session) { m.Spec.Regions = nil }, "spec.regions"),
		Entry("no user", func(m session) { m.Spec.UserID = "" }, "spec.userID"),
		Entry("a commit hash that isn't one", func(m session) {
			m.Spec.ClientCommitHash = "main-branch"
		}, "spec.clientCommitHash"),
		Entry("an environment that ECS would not take", func(m session) {
			m.Spec.Env = bigEnv(6001)
		}, refused("env must not exceed 6000 characters in all")),
		Entry("a variable of the operator's", func(m session) {
			m.Spec.Env = []v1alpha1.EnvVar{{Name: "MANDELBOX_SESSION_ID"}}
		}, refused("env names beginning with MANDELBOX_ and NVIDIA_VISIBLE_DEVICES are set by the operator")),
		Entry("its own choice of GPUs", func(m session) {
			m.Spec.Env = []v1alpha1.EnvVar{{Name: "NVIDIA_VISIBLE_DEVICES", Value: ptr.To("all")}}
		}, refused("env names beginning with MANDELBOX_ and NVIDIA_VISIBLE_DEVICES are set by the operator")),
		Entry("no time to be assigned", func(m session) {
			m.Spec.AssignmentTimeout = duration(0)
		}, refused("assignmentTimeout must be positive")),
		Entry("no time to start", func(m session) {
			m.Spec.StartTimeout = duration(0)
		}, refused("startTimeout must be positive")),
		Entry("no time to run", func(m session) {
			m.Spec.MaxSessionDuration = duration(0)
		}, refused("maxSessionDuration must be positive")),
		Entry("a time before its end to be deleted", func(m session) {
			m.Spec.TTLAfterFinished = duration(-time.Second)
		}, "spec.ttlAfterFinished"),
	)

	withEnv := func(m session) { m.Spec.Env = []v1alpha1.EnvVar{{Name: "THEME", Value: ptr.To("dark")}} }
	withChannel := func(m session) { m.Spec.ClientCommitHash, m.Spec.AMIName = "", "stable" }
	DescribeTable("when it is changed", func(ctx context.Context, u update[session]) {
		expectUpdate(ctx, newMandelbox(), u)
	},
		Entry("may live longer or shorter", update[session]{before: withEnv, change: func(m session) {
			m.Spec.AssignmentTimeout, m.Spec.StartTimeout = duration(time.Hour), duration(time.Minute)
			m.Spec.MaxSessionDuration, m.Spec.TTLAfterFinished = duration(time.Hour), duration(time.Hour)
		}}),
		Entry("stays its user's", update[session]{
			change: func(m session) { m.Spec.UserID = "another" }, refusal: refused("userID is immutable"),
		}),
		Entry("stays the same session", update[session]{
			change: func(m session) { m.Spec.SessionID = "another" }, refusal: refused("sessionID is immutable"),
		}),
		Entry("stays in its regions", update[session]{
			change: func(m session) { m.Spec.Regions = []string{"us-east-2"} }, refusal: refused("regions is immutable"),
		}),
		Entry("stays with its commit hash", update[session]{
			change:  func(m session) { m.Spec.ClientCommitHash = anotherHash },
			refusal: refused("clientCommitHash is immutable"),
		}),
		Entry("stays with its channel", update[session]{
			before: withChannel, change: func(m session) { m.Spec.AMIName = "beta" }, refusal: refused("amiName is immutable"),
		}),
		Entry("doesn't swap its commit hash for a channel", update[session]{
			change: withChannel, refusal: refused("clientCommitHash and amiName are immutable"),
		}),
		Entry("stays in its environment", update[session]{
			before: withEnv, change: func(m session) { m.Spec.Env[0].Value = ptr.To("light") }, refusal: refused("env is immutable"),
		}),
		Entry("doesn't lose its environment", update[session]{
			before: withEnv, change: func(m session) { m.Spec.Env = nil }, refusal: refused("env is immutable"),
		}),
		Entry("doesn't gain an environment", update[session]{change: withEnv, refusal: refused("env is immutable")}),
	)

	It("has the defaults that its fields describe", func(ctx context.Context) {
		object := newMandelbox()
		create(ctx, object)
		Expect(object.Spec.AssignmentTimeout).To(Equal(duration(10 * time.Minute)))
		Expect(object.Spec.StartTimeout).To(Equal(duration(90 * time.Second)))
		Expect(object.Spec.MaxSessionDuration).To(BeNil())
		Expect(object.Spec.TTLAfterFinished).To(BeNil())
		Expect(object.Status.ObservedGeneration).To(HaveValue(BeEquivalentTo(-1)))
	})

	It("can be selected by host, region and user", func(ctx context.Context) {
		user := uniqueName("user")
		for _, region := range []string{"us-east-1", "us-east-2"} {
			object := newMandelbox()
			object.Spec.UserID = user
			create(ctx, object)
			object.Status.Region, object.Status.InstanceName = region, "host-in-"+region
			Expect(api.Status().Update(ctx, object)).To(Succeed())
		}
		for _, fields := range []client.MatchingFields{
			{"spec.userID": user, "status.region": "us-east-1"},
			{"spec.userID": user, "status.instanceName": "host-in-us-east-1"},
		} {
			var found v1alpha1.MandelboxList
			Expect(api.List(ctx, &found, fields)).To(Succeed())
			Expect(found.Items).To(HaveLen(1), "%v", fields)
			Expect(found.Items[0].Status.Region).To(Equal("us-east-1"), "%v", fields)
		}
		var all v1alpha1.MandelboxList
		Expect(api.List(ctx, &all, client.MatchingFields{"spec.userID": user})).To(Succeed())
		Expect(all.Items).To(HaveLen(2))
	})
})
