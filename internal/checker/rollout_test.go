// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package checker_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/checker"
)

// release is a revision whose rows have its name as their id.
func release(name string, state v1alpha1.RevisionState) v1alpha1.Revision {
	return v1alpha1.Revision{Name: name, State: state, Regions: []v1alpha1.RevisionRegion{{Region: "r", ID: name}}}
}

// rollout is a channel with a host of release one, that warms release two.
func (h *history) rollout() (*v1alpha1.AMI, *v1alpha1.Instance) {
	channel := &v1alpha1.AMI{ObjectMeta: metav1.ObjectMeta{Name: "stable"}, Status: v1alpha1.AMIStatus{
		ActiveRevision: "one", Revisions: []v1alpha1.Revision{release("one", v1alpha1.RevisionActive)},
	}}
	h.write(channel)
	old := h.host("old")
	channel.Status.Revisions = append(channel.Status.Revisions, release("two", v1alpha1.RevisionWarming))
	h.write(channel)
	return channel, old
}

func (h *history) newHost() *v1alpha1.Instance {
	i := h.host("new")
	// It was of release one for one version; what counts is that it is no more.
	i.Spec.Revision = "two"
	h.remove(i.DeepCopy())
	h.write(i)
	return i
}

func (h *history) swap(channel *v1alpha1.AMI) {
	channel.Status.ActiveRevision = "two"
	channel.Status.Revisions[0].State, channel.Status.Revisions[1].State = v1alpha1.RevisionRetiring, v1alpha1.RevisionActive
	h.write(channel)
}

var rollouts = map[string]struct {
	broken []string
	tell   func(h *history)
}{
	"with room": {nil, func(h *history) {
		channel, old := h.rollout()
		h.newHost()
		h.swap(channel)
		old.Spec.Drain = ptr.To(true)
		h.write(old)
	}},
	"without room": {[]string{checker.RuleSwap}, func(h *history) {
		channel, _ := h.rollout()
		h.swap(channel)
	}},
	"without room, where there was none before": {nil, func(h *history) {
		channel, old := h.rollout()
		old.Status.Claims = []v1alpha1.Claim{claim(mandelbox("m"), 0, 1), claim(mandelbox("n"), 1, 1)}
		h.write(old)
		h.swap(channel)
	}},
	"with room that came too late": {[]string{checker.RuleSwap}, func(h *history) {
		channel, _ := h.rollout()
		h.swap(channel)
		h.newHost()
	}},
	"of which the active release's room is taken": {[]string{checker.RuleRoom}, func(h *history) {
		_, old := h.rollout()
		old.Spec.Drain = ptr.To(true)
		h.write(old)
	}},
	"in which users take the last slots": {nil, func(h *history) {
		_, old := h.rollout()
		old.Status.Claims = []v1alpha1.Claim{claim(mandelbox("m"), 0, 1), claim(mandelbox("n"), 1, 1)}
		h.write(old)
	}},
	"in which the last host is lost": {nil, func(h *history) {
		_, old := h.rollout()
		h.HostLost(old.Status.InstanceID)
		h.remove(old)
	}},
	"in which a host goes that was too many with one that is lost": {nil, func(h *history) {
		_, old := h.rollout()
		other := h.host("other")
		h.HostLost(old.Status.InstanceID)
		h.remove(old)
		h.remove(other)
	}},
	"in which a host goes long after another was lost": {[]string{checker.RuleRoom}, func(h *history) {
		_, old := h.rollout()
		other := h.host("other")
		h.HostLost(old.Status.InstanceID)
		h.cloud.Hosts[0].Live = false
		h.remove(old)
		h.pass(10 * time.Second)
		h.remove(other)
	}},
	"in which the last host's agent is cut off": {nil, func(h *history) {
		_, old := h.rollout()
		h.HostDisturbed(old.Status.InstanceID)
		old.Status.Phase = v1alpha1.InstanceUnresponsive
		h.write(old)
	}},
	"at the end of everything": {nil, func(h *history) {
		_, old := h.rollout()
		h.Ending()
		h.remove(old)
	}},
}

func TestRollouts(t *testing.T) {
	for name, story := range rollouts {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			h := newHistory()
			story.tell(h)
			h.pass(5 * time.Second)
			var broken []string
			for _, v := range h.Violations() {
				broken = append(broken, v.Rule)
			}
			g.Expect(broken).To(Equal(story.broken), "%v", h.Violations())
		})
	}
}
