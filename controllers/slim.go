// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// stripManagedFields takes out who wrote what, which no controller reads.
var stripManagedFields = cache.TransformStripManagedFields()

// slim makes an object small before it is cached: without its managed fields, and with
// one copy in memory of what thousands of sessions and hosts have in common. A decoded
// session is some twenty strings, all but a few of which are the same in every other,
// and each is one more thing to look at whenever garbage is collected.
func slim(object any) (any, error) {
	object, err := stripManagedFields(object)
	switch o := object.(type) {
	case *v1alpha1.Mandelbox:
		shareMeta(o, &o.TypeMeta)
		shareAll(o.Spec.Regions)
		share(&o.Spec.ClientCommitHash, &o.Spec.AMIName, &o.Status.InstanceName, &o.Status.Region, &o.Status.IP)
		share(&o.Status.Phase)
		shareConditions(o.Status.Conditions)
		for i := range o.Status.Ports {
			share(&o.Status.Ports[i].Protocol)
		}
	case *v1alpha1.Instance:
		shareMeta(o, &o.TypeMeta)
		shareAll(o.Spec.InstanceTypes)
		share(&o.Spec.RegionName, &o.Spec.AMIName, &o.Spec.Revision, &o.Spec.ImageID, &o.Spec.ClientCommitHash,
			&o.Status.InstanceType, &o.Status.SubnetID, &o.Status.AvailabilityZone)
		share(&o.Status.Phase)
		shareConditions(o.Status.Conditions)
		for i := range o.Status.Claims {
			share(&o.Status.Claims[i].Namespace)
		}
		if o.Status.Launch != nil {
			share(&o.Status.Launch.Token, &o.Status.Launch.UserDataHash)
		}
	}
	return object, err
}

func shareMeta(o client.Object, meta *metav1.TypeMeta) {
	share(&meta.Kind, &meta.APIVersion)
	o.SetNamespace(shared(o.GetNamespace()))
	shareAll(o.GetFinalizers())
	owners := o.GetOwnerReferences()
	for i := range owners {
		share(&owners[i].Kind, &owners[i].APIVersion, &owners[i].Name)
		share(&owners[i].UID)
	}
	if len(owners) > 0 {
		o.SetOwnerReferences(owners)
	}
}

func shareConditions(conditions []metav1.Condition) {
	for i := range conditions {
		c := &conditions[i]
		share(&c.Type, &c.Reason)
		share(&c.Status)
		if c.Reason != v1alpha1.ReasonAssigned { // Whose message names the slot.
			share(&c.Message)
		}
	}
}

func share[S ~string](strings ...*S) {
	for _, s := range strings {
		*s = shared(*s)
	}
}

func shareAll(strings []string) {
	for i := range strings {
		strings[i] = shared(strings[i])
	}
}

// shared is the one copy of a string.
func shared[S ~string](s S) S { return unique.Make(s).Value() }
