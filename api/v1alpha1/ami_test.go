// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

var _ = Describe("AMI", func() {
	type channel = *v1alpha1.AMI
	port := func(name string, number int32, protocol v1alpha1.Protocol) v1alpha1.TaskPort {
		return v1alpha1.TaskPort{Name: name, ContainerPort: number, Protocol: protocol}
	}
	existing := v1alpha1.TaskTemplate{FamilyRevision: "browser:7"}

	DescribeTable("accepts", func(ctx context.Context, change func(channel)) {
		object := newAMI()
		change(object)
		expectAccepted(ctx, object)
	},
		Entry("the least there is to say", func(channel) {}),
		Entry("an existing task definition", func(a channel) { a.Spec.Task = existing }),
		Entry("one port number over both protocols", func(a channel) {
			a.Spec.Task.Ports = []v1alpha1.TaskPort{port("tcp", 443, v1alpha1.ProtocolTCP), port("udp", 443, v1alpha1.ProtocolUDP)}
		}),
		Entry("the shortest timeouts", func(a channel) {
			a.Spec.Warmup = &v1alpha1.Warmup{Timeout: duration(time.Millisecond)}
			a.Spec.Rollout.BufferTimeout = duration(time.Millisecond)
			a.Spec.Rollout.DrainTimeout = duration(time.Millisecond)
		}),
		Entry("an image in each of two regions", func(a channel) {
			a.Spec.Images = append(a.Spec.Images, v1alpha1.RegionImage{Region: "us-east-2", ImageID: anImage})
		}),
	)

	DescribeTable("refuses", func(ctx context.Context, change func(channel), message string) {
		object := newAMI()
		change(object)
		expectRefused(ctx, object, message)
	},
		Entry("two kinds of task", func(a channel) {
			a.Spec.Task.FamilyRevision = "browser:7"
		}, refused("exactly one of task.image and task.familyRevision must be set")),
		Entry("no kind of task", func(a channel) {
			a.Spec.Task.Image = ""
		}, refused("exactly one of task.image and task.familyRevision must be set")),
		Entry("an image without its CPU", func(a channel) {
			a.Spec.Task.CPU = 0
		}, refused("task.cpu and task.memoryMiB are required with task.image")),
		Entry("an image without its memory", func(a channel) {
			a.Spec.Task.MemoryMiB = 0
		}, refused("task.cpu and task.memoryMiB are required with task.image")),
		Entry("an existing task definition with a port of its own", func(a channel) {
			a.Spec.Task = existing
			a.Spec.Task.Ports = []v1alpha1.TaskPort{port("http", 80, v1alpha1.ProtocolTCP)}
		}, refused("task.familyRevision must not be combined with the fields of an inline task")),
		Entry("an existing task definition with a role of its own", func(a channel) {
			a.Spec.Task = existing
			a.Spec.Task.TaskRoleARN = aRole
		}, refused("task.familyRevision must not be combined with the fields of an inline task")),
		Entry("a task definition's ARN, which has a region in it", func(a channel) {
			a.Spec.Task = v1alpha1.TaskTemplate{FamilyRevision: "arn:aws:ecs:us-east-1:123456789012:task-definition/browser:7"}
		}, "spec.task.familyRevision"),
		Entry("a container port twice", func(a channel) {
			a.Spec.Task.Ports = []v1alpha1.TaskPort{port("one", 80, v1alpha1.ProtocolTCP), port("two", 80, v1alpha1.ProtocolTCP)}
		}, refused("task.ports must not name a container port twice")),
		Entry("a warm-up with no time", func(a channel) {
			a.Spec.Warmup = &v1alpha1.Warmup{Timeout: duration(0)}
		}, refused("timeout must be positive")),
		Entry("a rollout with no time", func(a channel) {
			a.Spec.Rollout.BufferTimeout = duration(0)
		}, refused("bufferTimeout must be positive")),
		Entry("a drain with no time", func(a channel) {
			a.Spec.Rollout.DrainTimeout = duration(0)
		}, refused("drainTimeout must be positive")),
		Entry("a region twice", func(a channel) {
			a.Spec.Images = append(a.Spec.Images, a.Spec.Images[0])
		}, "Duplicate value"),
		Entry("a commit hash that isn't one", func(a channel) {
			a.Spec.ClientCommitHash = v1alpha1.LocalDevCommitHash
		}, "spec.clientCommitHash"),
		Entry("an image that isn't one", func(a channel) {
			a.Spec.Images[0].ImageID = "i-0123456789abcdef0"
		}, "imageID"),
	)

	It("can change its whole spec", func(ctx context.Context) {
		expectUpdate(ctx, newAMI(), update[channel]{change: func(a channel) {
			a.Spec.ClientCommitHash = anotherHash
			a.Spec.Images = []v1alpha1.RegionImage{{Region: "us-east-2", ImageID: "ami-1"}}
			a.Spec.Task = existing
			a.Spec.Suspend = ptr.To(true)
		}})
	})

	It("has the defaults that its fields describe", func(ctx context.Context) {
		object := newAMI()
		object.Spec.Warmup = &v1alpha1.Warmup{Command: []string{"true"}}
		object.Spec.Task.Ports = []v1alpha1.TaskPort{{Name: "http", ContainerPort: 80}}
		object.Spec.Task.HealthCheck = &v1alpha1.TaskHealthCheck{Command: []string{"CMD", "true"}}
		create(ctx, object)
		spec := object.Spec
		Expect(spec.Task.GPU).To(Equal(v1alpha1.GPUShared))
		Expect(spec.Task.Ports[0].Protocol).To(Equal(v1alpha1.ProtocolTCP))
		Expect(spec.Task.HealthCheck.IntervalSeconds).To(BeEquivalentTo(30))
		Expect(spec.Task.HealthCheck.TimeoutSeconds).To(BeEquivalentTo(5))
		Expect(spec.Task.HealthCheck.Retries).To(BeEquivalentTo(3))
		Expect(spec.Warmup.Timeout).To(Equal(duration(5 * time.Minute)))
		Expect(spec.Rollout.Strategy).To(Equal(v1alpha1.RolloutAtomic))
		Expect(spec.Rollout.BufferTimeout).To(Equal(duration(15 * time.Minute)))
		Expect(object.Status.ObservedGeneration).To(HaveValue(BeEquivalentTo(-1)))
	})
})
