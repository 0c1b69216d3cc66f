// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/smithy-go"
	. "github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	configaws "github.com/mandelbox/mandelbox-operator/config/aws"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/managerrole"
)

var _ = ReportAfterSuite("The policy of the manager's role denied nothing, and no action in it went unused", func(report types.Report) {
	if role == nil {
		return // The suite has not begun.
	}
	Expect(managerrole.Verify(role)).To(Succeed())
	if whole(report) {
		Expect(role.Unused()).To(BeEmpty())
	}
})

// whole says whether every spec ran: only then does an action that nobody used tell
// something.
func whole(report types.Report) bool {
	for _, spec := range report.SpecReports.WithLeafNodeType(types.NodeTypeIt) {
		if !spec.State.Is(types.SpecStatePassed) {
			return false
		}
	}
	return true
}

// apart has a world be one of its own in what its managers are denied.
func apart(w *world) {
	GinkgoHelper()
	var err error
	w.role, err = managerrole.Of(clusterID)
	Expect(err).NotTo(HaveOccurred())
}

// aRoleOf names a role on one of the paths that the policy knows.
func aRoleOf(path, name string) string {
	return "arn:aws:iam::" + awsemu.DefaultAccount + ":role" + path + name
}

var _ = Describe("What the manager may do in AWS", func() {
	It("is enough for spot hosts and tasks with roles of their own", func(ctx context.Context) {
		w := newWorld()
		w.region(ctx, near, oneSlot(1), func(r *v1alpha1.Region) {
			r.Spec.InstanceProfile = managerrole.HostProfile
			r.Spec.PurchaseOption = v1alpha1.PurchaseSpot
			r.Spec.AssociatePublicIPAddress = awssdk.Bool(true)
			r.Spec.BlockDevices = []v1alpha1.BlockDevice{{DeviceName: "/dev/xvda", SizeGiB: 100, VolumeType: "gp3"}}
		})
		w.channel(ctx, "stable", []string{near}, func(a *v1alpha1.AMI) {
			a.Spec.Task.TaskRoleARN = aRoleOf(configaws.TaskRolePath, "session")
			a.Spec.Task.ExecutionRoleARN = aRoleOf(configaws.TaskRolePath, "pull")
		})
		w.runs(ctx, w.session(ctx, "one", []string{near}))
		Expect(w.ec2Hosts(ctx, near)[0].IamInstanceProfile).NotTo(BeNil())
	}, SpecTimeout(time.Minute))

	It("does not include roles that are not meant for it, which the objects say", func(ctx context.Context) {
		w := newWorld(apart)
		w.region(ctx, near, oneSlot(1))
		a := w.channel(ctx, "stable", []string{near}, func(a *v1alpha1.AMI) {
			a.Spec.Task.TaskRoleARN = aRoleOf("/", "admin")
		})
		Eventually(func(g Gomega) {
			g.Expect(w.Get(ctx, client.ObjectKeyFromObject(a), a)).To(Succeed())
			g.Expect(a.Status.Conditions).To(ContainElement(SatisfyAll(
				HaveField("Type", v1alpha1.ConditionStalled), HaveField("Reason", v1alpha1.ReasonUnauthorized),
				HaveField("Message", ContainSubstring("not authorized to perform: iam:PassRole on resource: "+aRoleOf("/", "admin"))),
			)))
		}).Should(Succeed())
	}, SpecTimeout(time.Minute))

	for name, owner := range map[string]string{"another cluster": "another-cluster", "nobody": ""} {
		Context("to what belongs to "+name, func() {
			It("is not to terminate hosts", func(ctx context.Context) {
				w := newWorld(apart)
				w.warm(ctx, near, 1, oneSlot(1))
				own := w.ec2Hosts(ctx, near)[0]
				theirs := w.stray(ctx, near, 1, owner)
				api := ec2.NewFromConfig(w.awsConfigOf(managerKey, near))
				terminate := func(ids ...string) error {
					_, err := api.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids})
					return err
				}
				Expect(terminate(theirs...)).To(beDenied("UnauthorizedOperation", "ec2:TerminateInstances"))
				Expect(terminate(theirs[0], *own.InstanceId)).To(beDenied("UnauthorizedOperation", "ec2:TerminateInstances"))
				Consistently(w.running(ctx, near), "500ms").Should(ConsistOf(theirs[0], *own.InstanceId))

				provider, err := w.provider().Open(ctx, cloud.Target{ClusterID: clusterID, Region: near, AWSRegion: near, ECSCluster: "mandelbox"})
				Expect(err).NotTo(HaveOccurred())
				Expect(cloud.KindOf(provider.TerminateHost(ctx, theirs[0]))).To(Equal(cloud.KindUnauthorized))
			}, SpecTimeout(time.Minute))

			It("is not to stop tasks, even in its own ECS cluster", func(ctx context.Context) {
				w := newWorld(apart)
				w.warm(ctx, near, 1)
				task := w.strayTask(ctx, owner)
				_, err := ecs.NewFromConfig(w.awsConfigOf(managerKey, near)).StopTask(ctx, &ecs.StopTaskInput{
					Cluster: awssdk.String("mandelbox"), Task: &task,
				})
				Expect(err).To(beDenied("AccessDeniedException", "ecs:StopTask"))
				Expect(w.tasks(ctx, near, ecstypes.DesiredStatusRunning)).To(ContainElement(HaveField("TaskArn", HaveValue(Equal(task)))))
			}, SpecTimeout(time.Minute))

			It("is not to take container instances out of ECS clusters", func(ctx context.Context) {
				w := newWorld(apart)
				w.stopManager() // It would make the cluster its own.
				api := ecs.NewFromConfig(w.awsConfig(near))
				for _, cluster := range []string{"mandelbox", "another"} {
					_, err := api.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: &cluster, Tags: ownedBy(owner)})
					Expect(err).NotTo(HaveOccurred())
					host, err := api.RegisterContainerInstance(ctx, &ecs.RegisterContainerInstanceInput{Cluster: &cluster})
					Expect(err).NotTo(HaveOccurred())
					_, err = ecs.NewFromConfig(w.awsConfigOf(managerKey, near)).DeregisterContainerInstance(ctx, &ecs.DeregisterContainerInstanceInput{
						Cluster: &cluster, ContainerInstance: host.ContainerInstance.ContainerInstanceArn, Force: awssdk.Bool(true),
					})
					Expect(err).To(beDenied("AccessDeniedException", "ecs:DeregisterContainerInstance"))
					left, err := api.ListContainerInstances(ctx, &ecs.ListContainerInstancesInput{Cluster: &cluster})
					Expect(err).NotTo(HaveOccurred())
					Expect(left.ContainerInstanceArns).To(ConsistOf(*host.ContainerInstance.ContainerInstanceArn))
				}
			}, SpecTimeout(time.Minute))
		})
	}
})

// beDenied matches AWS's answer to who isn't allowed to do something.
func beDenied(code, action string) gomegatypes.GomegaMatcher {
	return WithTransform(func(err error) []string {
		if answer, ok := errors.AsType[smithy.APIError](err); ok {
			return []string{answer.ErrorCode(), answer.ErrorMessage()}
		}
		return []string{"no answer of AWS", fmt.Sprint(err)}
	}, HaveExactElements(Equal(code), ContainSubstring("is not authorized to perform: "+action+" on resource: arn:aws:")))
}

// ownedBy is the tag of whose it is; none of nobody's.
func ownedBy(cluster string) []ecstypes.Tag {
	if cluster == "" {
		return nil
	}
	return []ecstypes.Tag{{Key: awssdk.String(cloud.TagCluster), Value: &cluster}}
}

// strayTask runs a task of somebody else's in the managers' ECS cluster.
func (w *world) strayTask(ctx context.Context, cluster string) string {
	GinkgoHelper()
	api := ecs.NewFromConfig(w.awsConfig(near))
	_, err := api.RegisterTaskDefinition(ctx, &ecs.RegisterTaskDefinitionInput{
		Family: awssdk.String("theirs"), ContainerDefinitions: []ecstypes.ContainerDefinition{{
			Name: awssdk.String("theirs"), Image: awssdk.String("theirs"), Cpu: 1, Memory: awssdk.Int32(16),
		}},
	})
	Expect(err).NotTo(HaveOccurred())
	out, err := api.RunTask(ctx, &ecs.RunTaskInput{
		Cluster: awssdk.String("mandelbox"), TaskDefinition: awssdk.String("theirs"), Tags: ownedBy(cluster),
	})
	Expect(err).NotTo(HaveOccurred())
	Expect(out.Tasks).To(HaveLen(1))
	return *out.Tasks[0].TaskArn
}
