// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// The values that valid objects have.
const (
	aHash       = "0123456789abcdef0123456789abcdef01234567"
	anotherHash = "fedcba9876543210fedcba9876543210fedcba98"
	anImage     = "ami-0123456789abcdef0"
	aRole       = "arn:aws:iam::123456789012:role/mandelbox"
)

func duration(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

// newRegion is a Region with nothing but what is required.
func newRegion() *v1alpha1.Region {
	return &v1alpha1.Region{
		ObjectMeta: metav1.ObjectMeta{Name: uniqueName("us-test")},
		Spec: v1alpha1.RegionSpec{
			Subnets:        v1alpha1.ResourceSelector{IDs: []string{"subnet-1"}},
			SecurityGroups: v1alpha1.ResourceSelector{Tags: []v1alpha1.Tag{{Key: "role", Value: ptr.To("mandelbox")}}},
			InstanceTypes:  []string{"g4dn.xlarge"},
			Capacity:       v1alpha1.Capacity{MaxInstances: ptr.To[int32](10)},
		},
	}
}

// newAMI is an AMI with nothing but what is required.
func newAMI() *v1alpha1.AMI {
	return &v1alpha1.AMI{
		ObjectMeta: metav1.ObjectMeta{Name: uniqueName("channel")},
		Spec: v1alpha1.AMISpec{
			ClientCommitHash: aHash,
			Images:           []v1alpha1.RegionImage{{Region: "us-east-1", ImageID: anImage}},
			Task:             v1alpha1.TaskTemplate{Image: "registry.example.com/browser:1", CPU: 4096, MemoryMiB: 8192},
		},
	}
}

// newInstance is an Instance with nothing but what is required.
func newInstance() *v1alpha1.Instance {
	return &v1alpha1.Instance{
		ObjectMeta: metav1.ObjectMeta{Name: uniqueName("host")},
		Spec: v1alpha1.InstanceSpec{
			RegionName: "us-east-1", AMIName: "stable", Revision: "r1",
			ImageID: anImage, ClientCommitHash: aHash, InstanceTypes: []string{"g4dn.xlarge"},
		},
	}
}

// newMandelbox is a Mandelbox with nothing but what is required.
func newMandelbox() *v1alpha1.Mandelbox {
	return &v1alpha1.Mandelbox{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: uniqueName("session")},
		Spec: v1alpha1.MandelboxSpec{
			UserID: "user", SessionID: "session", Regions: []string{"us-east-1"}, ClientCommitHash: aHash,
		},
	}
}
