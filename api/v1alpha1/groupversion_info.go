// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds the kinds of the group cloud.mandelbox.dev: Region,
// AMI, Instance and Mandelbox.
//
// What one object can prove alone is validated here, by the CEL rules on the
// types; what needs another object is validated in internal/webhook.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +groupName=cloud.mandelbox.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// GroupVersion is the group and version of every kind in this package.
	GroupVersion = schema.GroupVersion{Group: "cloud.mandelbox.dev", Version: "v1alpha1"}

	// SchemeGroupVersion is GroupVersion under the name that generated code expects.
	SchemeGroupVersion = GroupVersion

	// SchemeBuilder registers the kinds with a runtime.Scheme.
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme adds the kinds to a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&Region{}, &RegionList{},
		&AMI{}, &AMIList{},
		&Instance{}, &InstanceList{},
		&Mandelbox{}, &MandelboxList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
