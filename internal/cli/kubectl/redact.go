// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/view"
)

// redacted stands where a value was.
const redacted = "REDACTED"

// redact takes from a snapshot every value that may be a secret: environments, the
// options of log drivers and user data, and the copies that kubectl apply keeps of
// whole objects in an annotation.
func redact(s *view.Snapshot) {
	for i := range s.Regions {
		r := &s.Regions[i]
		redactMeta(&r.ObjectMeta)
		if n := len(r.Spec.UserData); n > 0 {
			r.Spec.UserData = fmt.Sprintf("%s: %d bytes", redacted, n)
		}
	}
	for i := range s.AMIs {
		a := &s.AMIs[i]
		redactMeta(&a.ObjectMeta)
		redactEnv(a.Spec.Task.Env)
		if a.Spec.Task.Logging != nil {
			for j := range a.Spec.Task.Logging.Options {
				a.Spec.Task.Logging.Options[j].Value = redacted
			}
		}
	}
	for i := range s.Instances {
		redactMeta(&s.Instances[i].ObjectMeta)
	}
	for i := range s.Mandelboxes {
		redactMeta(&s.Mandelboxes[i].ObjectMeta)
		redactEnv(s.Mandelboxes[i].Spec.Env)
	}
}

func redactMeta(m *metav1.ObjectMeta) {
	m.ManagedFields = nil
	delete(m.Annotations, corev1.LastAppliedConfigAnnotation)
}

func redactEnv(env []v1alpha1.EnvVar) {
	for i := range env {
		if env[i].Value != nil {
			env[i].Value = ptr.To(redacted)
		}
	}
}
