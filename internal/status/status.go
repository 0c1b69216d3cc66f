// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package status is how every controller writes what it found: conditions that
// kstatus reads the way they are meant, and one patch, only when something changed.
package status

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// maxMessage is the length a condition's message may have.
const maxMessage = 32768

// Writer sets the conditions of one object at one generation.
type Writer struct {
	conditions *[]metav1.Condition
	generation int64
}

// New returns a Writer for the conditions of an object at its generation.
func New(conditions *[]metav1.Condition, generation int64) Writer {
	return Writer{conditions: conditions, generation: generation}
}

// Set sets a condition; its time changes only with its status.
func (w Writer) Set(conditionType string, is bool, reason, message string) {
	value := metav1.ConditionFalse
	if is {
		value = metav1.ConditionTrue
	}
	w.set(conditionType, value, reason, message)
}

// Unknown sets a condition to Unknown.
func (w Writer) Unknown(conditionType, reason, message string) {
	w.set(conditionType, metav1.ConditionUnknown, reason, message)
}

func (w Writer) set(conditionType string, value metav1.ConditionStatus, reason, message string) {
	if len(message) > maxMessage {
		message = message[:maxMessage]
	}
	meta.SetStatusCondition(w.conditions, metav1.Condition{
		Type: conditionType, Status: value, Reason: reason, Message: message, ObservedGeneration: w.generation,
	})
}

// Remove takes a condition away.
func (w Writer) Remove(conditionTypes ...string) {
	for _, t := range conditionTypes {
		meta.RemoveStatusCondition(w.conditions, t)
	}
}

// Ready says that the object is as its spec asks.
func (w Writer) Ready(reason, message string) {
	w.Set(v1alpha1.ConditionReady, true, reason, message)
	w.Remove(v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled)
}

// Reconciling says that the object isn't ready and will be by itself.
func (w Writer) Reconciling(reason, message string) {
	w.Set(v1alpha1.ConditionReady, false, reason, message)
	w.Set(v1alpha1.ConditionReconciling, true, reason, message)
	w.Remove(v1alpha1.ConditionStalled)
}

// Stalled says that the object isn't ready, and that a person must act.
func (w Writer) Stalled(reason, message string) {
	w.Set(v1alpha1.ConditionReady, false, reason, message)
	w.Set(v1alpha1.ConditionStalled, true, reason, message)
	w.Remove(v1alpha1.ConditionReconciling)
}

// Done says that the object has come to a good end: kstatus finds nothing that
// is wrong or under way.
func (w Writer) Done() {
	w.Remove(v1alpha1.ConditionReady, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled)
}

// Patch writes the difference between two versions of an object's status; it
// writes nothing when there is none. With lock, the write fails with a conflict
// unless before is the newest version: needed wherever a list is replaced that
// others write too.
func Patch(ctx context.Context, c client.Client, before, after client.Object, lock bool) error {
	if equality.Semantic.DeepEqual(statusOf(before), statusOf(after)) {
		return nil
	}
	if err := c.Status().Patch(ctx, after, difference{before: before, lock: lock}); err != nil {
		return fmt.Errorf("writing the status of %s: %w", client.ObjectKeyFromObject(after), err)
	}
	return nil
}
