// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package schema checks, before the operator starts, that the kinds which the API
// server serves are the ones it was built with. An API server drops fields that
// its CRDs don't have without a word: an operator that runs on older ones would
// lose what it writes, a claim or a launch's token among it.
package schema

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// +kubebuilder:rbac:groups=apiextensions.k8s.io,resources=customresourcedefinitions,resourceNames=amis.cloud.mandelbox.dev;instances.cloud.mandelbox.dev;mandelboxes.cloud.mandelbox.dev;regions.cloud.mandelbox.dev,verbs=get

// maxNamed is how many missing fields an error names.
const maxNamed = 8

// OutdatedError says which fields the API server would drop.
type OutdatedError struct {
	// Missing are CRDs, or fields of them as "name: version: path".
	Missing []string
}

// Error names what is missing and says how to mend it.
func (e *OutdatedError) Error() string {
	named, more := e.Missing, ""
	if len(named) > maxNamed {
		named, more = named[:maxNamed], fmt.Sprintf(" and %d more", len(e.Missing)-maxNamed)
	}
	return fmt.Sprintf("the CRDs in the cluster are not the ones this version needs; install them first (make install, or kubectl apply --server-side -k config/crd). Missing: %s%s",
		strings.Join(named, "; "), more)
}

// Check compares the CRDs that are wanted with those that the reader finds. CRDs
// that have more are accepted; ones that lack anything are an *OutdatedError.
func Check(ctx context.Context, reader client.Reader, wanted []apiextensionsv1.CustomResourceDefinition) error {
	var missing []string
	for i := range wanted {
		want := &wanted[i]
		var have apiextensionsv1.CustomResourceDefinition
		err := reader.Get(ctx, client.ObjectKey{Name: want.Name}, &have)
		switch {
		case apierrors.IsNotFound(err):
			missing = append(missing, want.Name)
		case err != nil:
			return fmt.Errorf("reading CustomResourceDefinition %s: %w", want.Name, err)
		default:
			missing = append(missing, lacks(want, &have)...)
		}
	}
	if len(missing) > 0 {
		return &OutdatedError{Missing: missing}
	}
	return nil
}

func lacks(want, have *apiextensionsv1.CustomResourceDefinition) []string {
	var missing []string
	for _, version := range want.Spec.Versions {
		at := slices.IndexFunc(have.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool {
			return v.Name == version.Name && v.Served
		})
		place := want.Name + ": " + version.Name
		if at < 0 {
			missing = append(missing, place)
			continue
		}
		for _, path := range fieldsMissing(version.Schema.OpenAPIV3Schema, have.Spec.Versions[at].Schema.OpenAPIV3Schema, "") {
			missing = append(missing, place+": "+path)
		}
	}
	return missing
}

// fieldsMissing lists the paths that the one schema has and the other lacks, and
// the rules: the last guard of claims is one. What is below a missing path isn't
// named.
func fieldsMissing(want, have *apiextensionsv1.JSONSchemaProps, path string) []string {
	var missing []string
	for _, rule := range want.XValidations {
		if !slices.ContainsFunc(have.XValidations, func(r apiextensionsv1.ValidationRule) bool { return r.Rule == rule.Rule }) {
			missing = append(missing, fmt.Sprintf("%s rule %q", path, rule.Message))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want.Properties)) {
		field := want.Properties[name]
		found, ok := have.Properties[name]
		if !ok {
			missing = append(missing, path+"."+name)
			continue
		}
		missing = append(missing, fieldsMissing(&field, &found, path+"."+name)...)
	}
	if want.Items != nil && want.Items.Schema != nil {
		if have.Items == nil || have.Items.Schema == nil {
			return append(missing, path+"[]")
		}
		missing = append(missing, fieldsMissing(want.Items.Schema, have.Items.Schema, path+"[]")...)
	}
	return missing
}
