// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	kustomize "sigs.k8s.io/yaml"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	manifests "github.com/mandelbox/mandelbox-operator/config/samples"
)

// samples are the objects in config/samples.
type samples struct {
	// objects are in the order of the kustomization, namespaces before what is in them.
	objects  []*unstructured.Unstructured
	regions  []*v1alpha1.Region
	channels []*v1alpha1.AMI
	// sessions are the names of the Mandelboxes, with their namespaces, in order.
	sessions []string
}

// readSamples reads the files that the kustomization lists.
func readSamples() (*samples, error) {
	content, err := manifests.Files.ReadFile("kustomization.yaml")
	if err != nil {
		return nil, fmt.Errorf("reading the samples: %w", err)
	}
	var list struct {
		Resources []string `json:"resources"`
	}
	if err := kustomize.Unmarshal(content, &list); err != nil {
		return nil, fmt.Errorf("reading the samples' kustomization: %w", err)
	}
	all := &samples{}
	for _, name := range list.Resources {
		if err := all.read(name); err != nil {
			return nil, fmt.Errorf("reading sample %s: %w", name, err)
		}
	}
	slices.Sort(all.sessions)
	return all, nil
}

// read takes in the objects of one file.
func (s *samples) read(name string) error {
	content, err := manifests.Files.ReadFile(name)
	if err != nil {
		return err
	}
	for documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096); ; {
		object := &unstructured.Unstructured{}
		if err := documents.Decode(object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.add(object); err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
}

func (s *samples) add(object *unstructured.Unstructured) error {
	s.objects = append(s.objects, object)
	switch object.GetKind() {
	case "Region":
		region := &v1alpha1.Region{}
		s.regions = append(s.regions, region)
		return runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, region)
	case "AMI":
		channel := &v1alpha1.AMI{}
		s.channels = append(s.channels, channel)
		return runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, channel)
	case "Mandelbox":
		s.sessions = append(s.sessions, object.GetNamespace()+"/"+object.GetName())
	}
	return nil
}

// namespaces are those that have sessions, in order.
func (s *samples) namespaces() []string {
	var names []string
	for _, session := range s.sessions {
		namespace, _, _ := strings.Cut(session, "/")
		names = append(names, namespace)
	}
	return slices.Compact(names)
}

// ofKind returns the first sample of a kind, which there must be.
func (s *samples) ofKind(kind string) (*unstructured.Unstructured, error) {
	for _, object := range s.objects {
		if object.GetKind() == kind {
			return object, nil
		}
	}
	return nil, fmt.Errorf("there is no sample of kind %s", kind)
}
