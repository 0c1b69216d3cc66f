// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// gathering reads what a report has beside the objects, and notes what can't be read.
type gathering struct {
	ctx     context.Context
	c       client.Reader
	missing []string
}

// note notes what could not be read, and says whether it could.
func (g *gathering) note(what string, err error) bool {
	if err != nil {
		g.missing = append(g.missing, fmt.Sprintf("%s: %v", what, err))
	}
	return err == nil
}

// events are those about objects of the four kinds, the oldest first: of all
// namespaces, or of one and of "default", where those of the fleet are.
func (g *gathering) events(namespace string) []corev1.Event {
	namespaces := []string{namespace}
	if namespace != "" && namespace != metav1.NamespaceDefault {
		namespaces = append(namespaces, metav1.NamespaceDefault)
	}
	var all []corev1.Event
	for _, in := range namespaces {
		var list corev1.EventList
		if g.note("events", g.c.List(g.ctx, &list, client.InNamespace(in))) {
			all = append(all, list.Items...)
		}
	}
	about := slices.DeleteFunc(all, func(e corev1.Event) bool {
		gv, err := schema.ParseGroupVersion(e.InvolvedObject.APIVersion)
		return err != nil || gv.Group != v1alpha1.GroupVersion.Group
	})
	for i := range about {
		about[i].ManagedFields = nil
	}
	slices.SortStableFunc(about, func(a, b corev1.Event) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return about
}

// versions are those of all that takes part.
type versions struct {
	Plugin     string          `json:"plugin"`
	Kubernetes string          `json:"kubernetes,omitempty"`
	CRDs       []crdVersion    `json:"crds,omitempty"`
	Managers   []managerStatus `json:"managers,omitempty"`
	// Leases are who leads, by the Lease's name.
	Leases map[string]string `json:"leases,omitempty"`
}

// crdVersion is a CRD as it is installed.
type crdVersion struct {
	Name       string   `json:"name"`
	Generation int64    `json:"generation"`
	Stored     []string `json:"stored"`
	// GeneratedBy is the version of the generator that made it.
	GeneratedBy string `json:"generatedBy,omitempty"`
}

// managerStatus is a Deployment of the managers' namespace.
type managerStatus struct {
	Name     string   `json:"name"`
	Images   []string `json:"images"`
	Args     []string `json:"args"`
	Replicas int32    `json:"replicas"`
	Ready    int32    `json:"ready"`
}

func (g *gathering) versions(p *plugin, managers string) versions {
	v := versions{Plugin: p.version}
	if server, err := p.serverVersion(); g.note("version of Kubernetes", err) {
		v.Kubernetes = server
	}
	for _, kind := range []string{"amis", "instances", "mandelboxes", "regions"} {
		v.CRDs = append(v.CRDs, g.crd(kind+"."+v1alpha1.GroupVersion.Group)...)
	}
	var deployments appsv1.DeploymentList
	if g.note("managers", g.c.List(g.ctx, &deployments, client.InNamespace(managers))) {
		for i := range deployments.Items {
			v.Managers = append(v.Managers, managerOf(&deployments.Items[i]))
		}
	}
	var leases coordinationv1.LeaseList
	if g.note("leases of the managers", g.c.List(g.ctx, &leases, client.InNamespace(managers))) && len(leases.Items) > 0 {
		v.Leases = map[string]string{}
		for i := range leases.Items {
			v.Leases[leases.Items[i].Name] = ptr.Deref(leases.Items[i].Spec.HolderIdentity, "")
		}
	}
	return v
}

// serverVersion asks the API server for its version.
func (p *plugin) serverVersion() (string, error) {
	config, err := p.flags.config()
	if err != nil {
		return "", err
	}
	asked, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return "", fmt.Errorf("making a client: %w", err)
	}
	version, err := asked.ServerVersion()
	if err != nil {
		return "", fmt.Errorf("asking for the version: %w", err)
	}
	return version.String(), nil
}

// crd reads a CRD without its schema.
func (g *gathering) crd(name string) []crdVersion {
	crd := &unstructured.Unstructured{}
	crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	if !g.note("CRD "+name, g.c.Get(g.ctx, types.NamespacedName{Name: name}, crd)) {
		return nil
	}
	stored, _, err := unstructured.NestedStringSlice(crd.Object, "status", "storedVersions")
	if !g.note("CRD "+name, err) {
		return nil
	}
	return []crdVersion{{
		Name: name, Generation: crd.GetGeneration(), Stored: stored, GeneratedBy: crd.GetAnnotations()["controller-gen.kubebuilder.io/version"],
	}}
}

// managerOf tells of a Deployment what may be told: its environment and the values of
// its flags may be secrets.
func managerOf(d *appsv1.Deployment) managerStatus {
	m := managerStatus{Name: d.Name, Replicas: ptr.Deref(d.Spec.Replicas, 1), Ready: d.Status.ReadyReplicas}
	for _, container := range d.Spec.Template.Spec.Containers {
		m.Images, m.Args = append(m.Images, container.Image), append(m.Args, redactArgs(container.Args)...)
	}
	return m
}
