// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// The regions that sessions of the specs ask for.
const (
	near = "us-east-1"
	far  = "us-west-2"
)

// oneSlot has a region launch hosts with a single slot, and at most that many of them.
func oneSlot(hosts int32) func(*v1alpha1.Region) {
	return func(r *v1alpha1.Region) {
		r.Spec.InstanceTypes = []string{"g4dn.xlarge"}
		r.Spec.Capacity.MandelboxesPerGPU = ptr.To[int32](1)
		r.Spec.Capacity.DesiredFreeMandelboxes = ptr.To(hosts)
		r.Spec.Capacity.MaxInstances = ptr.To(hosts)
	}
}

// warm makes a region with a channel, and waits for that many hosts; and until the
// manager says that they have room, which it knows a little after the spec does.
func (w *world) warm(ctx context.Context, region string, hosts int, change ...func(*v1alpha1.Region)) {
	GinkgoHelper()
	w.region(ctx, region, change...)
	w.channel(ctx, "stable", []string{region})
	Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(hosts))
	w.hasRoom(ctx, region, hosts)
}

// hasRoom waits until the Region counts that many free slots.
func (w *world) hasRoom(ctx context.Context, region string, slots int) {
	GinkgoHelper()
	Eventually(func() (int32, error) {
		var r v1alpha1.Region
		err := w.Get(ctx, client.ObjectKey{Name: region}, &r)
		return ptr.Deref(r.Status.Free, 0), err
	}).Should(BeNumerically(">=", slots))
}

// runs waits until the session runs.
func (w *world) runs(ctx context.Context, m *v1alpha1.Mandelbox) {
	GinkgoHelper()
	Eventually(w.phase(ctx, m)).Should(Equal("Running/Running"))
}

// ends waits until the session is over for that reason.
func (w *world) ends(ctx context.Context, m *v1alpha1.Mandelbox, reason string) {
	GinkgoHelper()
	Eventually(w.phase(ctx, m)).Should(Equal("Finished/" + reason))
}

// remove deletes the session, and waits until its object is gone.
func (w *world) remove(ctx context.Context, m *v1alpha1.Mandelbox) {
	GinkgoHelper()
	Expect(w.Delete(ctx, m.DeepCopy())).To(Succeed())
	Eventually(func() bool {
		return apierrors.IsNotFound(w.Get(ctx, client.ObjectKeyFromObject(m), m.DeepCopy()))
	}).Should(BeTrue())
}

// claims counts the slots that are taken.
func (w *world) claims(ctx context.Context) func() (int, error) {
	return func() (int, error) {
		hosts, err := w.hosts(ctx, "")()
		n := 0
		for i := range hosts {
			n += len(hosts[i].Status.Claims)
		}
		return n, err
	}
}

// delay changes how long things take in the local AWS from now on.
func (w *world) delay(change func(*awsemu.Delays)) {
	delays := w.aws.Delays()
	change(&delays)
	w.aws.SetDelays(delays)
}

// tasksOf lists the tasks of all attempts of the session, with their tags.
func (w *world) tasksOf(ctx context.Context, region string, m *v1alpha1.Mandelbox) []ecstypes.Task {
	GinkgoHelper()
	api := ecs.NewFromConfig(w.awsConfig(region))
	var tasks []ecstypes.Task
	for attempt := int32(1); attempt <= max(1, m.Status.Attempt); attempt++ {
		for _, desired := range []ecstypes.DesiredStatus{ecstypes.DesiredStatusRunning, ecstypes.DesiredStatusStopped} {
			list, err := api.ListTasks(ctx, &ecs.ListTasksInput{
				Cluster: awssdk.String("mandelbox"), DesiredStatus: desired,
				StartedBy: awssdk.String(cloud.StartedBy(string(m.UID), attempt)),
			})
			Expect(err).NotTo(HaveOccurred())
			if len(list.TaskArns) == 0 {
				continue
			}
			found, err := api.DescribeTasks(ctx, &ecs.DescribeTasksInput{
				Cluster: awssdk.String("mandelbox"), Tasks: list.TaskArns, Include: []ecstypes.TaskField{ecstypes.TaskFieldTags},
			})
			Expect(err).NotTo(HaveOccurred())
			tasks = append(tasks, found.Tasks...)
		}
	}
	return tasks
}

// exit has the session's container end with that code.
func (w *world) exit(region string, m *v1alpha1.Mandelbox, code int) {
	GinkgoHelper()
	Expect(w.aws.ExitTask(awsemu.DefaultAccount, region, m.Status.TaskARN, code, "")).To(Succeed())
}

// told lists the reasons of the Events about the object, as often as each was told.
func (w *world) told(ctx context.Context, o client.Object) func() ([]string, error) {
	return func() ([]string, error) {
		var list eventsv1.EventList
		if err := w.List(ctx, &list); err != nil {
			return nil, err
		}
		reasons := []string{}
		for i := range list.Items {
			e := &list.Items[i]
			if e.Regarding.UID != o.GetUID() {
				continue
			}
			times := int32(1)
			if e.Series != nil {
				times = e.Series.Count
			}
			for range times {
				reasons = append(reasons, e.Reason)
			}
		}
		return reasons, nil
	}
}

// watchClaims looks at every version of every Instance that the API server serves
// until the spec ends, and fails it when one of the checks says what is wrong with
// it; without any, when it has a slot beyond its capacity, or a slot or a session
// twice.
func (w *world) watchClaims(ctx context.Context, checks ...func(*v1alpha1.Instance) string) {
	GinkgoHelper()
	if len(checks) == 0 {
		checks = append(checks, doubledSlot, doubledSession)
	}
	w.watchVersions(ctx, &v1alpha1.InstanceList{}, func(o client.Object) string {
		for _, check := range checks {
			if problem := check(o.(*v1alpha1.Instance)); problem != "" {
				return problem
			}
		}
		return ""
	})
}

// watchVersions looks at every version of every object of a kind until the spec ends,
// and fails it when the check says what is wrong with one.
func (w *world) watchVersions(ctx context.Context, list client.ObjectList, check func(client.Object) string) {
	GinkgoHelper()
	c, err := client.NewWithWatch(w.plane.Config(), client.Options{Scheme: controllers.NewScheme()})
	Expect(err).NotTo(HaveOccurred())
	versions, err := c.Watch(ctx, list)
	Expect(err).NotTo(HaveOccurred())
	done := make(chan struct{})
	wrong := ""
	seen := 0
	go func() {
		defer close(done)
		for event := range versions.ResultChan() {
			o, ok := event.Object.(client.Object)
			if !ok || event.Type == watch.Bookmark {
				continue
			}
			seen++
			if problem := check(o); problem != "" && wrong == "" {
				wrong = fmt.Sprintf("version %s of %s: %s", o.GetResourceVersion(), o.GetName(), problem)
			}
		}
	}()
	DeferCleanup(func() {
		versions.Stop()
		<-done
		Expect(wrong).To(BeEmpty())
		Expect(seen).NotTo(BeZero())
	})
}

// doubledSlot says whether a slot is claimed twice, or beyond the capacity; "" if
// none is.
func doubledSlot(i *v1alpha1.Instance) string {
	slots := map[int32]bool{}
	for _, c := range i.Status.Claims {
		switch {
		case c.Slot >= i.Slots():
			return fmt.Sprintf("slot %d of %d", c.Slot, i.Slots())
		case slots[c.Slot]:
			return fmt.Sprintf("slot %d twice", c.Slot)
		}
		slots[c.Slot] = true
	}
	return ""
}

// doubledSession says whether a session has two claims; "" if none has. After the
// end of a manager, or beside another, a claim that wasn't committed may stand
// beside the one that will be, for a moment.
func doubledSession(i *v1alpha1.Instance) string {
	sessions := map[string]bool{}
	for _, c := range i.Status.Claims {
		if sessions[c.UID] {
			return fmt.Sprintf("session %s twice", c.Name)
		}
		sessions[c.UID] = true
	}
	return ""
}

// within sets one of a session's durations.
func within(field func(*v1alpha1.MandelboxSpec) **metav1.Duration, d time.Duration) func(*v1alpha1.Mandelbox) {
	return func(m *v1alpha1.Mandelbox) { *field(&m.Spec) = &metav1.Duration{Duration: d} }
}

func assignmentTimeout(s *v1alpha1.MandelboxSpec) **metav1.Duration { return &s.AssignmentTimeout }
func startTimeout(s *v1alpha1.MandelboxSpec) **metav1.Duration      { return &s.StartTimeout }
func maxDuration(s *v1alpha1.MandelboxSpec) **metav1.Duration       { return &s.MaxSessionDuration }
func ttl(s *v1alpha1.MandelboxSpec) **metav1.Duration               { return &s.TTLAfterFinished }
