// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// recordVariable is the environment variable that has these specs write the objects
// that they see, in place of comparing them with those written before; `make record`
// sets it.
const recordVariable = "MANDELBOX_RECORD"

// recordings is where a kind's recorded objects are: in the layout of Argo CD's
// resource_customizations, whose health checks and actions are tested on them, as is
// what Flux makes of them.
func recordings(kind string) string {
	return filepath.Join("..", "config", "gitops", "argocd", v1alpha1.GroupVersion.Group, kind, "testdata")
}

// served reads an object as any client gets it, without what only tells who wrote it.
func (w *world) served(ctx context.Context, o client.Object) *unstructured.Unstructured {
	GinkgoHelper()
	gvk, err := apiutil.GVKForObject(o, controllers.NewScheme())
	Expect(err).NotTo(HaveOccurred())
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(gvk)
	Expect(w.Get(ctx, client.ObjectKeyFromObject(o), object)).To(Succeed())
	object.SetManagedFields(nil)
	return object
}

// shape is what of an object GitOps tools read, without names, times and messages, and
// without conditions that only people read.
func shape(object *unstructured.Unstructured) map[string]any {
	GinkgoHelper()
	told := map[string]any{
		"deleted": object.GetDeletionTimestamp() != nil,
		"kstatus": kstatusOf(object),
	}
	phase, _, err := unstructured.NestedString(object.Object, "status", "phase")
	Expect(err).NotTo(HaveOccurred())
	told["phase"] = phase
	suspended, _, err := unstructured.NestedBool(object.Object, "spec", "suspend")
	Expect(err).NotTo(HaveOccurred())
	told["suspended"] = suspended
	conditions, _, err := unstructured.NestedSlice(object.Object, "status", "conditions")
	Expect(err).NotTo(HaveOccurred())
	for _, c := range conditions {
		fields, ok := c.(map[string]any)
		Expect(ok).To(BeTrue())
		switch fields["type"] {
		case v1alpha1.ConditionReady, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled,
			v1alpha1.ConditionRolledOut, v1alpha1.ConditionFinished:
			told[fmt.Sprint("condition ", fields["type"])] = fmt.Sprint(fields["status"], "/", fields["reason"])
		}
	}
	return told
}

func kstatusOf(object *unstructured.Unstructured) kstatus.Status {
	GinkgoHelper()
	result, err := kstatus.Compute(object)
	Expect(err).NotTo(HaveOccurred())
	return result.Status
}

// isRecorded waits until an object is in a state: kstatus reads so from it, and one of
// its conditions has the reason, if one is given. Then it must have the shape of the
// object that was recorded in that state; or it is recorded, if that was asked for.
func (w *world) isRecorded(ctx context.Context, o client.Object, state string, health kstatus.Status, conditionType, reason string) {
	GinkgoHelper()
	var object *unstructured.Unstructured
	Eventually(func(g Gomega) {
		object = w.served(ctx, o)
		g.Expect(kstatusOf(object)).To(Equal(health))
		if reason != "" {
			g.Expect(shape(object)).To(HaveKeyWithValue("condition "+conditionType, HaveSuffix("/"+reason)))
		}
	}).Should(Succeed(), func() string { return fmt.Sprintf("%s %s: %v", object.GetKind(), state, shape(object)) })
	path := filepath.Join(recordings(object.GetKind()), state+".yaml")
	if os.Getenv(recordVariable) != "" {
		raw, err := yaml.Marshal(object.Object)
		Expect(err).NotTo(HaveOccurred())
		Expect(os.MkdirAll(filepath.Dir(path), 0o755)).To(Succeed())
		Expect(os.WriteFile(path, raw, 0o600)).To(Succeed())
		Expect(os.Chmod(path, 0o644)).To(Succeed())
		return
	}
	raw, err := os.ReadFile(path)
	Expect(err).NotTo(HaveOccurred(), "`make record` writes it")
	recorded := &unstructured.Unstructured{}
	encoded, err := yaml.YAMLToJSON(raw)
	Expect(err).NotTo(HaveOccurred())
	Expect(json.Unmarshal(encoded, &recorded.Object)).To(Succeed())
	Eventually(func() map[string]any { return shape(w.served(ctx, o)) }).Should(Equal(shape(recorded)),
		"%s is not as it was recorded; `make record` records it anew", path)
}

// never is longer than any spec: what takes so long doesn't come.
const never = time.Hour

var _ = Describe("What GitOps tools read of each kind is as it was recorded", func() {
	const (
		current     = kstatus.CurrentStatus
		inProgress  = kstatus.InProgressStatus
		failed      = kstatus.FailedStatus
		terminating = kstatus.TerminatingStatus

		ready     = v1alpha1.ConditionReady
		rolledOut = v1alpha1.ConditionRolledOut
		finished  = v1alpha1.ConditionFinished
	)
	theHost := func(ctx context.Context, w *world) *v1alpha1.Instance {
		GinkgoHelper()
		var hosts []v1alpha1.Instance
		Eventually(func() (int, error) {
			var err error
			hosts, err = w.hosts(ctx, "")()
			return len(hosts), err
		}).Should(BeNumerically(">", 0))
		return &hosts[0]
	}

	It("while a fleet comes up", func(ctx context.Context) {
		w := newWorld()
		w.delay(func(d *awsemu.Delays) { d.AgentBoot = never })
		w.stopManager()
		region, host := w.region(ctx, near), anInstance()
		session := w.session(ctx, "waiting", []string{near})
		channel := w.channel(ctx, "stable", []string{near})
		Expect(w.Create(ctx, host)).To(Succeed())
		for _, o := range []client.Object{region, host, session, channel} {
			w.isRecorded(ctx, o, "new", inProgress, "", "")
		}
		Expect(w.Delete(ctx, channel)).To(Succeed())
		w.startManager()
		w.isRecorded(ctx, region, "no-channel", current, ready, v1alpha1.ReasonNoChannel)
		w.isRecorded(ctx, host, "revision-not-found", failed, ready, v1alpha1.ReasonRevisionNotFound)
		w.isRecorded(ctx, session, "unknown-commit-hash", inProgress, finished, v1alpha1.ReasonCommitHashUnknown)

		channel = w.channel(ctx, "stable", []string{near})
		w.isRecorded(ctx, region, "scaling-up", inProgress, ready, v1alpha1.ReasonScalingUp)
		w.isRecorded(ctx, channel, "first-hosts", inProgress, ready, v1alpha1.ReasonProgressing)
		w.isRecorded(ctx, session, "no-room", inProgress, finished, v1alpha1.ReasonNoInstanceAvailable)
		Expect(client.IgnoreNotFound(w.Delete(ctx, host))).To(Succeed())
		Eventually(w.gone(ctx, host)).Should(BeTrue())
		w.isRecorded(ctx, theHost(ctx, w), "registering", inProgress, ready, v1alpha1.ReasonRegistering)
	})

	It("through the life of a fleet that is well", func(ctx context.Context) {
		w := newWorld(func(w *world) { w.perUser = 1 })
		region := w.region(ctx, near)
		channel := w.channel(ctx, "stable", []string{near})
		Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(1))
		host := theHost(ctx, w)
		w.isRecorded(ctx, region, "ready", current, ready, v1alpha1.ReasonReady)
		w.isRecorded(ctx, channel, "rolled-out", current, rolledOut, v1alpha1.ReasonRolledOut)
		w.isRecorded(ctx, host, "active", current, ready, v1alpha1.ReasonReady)

		running := w.session(ctx, "running", []string{near})
		w.isRecorded(ctx, running, "running", current, finished, v1alpha1.ReasonRunning)
		another := w.session(ctx, "another", []string{near}, func(m *v1alpha1.Mandelbox) { m.Spec.UserID = running.Spec.UserID })
		w.isRecorded(ctx, another, "user-already-active", failed, finished, v1alpha1.ReasonUserAlreadyActive)
		for state, code := range map[string]int{"completed": 0, "crashed": 1} {
			session := w.session(ctx, state, []string{near})
			w.runs(ctx, session)
			w.exit(near, session, code)
			if code == 0 {
				w.isRecorded(ctx, session, state, current, finished, v1alpha1.ReasonCompleted)
			} else {
				w.isRecorded(ctx, session, state, failed, finished, v1alpha1.ReasonCrashed)
			}
		}
		w.delay(func(d *awsemu.Delays) { d.TaskStart, d.TaskStop = never, never })
		w.isRecorded(ctx, w.session(ctx, "starting", []string{near}), "starting", inProgress, finished, v1alpha1.ReasonStarting)

		w.merge(ctx, region.DeepCopy(), `{"spec":{"suspend":true}}`)
		w.isRecorded(ctx, region, "suspended", current, ready, v1alpha1.ReasonSuspended)
		w.drain(ctx, host, "true")
		w.isRecorded(ctx, host, "draining", inProgress, ready, v1alpha1.ReasonDraining)
		w.merge(ctx, region.DeepCopy(), `{"spec":{"suspend":false,"enabled":false}}`)
		w.isRecorded(ctx, region, "disabled", current, ready, v1alpha1.ReasonDisabled)

		for state, o := range map[string]client.Object{"session": running, "host": host, "channel": channel, "region": region} {
			Expect(w.Delete(ctx, o.DeepCopyObject().(client.Object))).To(Succeed(), state)
		}
		w.isRecorded(ctx, running, "deleting", terminating, finished, v1alpha1.ReasonStopping)
		w.isRecorded(ctx, host, "deleting", terminating, ready, v1alpha1.ReasonDraining)
		w.isRecorded(ctx, channel, "deleting", terminating, ready, v1alpha1.ReasonInUse)
		w.isRecorded(ctx, region, "deleting", terminating, ready, v1alpha1.ReasonInUse)
	})

	It("through a rollout that is held, goes on and fails", func(ctx context.Context) {
		w := newWorld()
		w.region(ctx, near)
		channel := w.channel(ctx, "stable", []string{near})
		w.rolledOut(ctx, channel.Name, commit)
		w.merge(ctx, channel.DeepCopy(), fmt.Sprintf(`{"spec":{"suspend":true,"clientCommitHash":%q}}`, anotherCommit))
		w.isRecorded(ctx, channel, "suspended", current, ready, v1alpha1.ReasonSuspended)
		w.delay(func(d *awsemu.Delays) { d.AgentBoot = never })
		w.merge(ctx, channel.DeepCopy(), `{"spec":{"suspend":false}}`)
		w.isRecorded(ctx, channel, "rolling-out", inProgress, rolledOut, v1alpha1.ReasonRollingOut)
		w.merge(ctx, channel.DeepCopy(), `{"spec":{"rollout":{"bufferTimeout":"1s"}}}`)
		w.isRecorded(ctx, channel, "buffer-timeout", failed, rolledOut, v1alpha1.ReasonBufferTimeout)

		younger := w.channel(ctx, "younger", []string{near}, offering(anotherCommit))
		w.isRecorded(ctx, younger, "commit-hash-taken", failed, rolledOut, v1alpha1.ReasonCommitHashTaken)
		typo := w.channel(ctx, "typo", []string{near}, offering(thirdCommit), func(a *v1alpha1.AMI) {
			a.Spec.Images[0].ImageID = "ami-0123456789abcdef9"
		})
		w.isRecorded(ctx, typo, "image-not-found", failed, rolledOut, v1alpha1.ReasonImageNotFound)
	})

	It("where a limit is reached, or a person must act", func(ctx context.Context) {
		w := newWorld()
		w.warm(ctx, near, 1, oneSlot(1))
		w.runs(ctx, w.session(ctx, "first", []string{near}))
		w.isRecorded(ctx, w.session(ctx, "second", []string{near}), "region-full", inProgress, finished, v1alpha1.ReasonNoInstanceAvailable)
		full := &v1alpha1.Region{}
		full.Name = near
		w.isRecorded(ctx, full, "max-instances-reached", current, ready, v1alpha1.ReasonMaxInstancesReached)

		refuse := func(operation, code string) {
			w.fault(awsemu.Fault{Operation: operation, Action: awsemu.ActionError, Code: code, Status: 400, Message: "No."})
		}
		nowhere := w.region(ctx, "us-east-2", func(r *v1alpha1.Region) { r.Spec.Subnets.IDs = []string{"subnet-0123456789abcdef9"} })
		w.isRecorded(ctx, nowhere, "subnets-not-found", failed, ready, v1alpha1.ReasonSubnetsNotFound)
		refuse("RunInstances", "UnauthorizedOperation")
		w.region(ctx, far)
		w.channel(ctx, "elsewhere", []string{far}, offering(anotherCommit))
		var stalled v1alpha1.Instance
		Eventually(func(g Gomega) {
			hosts, err := w.hosts(ctx, v1alpha1.InstancePreConnection)()
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(hosts).To(HaveLen(1))
			stalled = hosts[0]
		}).Should(Succeed())
		w.isRecorded(ctx, &stalled, "unauthorized", failed, ready, v1alpha1.ReasonUnauthorized)
		refuse("DescribeInstanceTypes", "UnauthorizedOperation")
		forbidden := w.region(ctx, "eu-west-1")
		w.isRecorded(ctx, forbidden, "unauthorized", failed, ready, v1alpha1.ReasonUnauthorized)
	})

	It("where a session's task is refused", func(ctx context.Context) {
		w := newWorld()
		w.warm(ctx, near, 1)
		w.fault(awsemu.Fault{Operation: "RunTask", Action: awsemu.ActionError, Code: "AccessDeniedException", Status: 400})
		w.isRecorded(ctx, w.session(ctx, "forbidden", []string{near}), "unauthorized", failed, v1alpha1.ConditionStalled, v1alpha1.ReasonUnauthorized)
	})
})
