// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fleettest runs controllers of the fleet for their Ginkgo suites: a real
// API server, the local AWS behind the real SDK client, and a manager on both.
// Nothing but tests may import it.
package fleettest

import (
	"context"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/cloud/aws"
	"github.com/mandelbox/mandelbox-operator/internal/controlplane"
	"github.com/mandelbox/mandelbox-operator/internal/index"
	"github.com/mandelbox/mandelbox-operator/internal/managerrole"
)

// ClusterID is the cluster's tag in the suites' AWS.
const ClusterID = "fleettest"

// The images that the local AWS knows, in every region.
const (
	ImageA = "ami-0aaaaaaaaaaaaaaaa"
	ImageB = "ami-0bbbbbbbbbbbbbbbb"
)

// Timeout and Polling are the suites' patience; two busy cores may run them all.
const (
	Timeout = 30 * time.Second
	Polling = 50 * time.Millisecond
)

// Fleet is what a suite works with.
type Fleet struct {
	// API reads and writes past any cache.
	client.Client
	// AWS is the local one.
	AWS *awsemu.Server
	// Regions are those that the controllers opened.
	Regions *cloud.Regions

	// manager and owner are AWS as the controllers have it, under their policy, and as
	// the owner of the account has it.
	manager, owner cloud.Provider
}

// Start starts everything, and ends it with the suite. register adds the suite's
// controllers to the manager.
func Start(register func(ctrl.Manager, *cloud.Regions) error) *Fleet {
	ginkgo.GinkgoHelper()
	log.SetLogger(ginkgo.GinkgoLogr)
	gomega.SetDefaultEventuallyTimeout(Timeout)
	gomega.EnforceDefaultTimeoutsWhenUsingContexts()
	gomega.SetDefaultEventuallyPollingInterval(Polling)
	plane, err := controlplane.Start(context.Background(), controlplane.Options{
		CRDPaths: []string{filepath.Join("..", "..", "config", "crd", "bases")},
	})
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	ginkgo.DeferCleanup(func() { gomega.Expect(plane.Stop()).To(gomega.Succeed()) })

	scheme := runtime.NewScheme()
	gomega.Expect(clientgoscheme.AddToScheme(scheme)).To(gomega.Succeed())
	gomega.Expect(v1alpha1.AddToScheme(scheme)).To(gomega.Succeed())
	fleet := &Fleet{}
	fleet.Client, err = client.New(plane.Config(), client.Options{Scheme: scheme})
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	fleet.startAWS()
	fleet.Regions = cloud.NewRegions(fleet.manager, cloud.ObserverOptions{
		ListInterval: time.Second, HotInterval: 100 * time.Millisecond, CatalogInterval: 2 * time.Second,
		Log: ginkgo.GinkgoLogr,
	})

	manager, err := ctrl.NewManager(plane.Config(), ctrl.Options{
		Scheme:     scheme,
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{SkipNameValidation: ptr.To(true)},
	})
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	gomega.Expect(index.Register(ctx, manager.GetFieldIndexer())).To(gomega.Succeed())
	gomega.Expect(manager.Add(fleet.Regions)).To(gomega.Succeed())
	gomega.Expect(register(manager, fleet.Regions)).To(gomega.Succeed())
	gomega.Expect(letHostsLeave(manager)).To(gomega.Succeed())
	stopped := make(chan error, 1)
	go func() { stopped <- manager.Start(ctx) }()
	ginkgo.DeferCleanup(func() {
		cancel()
		gomega.Eventually(stopped).Should(gomega.Receive(gomega.BeNil()))
	})
	return fleet
}

// startAWS starts a local AWS, in which the controllers must have been denied nothing
// when the suite ends.
func (f *Fleet) startAWS() {
	delays := awsemu.FastDelays()
	role, err := managerrole.InAnyCluster(ClusterID)
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	f.AWS = awsemu.New(awsemu.Options{
		Delays: &delays, Images: []awsemu.Image{{ID: ImageA}, {ID: ImageB}}, IAM: role, NetworkTags: managerrole.NetworkTags(),
	})
	listener := httptest.NewServer(f.AWS)
	ginkgo.DeferCleanup(func() {
		f.AWS.Close()
		listener.Close()
		gomega.Expect(managerrole.Verify(role)).To(gomega.Succeed())
	})
	f.manager, f.owner = provider("manager", listener.URL), provider(awsemu.RootAccessKey, listener.URL)
}

// provider is the local AWS for an access key.
func provider(accessKey, endpoint string) cloud.Provider {
	sdk, err := config.LoadDefaultConfig(context.Background(),
		config.WithBaseEndpoint(endpoint),
		config.WithRegion("us-east-1"),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(accessKey, "secret", "")),
		config.WithRetryer(func() awssdk.Retryer { return awssdk.NopRetryer{} }),
	)
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	made, err := aws.New(context.Background(), aws.Options{Config: sdk})
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	return made
}

// Owner is a Region's part of AWS as the owner of the account has it.
func (f *Fleet) Owner(ctx context.Context, region *v1alpha1.Region) cloud.API {
	ginkgo.GinkgoHelper()
	api, err := f.owner.Open(ctx, cloud.Target{
		ClusterID: ClusterID, Region: region.Name, AWSRegion: region.Spec.AWSRegion, ECSCluster: region.Spec.ECSCluster,
	})
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	return api
}

// Region makes a Region in the default VPC of us-east-1 whose hosts have eight
// slots and that keeps twenty of them free.
func (f *Fleet) Region(name string, changes ...func(*v1alpha1.Region)) *v1alpha1.Region {
	region := &v1alpha1.Region{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.RegionSpec{
			AWSRegion:     "us-east-1",
			ECSCluster:    name,
			InstanceTypes: []string{"g4dn.12xlarge"},
			Capacity: v1alpha1.Capacity{
				MaxInstances:           ptr.To[int32](50),
				ScaleDownStabilization: &metav1.Duration{Duration: time.Second},
			},
		},
	}
	for _, change := range changes {
		change(region)
	}
	f.placeInDefaultVPC(region)
	return region
}

func (f *Fleet) placeInDefaultVPC(region *v1alpha1.Region) {
	ginkgo.GinkgoHelper()
	ctx := context.Background()
	api := f.Owner(ctx, region)
	if len(region.Spec.Subnets.IDs) == 0 {
		subnets, err := api.Subnets(ctx, cloud.Selector{})
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
		for _, subnet := range subnets {
			region.Spec.Subnets.IDs = append(region.Spec.Subnets.IDs, subnet.ID)
		}
	}
	if len(region.Spec.SecurityGroups.IDs) == 0 {
		groups, err := api.SecurityGroups(ctx, cloud.Selector{})
		gomega.Expect(err).NotTo(gomega.HaveOccurred())
		region.Spec.SecurityGroups.IDs = groups
	}
}

// Channel makes an AMI with an image for each region, given as region, image,
// region, image and so on.
func Channel(name, commit string, images ...string) *v1alpha1.AMI {
	ami := &v1alpha1.AMI{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.AMISpec{
			ClientCommitHash: commit,
			Task: v1alpha1.TaskTemplate{
				Image: "registry.example/mandelbox:1", CPU: 1024, MemoryMiB: 2048,
				Ports: []v1alpha1.TaskPort{{Name: "web", ContainerPort: 8080, Protocol: v1alpha1.ProtocolTCP}},
			},
		},
	}
	for i := 0; i+1 < len(images); i += 2 {
		ami.Spec.Images = append(ami.Spec.Images, v1alpha1.RegionImage{Region: images[i], ImageID: images[i+1]})
	}
	return ami
}

// Make creates an object, and deletes it when the spec is over, together with
// the Instances and finalizers that keep it.
func (f *Fleet) Make(ctx context.Context, object client.Object) {
	ginkgo.GinkgoHelper()
	gomega.Expect(f.Create(ctx, object)).To(gomega.Succeed())
	ginkgo.DeferCleanup(func(ctx context.Context) {
		gomega.Expect(client.IgnoreNotFound(f.Delete(ctx, object))).To(gomega.Succeed())
		gomega.Eventually(func(g gomega.Gomega) {
			for _, host := range f.Hosts(ctx, "") {
				if host.Spec.RegionName == object.GetName() || host.Spec.AMIName == object.GetName() {
					host.Finalizers = nil
					g.Expect(client.IgnoreNotFound(f.Update(ctx, &host))).To(gomega.Succeed())
					g.Expect(client.IgnoreNotFound(f.Delete(ctx, &host))).To(gomega.Succeed())
				}
			}
			err := f.Get(ctx, client.ObjectKeyFromObject(object), object)
			g.Expect(apierrors.IsNotFound(err)).To(gomega.BeTrue())
		}).Should(gomega.Succeed())
	})
}

// Change updates an object's spec, again if somebody else wrote it meanwhile.
func Change[T client.Object](ctx context.Context, f *Fleet, object T, change func(T)) {
	ginkgo.GinkgoHelper()
	gomega.Eventually(func(g gomega.Gomega) {
		g.Expect(f.Get(ctx, client.ObjectKeyFromObject(object), object)).To(gomega.Succeed())
		change(object)
		g.Expect(f.Update(ctx, object)).To(gomega.Succeed())
	}).Should(gomega.Succeed())
}

// Hosts returns the Instances of a region, or of all regions.
func (f *Fleet) Hosts(ctx context.Context, region string) []v1alpha1.Instance {
	ginkgo.GinkgoHelper()
	var hosts v1alpha1.InstanceList
	var options []client.ListOption
	if region != "" {
		options = append(options, client.MatchingFields{"spec.regionName": region})
	}
	gomega.Expect(f.List(ctx, &hosts, options...)).To(gomega.Succeed())
	return hosts.Items
}

// Boot does the Instance controller's work: it has the hosts of a region that
// have yet to connect become Active with eight slots.
func (f *Fleet) Boot(ctx context.Context, region string) {
	ginkgo.GinkgoHelper()
	for _, host := range f.Hosts(ctx, region) {
		if host.Status.Phase != "" || !host.DeletionTimestamp.IsZero() {
			continue
		}
		before := host.DeepCopy()
		host.Status.Phase = v1alpha1.InstanceActive
		host.Status.Capacity = ptr.To[int32](8)
		gomega.Expect(client.IgnoreNotFound(f.Status().Patch(ctx, &host, client.MergeFrom(before)))).To(gomega.Succeed())
	}
}

// Claim takes so many slots of a host.
func (f *Fleet) Claim(ctx context.Context, name string, slots int32) {
	ginkgo.GinkgoHelper()
	host := &v1alpha1.Instance{}
	gomega.Expect(f.Get(ctx, client.ObjectKey{Name: name}, host)).To(gomega.Succeed())
	before := host.DeepCopy()
	host.Status.Claims = nil
	for slot := range slots {
		host.Status.Claims = append(host.Status.Claims, v1alpha1.Claim{
			Slot: slot, Namespace: "default", Name: "session", UID: fmt.Sprintf("uid-%d", slot), Attempt: 1,
		})
	}
	gomega.Expect(f.Status().Patch(ctx, host, client.MergeFrom(before))).To(gomega.Succeed())
}

// Health is what kstatus makes of an object as it was last read.
func Health(object client.Object) kstatus.Status {
	ginkgo.GinkgoHelper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	result, err := kstatus.Compute(&unstructured.Unstructured{Object: content})
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	return result.Status
}

// Told is an object's health, and the reason and status of one of its conditions.
type Told struct {
	Health         kstatus.Status
	Reason, Status string
}

// Tells reads an object anew and returns how it is by kstatus and by a condition.
func (f *Fleet) Tells(ctx context.Context, object client.Object, conditions *[]metav1.Condition, conditionType string) Told {
	ginkgo.GinkgoHelper()
	gomega.Expect(f.Get(ctx, client.ObjectKeyFromObject(object), object)).To(gomega.Succeed())
	told := Told{Health: Health(object)}
	if c := meta.FindStatusCondition(*conditions, conditionType); c != nil {
		told.Reason, told.Status = c.Reason, string(c.Status)
	}
	return told
}
