// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package schema_test

import (
	"errors"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/mandelbox/mandelbox-operator/config/crd"
	"github.com/mandelbox/mandelbox-operator/internal/schema"
)

func TestCheck(t *testing.T) {
	spec := func(c *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.JSONSchemaProps {
		return c.Spec.Versions[0].Schema.OpenAPIV3Schema
	}
	tests := map[string]struct {
		change func(*apiextensionsv1.CustomResourceDefinition)
		want   string
	}{
		"the same": {change: func(*apiextensionsv1.CustomResourceDefinition) {}},
		"newer": {change: func(c *apiextensionsv1.CustomResourceDefinition) {
			spec(c).Properties["extra"] = apiextensionsv1.JSONSchemaProps{Type: "string"}
		}},
		"without a field": {
			change: func(c *apiextensionsv1.CustomResourceDefinition) {
				delete(spec(c).Properties["status"].Properties, "claims")
			},
			want: "instances.cloud.mandelbox.dev: v1alpha1: .status.claims",
		},
		"without a field of a list": {
			change: func(c *apiextensionsv1.CustomResourceDefinition) {
				delete(spec(c).Properties["status"].Properties["claims"].Items.Schema.Properties, "attempt")
			},
			want: "instances.cloud.mandelbox.dev: v1alpha1: .status.claims[].attempt",
		},
		"without a rule": {
			change: func(c *apiextensionsv1.CustomResourceDefinition) { spec(c).XValidations = spec(c).XValidations[1:] },
			want:   `v1alpha1:  rule "`,
		},
		"without the version": {
			change: func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.Versions[0].Served = false },
			want:   "instances.cloud.mandelbox.dev: v1alpha1",
		},
	}
	scheme := runtime.NewScheme()
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			wanted, err := crd.Definitions()
			if err != nil {
				t.Fatal(err)
			}
			var installed []client.Object
			for i := range wanted {
				have := wanted[i].DeepCopy()
				if have.Name == "instances.cloud.mandelbox.dev" {
					test.change(have)
				}
				installed = append(installed, have)
			}
			err = schema.Check(t.Context(), fake.NewClientBuilder().WithScheme(scheme).WithObjects(installed...).Build(), wanted)
			if test.want == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			outdated, ok := errors.AsType[*schema.OutdatedError](err)
			if !ok || !strings.Contains(outdated.Error(), test.want) {
				t.Fatalf("got %v, want an OutdatedError that names %q", err, test.want)
			}
		})
	}
	t.Run("not installed", func(t *testing.T) {
		wanted, err := crd.Definitions()
		if err != nil {
			t.Fatal(err)
		}
		err = schema.Check(t.Context(), fake.NewClientBuilder().WithScheme(scheme).Build(), wanted)
		if outdated, ok := errors.AsType[*schema.OutdatedError](err); !ok || len(outdated.Missing) != len(wanted) {
			t.Fatalf("got %v, want every CRD named", err)
		}
	})
}
