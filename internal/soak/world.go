// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/config/crd"
	"github.com/mandelbox/mandelbox-operator/controllers"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/controlplane"
	"github.com/mandelbox/mandelbox-operator/internal/managerrole"
)

const (
	// ecsCluster is the ECS cluster of every region, the API's default.
	ecsCluster = "mandelbox"
	// credential is the access key and the secret of the managers, who may do what
	// their policy says; what the soak itself does, it does as the account's owner.
	credential = "soak"
	// orphanGrace is the manager's; its interval is 30s.
	orphanGrace = 15 * time.Second
)

// world is what a soak plays in: a control plane, a local AWS and the manager's
// processes.
type world struct {
	plane    *controlplane.ControlPlane
	aws      *awsemu.Server
	role     *awsemu.IAM
	endpoint string
	api      client.WithWatch
	manager  *manager
	rival    *manager
	// failed gets the end of a manager that should have gone on.
	failed chan error
	// started is told of each start of a manager.
	started func()
	stops   []func() error
}

// delays are as short as leaves every state to be seen.
func delays() *awsemu.Delays {
	return &awsemu.Delays{
		InstancePending: 300 * time.Millisecond, AgentBoot: 700 * time.Millisecond,
		InstanceShuttingDown: 300 * time.Millisecond, InstanceStopping: 300 * time.Millisecond,
		StatusChecks: 500 * time.Millisecond, SpotNotice: 2 * time.Second,
		TaskPull: 200 * time.Millisecond, TaskStart: 100 * time.Millisecond, TaskStop: 200 * time.Millisecond,
		// In proportion to all else, which is some ten times as fast as the real AWS.
		TerminatedRetention: 5 * time.Minute, StoppedTaskRetention: 5 * time.Minute,
	}
}

// newWorld starts a control plane and a local AWS that has the images. The manager
// is not started yet. command runs the operator's binary, and its log goes to log.
func newWorld(ctx context.Context, seed uint64, images []string, command []string, log io.Writer) (_ *world, err error) {
	w := &world{failed: make(chan error, 1), started: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.stop())
		}
	}()
	if err := w.startPlane(ctx); err != nil {
		return nil, err
	}
	if err := w.startAWS(ctx, seed, images); err != nil {
		return nil, err
	}
	arguments := append(append([]string{}, command...), "manager",
		"--webhooks=false", "--metrics-bind-address=0", "--health-probe-bind-address=0", "--mandelboxes-per-user=3",
		"--aws-list-interval=2s", "--aws-hot-interval=200ms", "--aws-grace-period=3s", "--orphan-grace="+orphanGrace.String())
	env := []string{
		"KUBECONFIG=" + w.plane.KubeconfigPath(), "AWS_ENDPOINT_URL=" + w.endpoint, "AWS_REGION=" + regionNames[0],
		"AWS_ACCESS_KEY_ID=" + credential, "AWS_SECRET_ACCESS_KEY=" + credential, "AWS_EC2_METADATA_DISABLED=true",
	}
	w.manager = &manager{command: arguments, env: env, log: log, failed: w.failed}
	w.rival = &manager{command: arguments, env: env, log: log, failed: w.failed}
	w.stops = append(w.stops, w.manager.stop, w.rival.stop)
	for _, tenant := range tenants {
		if err := w.api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tenant}}); err != nil {
			return nil, fmt.Errorf("creating namespace %s: %w", tenant, err)
		}
	}
	return w, nil
}

// startPlane starts a control plane that outlives ctx: the end in order needs it.
func (w *world) startPlane(ctx context.Context) error {
	crds, err := crd.Definitions()
	if err != nil {
		return err
	}
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	detach := context.AfterFunc(ctx, cancel)
	w.plane, err = controlplane.Start(lasting, controlplane.Options{CRDs: crds})
	if err != nil {
		cancel()
		return err
	}
	w.stops = append(w.stops, func() error {
		cancel()
		return w.plane.Stop()
	})
	detach()
	w.api, err = client.NewWithWatch(w.plane.Config(), client.Options{Scheme: controllers.NewScheme()})
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	return nil
}

func (w *world) startAWS(ctx context.Context, seed uint64, images []string) error {
	var err error
	if w.role, err = managerrole.Of(string(w.plane.ClusterUID())); err != nil {
		return err
	}
	options := awsemu.Options{Seed: int64(seed), Delays: delays(), IAM: w.role, NetworkTags: managerrole.NetworkTags()}
	for _, image := range images {
		options.Images = append(options.Images, awsemu.Image{ID: image})
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening for the local AWS: %w", err)
	}
	w.aws = awsemu.New(options)
	server := &http.Server{Handler: w.aws, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	w.endpoint = "http://" + listener.Addr().String()
	w.stops = append(w.stops, func() error {
		w.aws.Close()
		err := server.Close()
		if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
		return err
	})
	return nil
}

// stop ends all there is, the last started first.
func (w *world) stop() error {
	var errs []error
	for i := len(w.stops) - 1; i >= 0; i-- {
		errs = append(errs, w.stops[i]())
	}
	w.stops = nil
	return errors.Join(errs...)
}

// startManager starts the manager, unless it runs, and tells.
func (w *world) startManager(m *manager) error {
	if m.runs() {
		return nil
	}
	w.started()
	return m.start()
}

func (w *world) ec2(region string) *ec2.Client {
	return ec2.NewFromConfig(w.awsConfig(region))
}

func (w *world) ecs(region string) *ecs.Client {
	return ecs.NewFromConfig(w.awsConfig(region))
}

func (w *world) awsConfig(region string) awssdk.Config {
	return awssdk.Config{
		Region: region, BaseEndpoint: awssdk.String(w.endpoint),
		Credentials: credentials.NewStaticCredentialsProvider(awsemu.RootAccessKey, credential, ""),
	}
}

// createRegion makes a Region in the network that the local AWS has from the start.
func (w *world) createRegion(ctx context.Context, name string, fallback ...string) error {
	network := w.ec2(name)
	subnets, err := network.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	if err != nil {
		return fmt.Errorf("looking for the subnets of %s: %w", name, err)
	}
	groups, err := network.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{})
	if err != nil {
		return fmt.Errorf("looking for the security groups of %s: %w", name, err)
	}
	seconds := func(n int) *metav1.Duration { return &metav1.Duration{Duration: time.Duration(n) * time.Second} }
	region := &v1alpha1.Region{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.RegionSpec{
			InstanceTypes: []string{"g4dn.12xlarge", "g4dn.8xlarge"},
			Capacity: v1alpha1.Capacity{
				VCPUsPerMandelbox: 4, DesiredFreeMandelboxes: ptr.To[int32](4), MaxInstances: ptr.To[int32](24),
				ScaleDownStabilization: seconds(10),
			},
			FallbackRegions: fallback,
			HostTimeouts:    v1alpha1.HostTimeouts{PreConnection: seconds(30), AgentDisconnected: seconds(10)},
		},
	}
	for _, subnet := range subnets.Subnets {
		region.Spec.Subnets.IDs = append(region.Spec.Subnets.IDs, awssdk.ToString(subnet.SubnetId))
	}
	for _, group := range groups.SecurityGroups {
		region.Spec.SecurityGroups.IDs = append(region.Spec.SecurityGroups.IDs, awssdk.ToString(group.GroupId))
	}
	if err := w.api.Create(ctx, region); err != nil {
		return fmt.Errorf("creating Region %s: %w", name, err)
	}
	return nil
}

// createChannel makes a channel that is offered in the regions.
func (w *world) createChannel(ctx context.Context, name, commit string, regions []string) error {
	channel := &v1alpha1.AMI{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.AMISpec{
			Task: v1alpha1.TaskTemplate{
				Image: "example.com/mandelbox:1", CPU: 4096, MemoryMiB: 8192,
				Ports: []v1alpha1.TaskPort{{Name: "webrtc", ContainerPort: 32262, Protocol: v1alpha1.ProtocolTCP}},
			},
			Rollout: v1alpha1.Rollout{BufferTimeout: &metav1.Duration{Duration: 45 * time.Second}},
		},
	}
	setRelease(channel, commit, imageOf(commit), regions)
	if err := w.api.Create(ctx, channel); err != nil {
		return fmt.Errorf("creating AMI %s: %w", name, err)
	}
	return nil
}

// setRelease has the channel offer a release.
func setRelease(channel *v1alpha1.AMI, commit, image string, regions []string) {
	channel.Spec.ClientCommitHash = commit
	channel.Spec.Images = nil
	for _, region := range regions {
		channel.Spec.Images = append(channel.Spec.Images, v1alpha1.RegionImage{Region: region, ImageID: image})
	}
}

// createSession makes the Mandelbox of a session, in one of the namespaces with its
// finalizer on, as the webhook has it.
func (w *world) createSession(ctx context.Context, s Session) (*v1alpha1.Mandelbox, error) {
	m := &v1alpha1.Mandelbox{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name},
		Spec:       v1alpha1.MandelboxSpec{UserID: s.User, SessionID: s.Name, Regions: s.Regions, ClientCommitHash: s.Commit},
	}
	if s.Namespace == tenants[0] {
		m.Finalizers = []string{v1alpha1.MandelboxFinalizer}
	}
	if s.Commit == "" {
		m.Spec.AMIName = s.Channel
	}
	if s.MaxDuration > 0 {
		m.Spec.MaxSessionDuration = &metav1.Duration{Duration: s.MaxDuration}
	}
	if s.TTL > 0 {
		m.Spec.TTLAfterFinished = &metav1.Duration{Duration: s.TTL}
	}
	if err := w.api.Create(ctx, m); err != nil {
		return nil, fmt.Errorf("creating Mandelbox %s/%s: %w", s.Namespace, s.Name, err)
	}
	return m, nil
}
