// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/view"
)

// redacted stands where a value was.
const redacted = "REDACTED"

// redact takes from a snapshot every value that may be a secret: environments,
// commands, the options of log drivers and user data. Of annotations it leaves the
// operator's own: others hold copies of whole objects, as that of kubectl apply does.
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
		if a.Spec.Task.HealthCheck != nil {
			redactWords(a.Spec.Task.HealthCheck.Command)
		}
		if a.Spec.Warmup != nil {
			redactWords(a.Spec.Warmup.Command)
		}
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
	for name := range m.Annotations {
		if !strings.HasPrefix(name, v1alpha1.GroupVersion.Group+"/") {
			m.Annotations[name] = redacted
		}
	}
}

func redactWords(words []string) {
	for i := range words {
		words[i] = redacted
	}
}

// redactArgs is a command line with the names of its flags, and without their values.
func redactArgs(args []string) []string {
	var names []string
	for _, arg := range args {
		name, _, valued := strings.Cut(arg, "=")
		switch {
		case !strings.HasPrefix(arg, "-"):
			names = append(names, redacted)
		case valued:
			names = append(names, name+"="+redacted)
		default:
			names = append(names, arg)
		}
	}
	return names
}

func redactEnv(env []v1alpha1.EnvVar) {
	for i := range env {
		if env[i].Value != nil {
			env[i].Value = ptr.To(redacted)
		}
	}
}
