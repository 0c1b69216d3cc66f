// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

const (
	channelName = "stable"
	commitHash  = "a31f9d0c7be85e2c4d6f0b8a9c1e3d5f7a9b0c2d"
	// hostType has 32 vCPUs: slotsPerHost slots of 4.
	hostType     = "g4dn.8xlarge"
	slotsPerHost = 8
	// clients is how many clients there are wherever many write at once.
	clients = 32
)

// regionNames are the regions of every fleet: six, so that what AWS lets a region
// do in a second doesn't decide.
var regionNames = []string{"us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-northeast-1", "ap-southeast-2"}

// createFleet makes the regions, each with that many hosts and no more, and a
// channel that is offered in all of them.
func (w *world) createFleet(ctx context.Context, hostsPerRegion int) error {
	channel := &v1alpha1.AMI{
		ObjectMeta: metav1.ObjectMeta{Name: channelName},
		Spec: v1alpha1.AMISpec{
			ClientCommitHash: commitHash,
			Task: v1alpha1.TaskTemplate{
				Image: "example.com/mandelbox:1", CPU: 4096, MemoryMiB: 8192,
				Ports: []v1alpha1.TaskPort{{Name: "webrtc", ContainerPort: 32262, Protocol: v1alpha1.ProtocolTCP}},
			},
		},
	}
	for _, name := range w.regions {
		if err := w.createRegion(ctx, name, hostsPerRegion); err != nil {
			return err
		}
		channel.Spec.Images = append(channel.Spec.Images, v1alpha1.RegionImage{Region: name, ImageID: awsemu.DefaultImageID})
	}
	if err := w.people.Create(ctx, channel); err != nil {
		return fmt.Errorf("creating AMI %s: %w", channel.Name, err)
	}
	return nil
}

// createRegion makes a Region in the network that the local AWS has from the start.
func (w *world) createRegion(ctx context.Context, name string, hosts int) error {
	network := ec2.NewFromConfig(w.aws.config(name))
	subnets, err := network.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	if err != nil {
		return fmt.Errorf("looking for the subnets of %s: %w", name, err)
	}
	groups, err := network.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{})
	if err != nil {
		return fmt.Errorf("looking for the security groups of %s: %w", name, err)
	}
	region := &v1alpha1.Region{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.RegionSpec{
			InstanceTypes: []string{hostType},
			Capacity: v1alpha1.Capacity{
				VCPUsPerMandelbox: 4, MandelboxesPerGPU: ptr.To[int32](0), DesiredFreeMandelboxes: ptr.To[int32](0),
				MinInstances: ptr.To(int32(hosts)), MaxInstances: ptr.To(int32(hosts)),
				ScaleDownStabilization: &metav1.Duration{Duration: 24 * time.Hour},
			},
		},
	}
	for _, subnet := range subnets.Subnets {
		region.Spec.Subnets.IDs = append(region.Spec.Subnets.IDs, awssdk.ToString(subnet.SubnetId))
	}
	for _, group := range groups.SecurityGroups {
		region.Spec.SecurityGroups.IDs = append(region.Spec.SecurityGroups.IDs, awssdk.ToString(group.GroupId))
	}
	if err := w.people.Create(ctx, region); err != nil {
		return fmt.Errorf("creating Region %s: %w", name, err)
	}
	return nil
}

// awaitOffer waits until the channel is offered in every region.
func (w *world) awaitOffer(ctx context.Context) error {
	channel := &v1alpha1.AMI{}
	return w.await(ctx, time.Minute, "the channel to be offered", func(ctx context.Context) (bool, error) {
		if err := w.people.Get(ctx, client.ObjectKey{Name: channelName}, channel); err != nil {
			return false, err
		}
		for _, name := range w.regions {
			if channel.ActiveRow(name) == nil {
				return false, nil
			}
		}
		return true, nil
	})
}

// awaitHosts waits until that many hosts are Active, and returns them. It watches:
// to list a thousand hosts over and over would slow down what is measured.
func (w *world) awaitHosts(ctx context.Context, m *process, hosts int) ([]v1alpha1.Instance, error) {
	ctx, cancel := context.WithTimeout(ctx, fiveMinutes)
	defer cancel()
	for {
		active, err := w.countHosts(ctx, m, hosts)
		if err != nil {
			return nil, fmt.Errorf("waiting for %d Active hosts, %d were: %w", hosts, active, err)
		}
		if active >= hosts {
			return w.listHosts(ctx)
		}
	}
}

// countHosts counts Active hosts until there are enough, or until the watch ends: the
// API server ends those that fall behind.
func (w *world) countHosts(ctx context.Context, m *process, enough int) (int, error) {
	changes, err := w.people.Watch(ctx, &v1alpha1.InstanceList{})
	if err != nil {
		return 0, fmt.Errorf("watching Instances: %w", err)
	}
	defer changes.Stop()
	active := map[string]bool{}
	for len(active) < enough {
		select {
		case change, ok := <-changes.ResultChan():
			i, is := change.Object.(*v1alpha1.Instance)
			switch {
			case !ok || !is:
				return len(active), ctx.Err()
			case i.Open() && i.Slots() == slotsPerHost && change.Type != watch.Deleted:
				active[i.Name] = true
			default:
				delete(active, i.Name)
			}
		case <-m.ended:
			return len(active), m.failure()
		}
	}
	return len(active), nil
}

// listHosts returns the hosts as they are.
func (w *world) listHosts(ctx context.Context) ([]v1alpha1.Instance, error) {
	var list v1alpha1.InstanceList
	if err := w.people.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("listing Instances: %w", err)
	}
	return list.Items, nil
}

// warmFleet starts a manager with a fleet of its own making.
func (w *world) warmFleet(ctx context.Context, hostsPerRegion int, flags ...string) (*process, []v1alpha1.Instance, error) {
	m, err := w.startManager(ctx, flags...)
	if err != nil {
		return nil, nil, err
	}
	if err := w.createFleet(ctx, hostsPerRegion); err != nil {
		return nil, nil, err
	}
	hosts, err := w.awaitHosts(ctx, m, hostsPerRegion*len(w.regions))
	return m, hosts, err
}

// disown makes the hosts ones that a person made, so that they stay while their
// regions are disabled.
func (w *world) disown(ctx context.Context, hosts []v1alpha1.Instance) error {
	return inParallel(ctx, clients, len(hosts), func(ctx context.Context, i int) error {
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"ownerReferences":null}}`))
		if err := w.people.Patch(ctx, &hosts[i], patch); err != nil {
			return fmt.Errorf("disowning Instance %s: %w", hosts[i].Name, err)
		}
		return nil
	})
}

// enable switches all regions on or off, at once.
func (w *world) enable(ctx context.Context, enabled bool) error {
	return inParallel(ctx, len(regionNames), len(regionNames), func(ctx context.Context, i int) error {
		region := &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: regionNames[i]}}
		patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"enabled":%t}}`, enabled))
		if err := w.people.Patch(ctx, region, patch); err != nil {
			return fmt.Errorf("enabling Region %s: %w", region.Name, err)
		}
		return nil
	})
}

// disable switches all regions off, and waits until the manager knows: what comes
// then has to wait.
func (w *world) disable(ctx context.Context) error {
	if err := w.enable(ctx, false); err != nil {
		return err
	}
	return w.await(ctx, time.Minute, "the manager to know that the regions are disabled", func(ctx context.Context) (bool, error) {
		var regions v1alpha1.RegionList
		if err := w.people.List(ctx, &regions); err != nil {
			return false, fmt.Errorf("listing Regions: %w", err)
		}
		for i := range regions.Items {
			available := meta.FindStatusCondition(regions.Items[i].Status.Conditions, v1alpha1.ConditionAvailable)
			if available == nil || available.Reason != v1alpha1.ReasonDisabled {
				return false, nil
			}
		}
		return true, nil
	})
}

// hostsFor is how many hosts each region needs for its share of the sessions.
func hostsFor(sessions int) int {
	perRegion := (sessions + len(regionNames) - 1) / len(regionNames)
	return (perRegion + slotsPerHost - 1) / slotsPerHost
}

// resize has each region keep that many hosts and no more.
func (w *world) resize(ctx context.Context, hostsPerRegion int) error {
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"capacity":{"minInstances":%[1]d,"maxInstances":%[1]d}}}`, hostsPerRegion))
	for _, name := range w.regions {
		region := &v1alpha1.Region{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := w.people.Patch(ctx, region, patch); err != nil {
			return fmt.Errorf("resizing Region %s: %w", name, err)
		}
	}
	return nil
}

// inParallel calls f for 0 to n-1, by that many workers, in order.
func inParallel(ctx context.Context, workers, n int, f func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return f(ctx, i) })
	}
	return group.Wait()
}
