// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crashtest

import (
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/checker/local"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// state is what a run of the story came to, in lines that are the same for every
// run: who runs, who ended and why, how many hosts there are, and whether all is well.
// What depends on chance, such as names, addresses and attempts, isn't in it.
func (v view) state() string {
	var all []string
	for name, m := range v.sessions {
		all = append(all, fmt.Sprintf("session %s: %s %s", name, m.Status.Phase, reason(m.Status.Conditions, v1alpha1.ConditionFinished)))
	}
	hosts := map[string]int{}
	claims := 0
	for _, i := range v.hosts {
		hosts[fmt.Sprintf("hosts of release %.4s that are %s with %d slots, ready %s", i.Spec.ClientCommitHash, i.Status.Phase, i.Slots(),
			reason(i.Status.Conditions, v1alpha1.ConditionReady))]++
		claims += len(i.Status.Claims)
	}
	for what, n := range hosts {
		all = append(all, fmt.Sprintf("%s: %d", what, n))
	}
	all = append(all, fmt.Sprintf("claims: %d", claims))
	for name, c := range v.channels {
		all = append(all, fmt.Sprintf("channel %s: release %.4s, ready %s, %d revisions", name, v.active(), reason(c.Status.Conditions, v1alpha1.ConditionReady), len(c.Status.Revisions)))
	}
	for name, r := range v.regions {
		all = append(all, fmt.Sprintf("region %s: ready %s", name, reason(r.Status.Conditions, v1alpha1.ConditionReady)))
	}
	all = append(all, fmt.Sprintf("in AWS: %d hosts, %d tasks", len(v.liveHosts()), len(v.liveTasks())))
	return lines(all)
}

// liveHosts are the ids of the hosts that EC2 runs, with what launched them.
func (v view) liveHosts() map[string]string {
	running := map[string]string{}
	for _, h := range v.cloud.Hosts {
		if local.Live(h) {
			running[h.ID] = v1alpha1.LaunchKey(h.ClientToken, int32(h.LaunchIndex))
		}
	}
	return running
}

// liveTasks are the ARNs of the tasks that are to run, with what started them.
func (v view) liveTasks() map[string]string {
	running := map[string]string{}
	for _, t := range v.cloud.Tasks {
		if runs(t) {
			running[t.ARN] = t.StartedBy
		}
	}
	return running
}

// entangled says what of the objects doesn't fit what is in AWS, once all is at
// rest: each Instance must have its host, each session its claim and its task, and
// there must be no other. Nothing if all fits.
func (v view) entangled() []string {
	var wrong []string
	hosts, claims := map[string]string{}, map[string]string{}
	for _, i := range v.hosts {
		hosts[i.Status.InstanceID] = i.LaunchKey()
		for _, c := range i.Status.Claims {
			claims[fmt.Sprintf("%s/%d", i.Name, c.Slot)] = fmt.Sprintf("%s of attempt %d", c.UID, c.Attempt)
		}
	}
	held, tasks := map[string]string{}, map[string]string{}
	for _, m := range v.sessions {
		if m.Committed() && !m.Finished() {
			held[fmt.Sprintf("%s/%d", m.Status.InstanceName, *m.Status.Slot)] = fmt.Sprintf("%s of attempt %d", m.UID, m.Status.Attempt)
			tasks[m.Status.TaskARN] = cloud.StartedBy(string(m.UID), m.Status.Attempt)
		}
	}
	for _, pair := range []struct {
		what      string
		want, got map[string]string
	}{
		{"Instances have the hosts %v, and EC2 runs %v", hosts, v.liveHosts()},
		{"sessions have the tasks %v, and ECS runs %v", tasks, v.liveTasks()},
		{"sessions hold the slots %v, and are claimed %v", held, claims},
	} {
		if !maps.Equal(pair.want, pair.got) {
			wrong = append(wrong, fmt.Sprintf(pair.what, pair.want, pair.got))
		}
	}
	return wrong
}

// holdTasks holds each task that hasn't stopped to its slot and its Mandelbox: these
// may go only after it. What runs was looked at after the versions had come, so that
// a task that is seen was there when they were written. The caller holds mu.
func (o *observer) holdTasks() {
	there := map[string]bool{}
	for _, m := range o.now.sessions {
		there[string(m.UID)], o.met[string(m.UID)] = true, true
	}
	hosts := map[string]*v1alpha1.Instance{}
	for _, i := range o.now.hosts {
		hosts[i.Status.InstanceID] = i
	}
	running := o.now.liveHosts()
	for _, t := range o.now.cloud.Tasks {
		uid, attempt, ours := cloud.ParseStartedBy(t.StartedBy)
		if _, up := running[t.InstanceID]; !ours || !up || t.LastStatus == cloud.TaskStopped || !t.StoppedAt.IsZero() {
			continue
		}
		if o.met[uid] && !there[uid] {
			o.early[t.ARN] = fmt.Sprintf("the Mandelbox with uid %s went before its task %s stopped, which is %s", uid, t.ARN, t.LastStatus)
		}
		host := hosts[t.InstanceID]
		if host == nil {
			continue
		}
		held := slices.ContainsFunc(host.Status.Claims, func(c v1alpha1.Claim) bool { return c.UID == uid && c.Attempt == attempt })
		if o.claimed[t.ARN] && !held {
			o.early[t.ARN] = fmt.Sprintf("the slot of task %s on %s was released before it stopped, which is %s", t.ARN, host.Name, t.LastStatus)
		}
		o.claimed[t.ARN] = o.claimed[t.ARN] || held
	}
}

// forNobody says which hosts no Instance ever had an intent for. While things move, the
// news of an intent may come after that of its host.
func (o *observer) forNobody() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var wrong []string
	for _, h := range o.now.cloud.Hosts {
		if key := v1alpha1.LaunchKey(h.ClientToken, int32(h.LaunchIndex)); len(o.launches[key]) == 0 {
			wrong = append(wrong, fmt.Sprintf("host %s was launched for nobody (token and index %s)", h.ID, key))
		}
	}
	return wrong
}

// doubles says what was ever there twice, or for longer than its slot: hosts are still
// listed long after they are terminated, and tasks after they stopped.
func (o *observer) doubles() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var wrong []string
	launched, started := map[string][]string{}, map[string][]string{}
	for _, h := range o.now.cloud.Hosts {
		key := v1alpha1.LaunchKey(h.ClientToken, int32(h.LaunchIndex))
		owners := o.launches[key]
		if len(owners) > 1 {
			wrong = append(wrong, fmt.Sprintf("token and index %s were those of Instances %v", key, owners))
		}
		for _, owner := range owners {
			launched[owner] = append(launched[owner], h.ID)
		}
	}
	for _, t := range o.now.cloud.Tasks {
		started[t.StartedBy] = append(started[t.StartedBy], t.ARN)
	}
	for owner, ids := range launched {
		if len(ids) > 1 {
			wrong = append(wrong, fmt.Sprintf("the Instance with uid %s had the hosts %v", owner, ids))
		}
	}
	for by, arns := range started {
		if len(arns) > 1 {
			wrong = append(wrong, fmt.Sprintf("the tasks %v were all started by %s", arns, by))
		}
	}
	for _, what := range o.early {
		wrong = append(wrong, what)
	}
	slices.Sort(wrong)
	return wrong
}

// leftovers are what is there of objects, and of what runs in AWS.
func (v view) leftovers() []string {
	var left []string
	for name := range v.sessions {
		left = append(left, "Mandelbox "+name)
	}
	for name := range v.hosts {
		left = append(left, "Instance "+name)
	}
	for name := range v.channels {
		left = append(left, "AMI "+name)
	}
	for name := range v.regions {
		left = append(left, "Region "+name)
	}
	for id := range v.liveHosts() {
		left = append(left, "host "+id)
	}
	for arn, by := range v.liveTasks() {
		left = append(left, "task "+arn+", started by "+by)
	}
	slices.Sort(left)
	return left
}

// reason is a condition's, with its status.
func reason(conditions []metav1.Condition, of string) string {
	c := meta.FindStatusCondition(conditions, of)
	if c == nil {
		return "-"
	}
	return string(c.Status) + "/" + c.Reason
}
