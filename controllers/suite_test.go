// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	cloudaws "github.com/mandelbox/mandelbox-operator/internal/cloud/aws"
	"github.com/mandelbox/mandelbox-operator/internal/controlplane"
	"github.com/mandelbox/mandelbox-operator/internal/managerrole"
)

var plane *controlplane.ControlPlane

// role is that of the managers under test: every call of theirs is held to its policy.
var role *awsemu.IAM

func TestControllers(t *testing.T) {
	RegisterFailHandler(Fail)
	suite, reporter := GinkgoConfiguration()
	suite.RandomizeAllSpecs = true
	EnforceDefaultTimeoutsWhenUsingContexts()
	SetDefaultEventuallyTimeout(30 * time.Second)
	SetDefaultEventuallyPollingInterval(20 * time.Millisecond)
	RunSpecs(t, "Controllers", suite, reporter)
}

var _ = BeforeSuite(func() {
	ctrl.SetLogger(zap.New(zap.WriteTo(GinkgoWriter), zap.UseDevMode(true)))
	var err error
	role, err = managerrole.Of(clusterID)
	Expect(err).NotTo(HaveOccurred())
	plane, err = controlplane.Start(context.Background(), controlplane.Options{
		CRDPaths:    []string{filepath.Join("..", "config", "crd", "bases")},
		AuditPolicy: []byte(auditPolicy),
		// As some distributions have it: whoever makes an object that holds up the end of
		// its owner must be allowed to.
		APIServerFlags: map[string][]string{"enable-admission-plugins": {"OwnerReferencesPermissionEnforcement"}},
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(plane.Stop()).To(Succeed()) })
	installAccount(context.Background())
})

// clusterID is what the managers under test tag their resources with.
const clusterID = "test-cluster"

// listInterval is the time between two listings of AWS.
const listInterval = 200 * time.Millisecond

// world is what one spec plays in: a local AWS of its own, a namespace, and a
// manager that can be stopped and started again.
type world struct {
	client.Client
	// plane is the control plane it is on; that of the suite by default.
	plane     *controlplane.ControlPlane
	aws       *awsemu.Server
	endpoint  string
	namespace string
	perUser   int32
	// orphanGrace is how long what belongs to nobody in AWS is left alone; 5m by default.
	orphanGrace time.Duration
	// dryRun has orphans reported and left.
	dryRun bool
	// grace is how long AWS's reads may lag behind its writes; 1s by default.
	grace time.Duration
	// lookEvery is how often AWS is listed, and what is in motion looked at;
	// listInterval and 20ms by default.
	lookEvery time.Duration
	// touch is how long what a writer acted on is watched; 30s by default.
	touch time.Duration
	// role is that of its managers; the suite's by default, in which no call may be denied.
	role *awsemu.IAM
	// wrap stands between the manager and the API server; nothing does by default.
	wrap transport.WrapperFunc
	// through stands between the manager and the cloud; nothing does by default.
	through func(cloud.Provider) cloud.Provider
	// binary is the operator's program, which then runs as a process of its own and
	// is killed where it would be stopped; by default the manager runs in this one.
	binary string
	// unmanaged has no manager start by itself.
	unmanaged bool
	// traces takes those of its managers; nothing does by default.
	traces trace.TracerProvider
	// metrics are those of its managers, one after the other.
	metrics *prometheus.Registry
	// front stands before AWS; nothing does by default.
	front func(http.Handler) http.Handler
	// configure changes the options of its managers; nothing does by default.
	configure func(*controllers.Options)

	stop func()
}

// newWorld makes a world, with its manager running, that is taken down after the spec.
func newWorld(change ...func(*world)) *world {
	GinkgoHelper()
	delays := awsemu.FastDelays()
	w := &world{plane: plane, metrics: prometheus.NewRegistry(), role: role}
	for _, f := range change {
		f(w)
	}
	w.aws = awsemu.New(awsemu.Options{
		Delays: &delays, Seed: GinkgoRandomSeed(), IAM: w.role, NetworkTags: managerrole.NetworkTags(),
	})
	var handler http.Handler = w.aws
	if w.front != nil {
		handler = w.front(handler)
	}
	server := httptest.NewServer(handler)
	w.endpoint = server.URL
	config := w.plane.Config()
	config.QPS = -1 // A burst of sessions is not to be slowed down here.
	c, err := client.New(config, client.Options{Scheme: controllers.NewScheme()})
	Expect(err).NotTo(HaveOccurred())
	w.Client = c
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "tenant-"}}
	Expect(c.Create(context.Background(), ns)).To(Succeed())
	w.namespace = ns.Name
	DeferCleanup(func() {
		w.stopManager()
		w.sweep()
		server.Close()
		w.aws.Close()
	})
	if !w.unmanaged {
		w.startManager()
	}
	return w
}

func (w *world) provider() cloud.Provider {
	GinkgoHelper()
	provider, err := cloudaws.New(context.Background(), cloudaws.Options{Config: w.awsConfigOf(managerKey, "us-east-1"), Registerer: w.metrics})
	Expect(err).NotTo(HaveOccurred())
	if w.through != nil {
		return w.through(provider)
	}
	return provider
}

// managerKey is the access key of the managers.
const managerKey = "manager"

// awsConfig is for what a spec does itself, as the owner of the account.
func (w *world) awsConfig(region string) awssdk.Config {
	return w.awsConfigOf(awsemu.RootAccessKey, region)
}

func (w *world) awsConfigOf(accessKey, region string) awssdk.Config {
	return awssdk.Config{
		Region: region, BaseEndpoint: awssdk.String(w.endpoint),
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, "secret", ""),
	}
}

// managerConfig is how the managers reach the API server: as the operator's
// ServiceAccount, which only the suite's control plane has.
func (w *world) managerConfig() *rest.Config {
	if w.plane == plane {
		return managerConfig
	}
	return w.plane.Config()
}

// kubeconfig is the file of the same.
func (w *world) kubeconfig() string {
	if w.plane == plane {
		return managerKubeconfig
	}
	return w.plane.KubeconfigPath()
}

// startManager starts a manager, as a restart of the operator would.
func (w *world) startManager() {
	GinkgoHelper()
	if w.binary != "" {
		w.startProcess()
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	config := rest.CopyConfig(w.managerConfig())
	if w.wrap != nil {
		config.Wrap(w.wrap)
	}
	options := controllers.Options{
		ClusterID: clusterID, Cloud: w.provider(), MandelboxesPerUser: w.perUser,
		OrphanGrace: w.orphanGrace, OrphansDryRun: w.dryRun, OrphanInterval: 100 * time.Millisecond,
		Observer: cloud.ObserverOptions{
			ListInterval: cmp.Or(w.lookEvery, listInterval), HotInterval: cmp.Or(w.lookEvery, 20*time.Millisecond),
			GracePeriod: cmp.Or(w.grace, time.Second), TouchTime: w.touch,
		},
		Metrics: w.metrics, MetricsAddress: "0", ProbeAddress: "0", Version: "v-test", Traces: w.traces, Log: logr.FromContextOrDiscard(logr.NewContext(ctx, GinkgoLogr)),
	}
	if w.configure != nil {
		w.configure(&options)
	}
	mgr, err := controllers.NewManager(ctx, config, options)
	Expect(err).NotTo(HaveOccurred())
	done := make(chan struct{})
	go func() {
		defer GinkgoRecover()
		defer close(done)
		Expect(mgr.Start(ctx)).To(Succeed())
	}()
	w.stop = func() {
		cancel()
		<-done
	}
}

func (w *world) stopManager() {
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

// sweep deletes every object, so that the next spec starts with none.
func (w *world) sweep() {
	GinkgoHelper()
	ctx := context.Background()
	for _, list := range []client.ObjectList{
		&v1alpha1.MandelboxList{}, &v1alpha1.InstanceList{}, &v1alpha1.AMIList{}, &v1alpha1.RegionList{},
	} {
		Expect(w.List(ctx, list)).To(Succeed())
		for _, o := range itemsOf(list) {
			if len(o.GetFinalizers()) > 0 {
				patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
				Expect(client.IgnoreNotFound(w.Patch(ctx, o, patch))).To(Succeed())
			}
			Expect(client.IgnoreNotFound(w.Delete(ctx, o))).To(Succeed())
		}
	}
}

func itemsOf(list client.ObjectList) []client.Object {
	var out []client.Object
	switch l := list.(type) {
	case *v1alpha1.MandelboxList:
		for i := range l.Items {
			out = append(out, &l.Items[i])
		}
	case *v1alpha1.InstanceList:
		for i := range l.Items {
			out = append(out, &l.Items[i])
		}
	case *v1alpha1.AMIList:
		for i := range l.Items {
			out = append(out, &l.Items[i])
		}
	case *v1alpha1.RegionList:
		for i := range l.Items {
			out = append(out, &l.Items[i])
		}
	}
	return out
}

// region makes a Region in the local AWS's default network.
func (w *world) region(ctx context.Context, name string, change ...func(*v1alpha1.Region)) *v1alpha1.Region {
	GinkgoHelper()
	api := ec2.NewFromConfig(w.awsConfig(name))
	subnets, err := api.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	Expect(err).NotTo(HaveOccurred())
	groups, err := api.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{})
	Expect(err).NotTo(HaveOccurred())
	r := &v1alpha1.Region{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.RegionSpec{
			SecurityGroups: v1alpha1.ResourceSelector{IDs: []string{*groups.SecurityGroups[0].GroupId}},
			InstanceTypes:  []string{"g4dn.12xlarge"},
			Capacity: v1alpha1.Capacity{
				VCPUsPerMandelbox: 4, DesiredFreeMandelboxes: ptr.To[int32](1), MaxInstances: ptr.To[int32](10),
			},
		},
	}
	for _, s := range subnets.Subnets {
		r.Spec.Subnets.IDs = append(r.Spec.Subnets.IDs, *s.SubnetId)
	}
	for _, f := range change {
		f(r)
	}
	Expect(w.Create(ctx, r)).To(Succeed())
	return r
}

// commit is the commit hash of the channels under test.
const commit = "0123456789abcdef0123456789abcdef01234567"

// channel makes an AMI for the regions.
func (w *world) channel(ctx context.Context, name string, regions []string, change ...func(*v1alpha1.AMI)) *v1alpha1.AMI {
	GinkgoHelper()
	a := &v1alpha1.AMI{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.AMISpec{
			ClientCommitHash: commit,
			Task: v1alpha1.TaskTemplate{
				Image: "example.com/mandelbox:1", CPU: 4096, MemoryMiB: 8192,
				Ports: []v1alpha1.TaskPort{{Name: "webrtc", ContainerPort: 32262, Protocol: v1alpha1.ProtocolTCP}},
			},
		},
	}
	for _, r := range regions {
		a.Spec.Images = append(a.Spec.Images, v1alpha1.RegionImage{Region: r, ImageID: awsemu.DefaultImageID})
	}
	for _, f := range change {
		f(a)
	}
	Expect(w.Create(ctx, a)).To(Succeed())
	return a
}

// newSession is a Mandelbox that isn't made yet.
func (w *world) newSession(name string, regions []string) *v1alpha1.Mandelbox {
	return &v1alpha1.Mandelbox{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace},
		Spec: v1alpha1.MandelboxSpec{
			UserID: "user-" + name, SessionID: "session-" + name, Regions: regions, ClientCommitHash: commit,
		},
	}
}

// held has a session come with its finalizer, as the webhook has it.
func held(m *v1alpha1.Mandelbox) { m.Finalizers = append(m.Finalizers, v1alpha1.MandelboxFinalizer) }

// session makes a Mandelbox.
func (w *world) session(ctx context.Context, name string, regions []string, change ...func(*v1alpha1.Mandelbox)) *v1alpha1.Mandelbox {
	GinkgoHelper()
	m := w.newSession(name, regions)
	for _, f := range change {
		f(m)
	}
	Expect(w.Create(ctx, m)).To(Succeed())
	return m
}

// phase reads a session's phase and reason.
func (w *world) phase(ctx context.Context, m *v1alpha1.Mandelbox) func() string {
	return func() string {
		if err := w.Get(ctx, client.ObjectKeyFromObject(m), m); err != nil {
			return err.Error()
		}
		reason := ""
		for _, c := range m.Status.Conditions {
			if c.Type == v1alpha1.ConditionFinished {
				reason = c.Reason
			}
		}
		return fmt.Sprintf("%s/%s", m.Status.Phase, reason)
	}
}

// hosts lists the Instances in a phase.
func (w *world) hosts(ctx context.Context, phase v1alpha1.InstancePhase) func() ([]v1alpha1.Instance, error) {
	return func() ([]v1alpha1.Instance, error) {
		var list v1alpha1.InstanceList
		if err := w.List(ctx, &list); err != nil {
			return nil, err
		}
		var in []v1alpha1.Instance
		for _, i := range list.Items {
			if phase == "" || i.Status.Phase == phase {
				in = append(in, i)
			}
		}
		return in, nil
	}
}

// ec2Hosts lists what runs in EC2.
func (w *world) ec2Hosts(ctx context.Context, region string) []ec2types.Instance {
	GinkgoHelper()
	pages := ec2.NewDescribeInstancesPaginator(ec2.NewFromConfig(w.awsConfig(region)), &ec2.DescribeInstancesInput{
		Filters: []ec2types.Filter{{Name: awssdk.String("instance-state-name"), Values: []string{"pending", "running"}}},
	})
	var hosts []ec2types.Instance
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		Expect(err).NotTo(HaveOccurred())
		for _, r := range page.Reservations {
			hosts = append(hosts, r.Instances...)
		}
	}
	return hosts
}

// tasks lists the ECS tasks with that desired status.
func (w *world) tasks(ctx context.Context, region string, desired ecstypes.DesiredStatus) []ecstypes.Task {
	GinkgoHelper()
	api := ecs.NewFromConfig(w.awsConfig(region))
	pages := ecs.NewListTasksPaginator(api, &ecs.ListTasksInput{Cluster: awssdk.String("mandelbox"), DesiredStatus: desired})
	var tasks []ecstypes.Task
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		Expect(err).NotTo(HaveOccurred())
		if len(page.TaskArns) == 0 {
			continue
		}
		described, err := api.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: awssdk.String("mandelbox"), Tasks: page.TaskArns})
		Expect(err).NotTo(HaveOccurred())
		tasks = append(tasks, described.Tasks...)
	}
	return tasks
}
