// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"encoding/json"
	"errors"
	"fmt"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// difference is the merge patch that makes one version's status another's; one that
// becomes empty goes, so that the API server puts its default there. Unlike
// client.MergeFrom it encodes and compares nothing but the statuses, since nothing else
// can be written with them.
type difference struct {
	before client.Object
	// lock has the write fail unless before is the newest version.
	lock bool
}

// Type is that of a JSON merge patch.
func (d difference) Type() types.PatchType { return types.MergePatchType }

// Data is the patch.
func (d difference) Data(after client.Object) ([]byte, error) {
	changes, err := d.changes(after)
	if err != nil {
		return nil, err
	}
	patch := map[string]any{"status": changes}
	if d.lock {
		if d.before.GetResourceVersion() == "" {
			return nil, errors.New("the version before has no resourceVersion to hold the write to")
		}
		patch["metadata"] = map[string]string{"resourceVersion": d.before.GetResourceVersion()}
	}
	return json.Marshal(patch)
}

// changes are those of the status.
func (d difference) changes(after client.Object) (json.RawMessage, error) {
	from, err := json.Marshal(statusOf(d.before))
	if err != nil {
		return nil, fmt.Errorf("encoding the status before: %w", err)
	}
	to, err := json.Marshal(statusOf(after))
	if err != nil {
		return nil, fmt.Errorf("encoding the status after: %w", err)
	}
	if string(to) == "{}" {
		return json.RawMessage("null"), nil
	}
	changes, err := jsonpatch.CreateMergePatch(from, to)
	if err != nil {
		return nil, fmt.Errorf("comparing the statuses: %w", err)
	}
	return changes, nil
}

// statusOf is the status of an object of the operator's kinds.
func statusOf(object client.Object) any {
	switch o := object.(type) {
	case *v1alpha1.Mandelbox:
		return &o.Status
	case *v1alpha1.Instance:
		return &o.Status
	case *v1alpha1.AMI:
		return &o.Status
	case *v1alpha1.Region:
		return &o.Status
	}
	panic(fmt.Sprintf("%T is not one of the operator's kinds", object))
}
