// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"fmt"
	"regexp"
	"strings"

	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cli/terminal"
)

// hostChange is what a line-by-line reader hears of a host.
func hostChange(before, now *v1alpha1.Instance) string {
	phase := string(now.Status.Phase)
	if phase == "" || before != nil && before.Status.Phase == now.Status.Phase {
		return ""
	}
	parts := []string{now.Spec.RegionName}
	if kind := now.Status.InstanceType; kind != "" {
		parts = append(parts, kind)
	}
	if capacity := ptr.Deref(now.Status.Capacity, 0); capacity > 0 {
		parts = append(parts, slots(int32(len(now.Status.Claims)), capacity))
	}
	var from string
	if before != nil {
		from = string(before.Status.Phase)
	}
	return fmt.Sprintf("host     %s %s: %s", now.Name, arrow(from, phase), strings.Join(parts, ", "))
}

// sessionChange is what a line-by-line reader hears of a session; nothing of the
// guests, who are many.
func sessionChange(before, now *v1alpha1.Mandelbox) string {
	phase, reason := string(now.Status.Phase), sessionReason(now)
	if isGuest(now) || phase == "" || before != nil && string(before.Status.Phase) == phase && sessionReason(before) == reason {
		return ""
	}
	var from string
	if before != nil {
		from = string(before.Status.Phase)
	}
	line := fmt.Sprintf("session  %s %s: %s", sessionName(now), arrow(from, phase), reason)
	if now.Status.InstanceName != "" {
		line += fmt.Sprintf(", %s slot %d", now.Status.InstanceName, ptr.Deref(now.Status.Slot, 0))
	}
	if at := address(now); at != "" {
		line += ", " + at
	}
	return line
}

// needs finds how many slots a region needs for a release, in status.progress. The
// number follows each session that comes or goes, which is not news.
var needs = regexp.MustCompile(`/\d+`)

// channelChange is what a line-by-line reader hears of a release.
func channelChange(before, now *v1alpha1.AMI) string {
	line := rolloutLine(now)
	if !answered(now) || before != nil && answered(before) && needs.ReplaceAllString(rolloutLine(before), "") == needs.ReplaceAllString(line, "") {
		return ""
	}
	return "release  " + line
}

// rolloutLine says how far a channel's release is, as kubectl get ami does.
func rolloutLine(o *v1alpha1.AMI) string {
	if !answered(o) {
		return fmt.Sprintf("%s %s is new", o.Name, o.Spec.ClientCommitHash)
	}
	return fmt.Sprintf("%s %s %s: %s", o.Name, o.Spec.ClientCommitHash, reasonOf(o.Status.Conditions, v1alpha1.ConditionRolledOut), terminal.OrDash(o.Status.Progress))
}

// answered says whether the channel's status is about its spec as it is now.
func answered(o *v1alpha1.AMI) bool {
	return ptr.Deref(o.Status.ObservedGeneration, -1) >= o.Generation
}

// taken says how a session ended, or stopped running, that nobody had deleted; ""
// if it did not.
func taken(before, now *v1alpha1.Mandelbox) string {
	finished := now.Status.Phase == v1alpha1.MandelboxFinished
	ran := before != nil && before.Status.Phase == v1alpha1.MandelboxRunning
	if now.DeletionTimestamp != nil || !finished && (!ran || now.Status.Phase == v1alpha1.MandelboxRunning) {
		return ""
	}
	return fmt.Sprintf("%s: %s", now.Status.Phase, why(now.Status.Conditions, v1alpha1.ConditionFinished))
}

// arrow is the way from a phase to the next, or the phase if there was no other.
func arrow(from, to string) string {
	if from == "" || from == to {
		return to
	}
	return from + " → " + to
}
