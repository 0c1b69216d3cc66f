// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package index names the field indexes of the manager's cache, in place of the
// views of the replaced system's database.
package index

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// Field indexes; each is used with client.MatchingFields.
const (
	// InstanceByRegion finds the Instances of a Region.
	InstanceByRegion = "spec.regionName"
	// InstanceByAMI finds the Instances of a channel.
	InstanceByAMI = "spec.amiName"
	// InstanceByLaunch finds the Instance of a host by Instance.LaunchKey.
	InstanceByLaunch = "status.launch"
	// InstanceByHost finds the Instance of a host by its EC2 instance id.
	InstanceByHost = "status.instanceID"
	// MandelboxByUID finds Mandelboxes by the Drawer of their uid; see SessionOf.
	MandelboxByUID = "uid.drawer"
	// MandelboxByUser finds the Mandelboxes that are not finished by the Drawer of
	// their user; see UnfinishedOf.
	MandelboxByUser = "user.unfinished.drawer"
	// MandelboxByInstance finds the Mandelboxes that hold, or held, a slot of an Instance.
	MandelboxByInstance = "status.instanceName"
)

// Register registers every index; once for each manager, before it starts.
func Register(ctx context.Context, indexer client.FieldIndexer) error {
	instance := func(f func(*v1alpha1.Instance) string) client.IndexerFunc {
		return func(o client.Object) []string { return some(f(o.(*v1alpha1.Instance))) }
	}
	mandelbox := func(f func(*v1alpha1.Mandelbox) string) client.IndexerFunc {
		return func(o client.Object) []string { return some(f(o.(*v1alpha1.Mandelbox))) }
	}
	for _, i := range []struct {
		of    client.Object
		field string
		value client.IndexerFunc
	}{
		{&v1alpha1.Instance{}, InstanceByRegion, instance(func(i *v1alpha1.Instance) string { return i.Spec.RegionName })},
		{&v1alpha1.Instance{}, InstanceByAMI, instance(func(i *v1alpha1.Instance) string { return i.Spec.AMIName })},
		{&v1alpha1.Instance{}, InstanceByLaunch, instance(func(i *v1alpha1.Instance) string { return i.LaunchKey() })},
		{&v1alpha1.Instance{}, InstanceByHost, instance(func(i *v1alpha1.Instance) string { return i.Status.InstanceID })},
		{&v1alpha1.Mandelbox{}, MandelboxByUID, mandelbox(func(m *v1alpha1.Mandelbox) string { return Drawer(string(m.UID)) })},
		{&v1alpha1.Mandelbox{}, MandelboxByUser, mandelbox(unfinishedUser)},
		{&v1alpha1.Mandelbox{}, MandelboxByInstance, mandelbox(func(m *v1alpha1.Mandelbox) string { return m.Status.InstanceName })},
	} {
		if err := indexer.IndexField(ctx, i.of, i.field, i.value); err != nil {
			return fmt.Errorf("indexing %T by %s: %w", i.of, i.field, err)
		}
	}
	return nil
}

func unfinishedUser(m *v1alpha1.Mandelbox) string {
	if m.Finished() {
		return ""
	}
	return Drawer(m.Spec.UserID)
}

func some(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}
