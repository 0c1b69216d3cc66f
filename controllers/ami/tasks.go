// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package ami

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers/region/trouble"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// parallelRegions bounds how many regions one AMI speaks to at a time.
const parallelRegions = 8

// findImages stalls an AMI whose image EC2 doesn't know. A release on its way
// waits until the catalogue of each region, which the Region controller asks, has
// been asked for its image; the active release is left to serve.
func (r *Reconciler) findImages(_ context.Context, s *scope) error {
	revision := s.ami.Revision(s.wanted)
	warming := revision != nil && revision.State == v1alpha1.RevisionWarming
	var missing []string
	for _, image := range s.ami.Spec.Images {
		catalog := s.regions[image.Region].catalog
		asked := catalog.Ready && catalog.ImagesErr == nil && slices.Contains(catalog.Wants.Images, image.ImageID)
		_, known := catalog.Images[image.ImageID]
		switch {
		case known:
		case asked:
			missing = append(missing, fmt.Sprintf("%s in %s", image.ImageID, image.Region))
		case warming && !s.behind:
			s.waiting[image.Region] = fmt.Sprintf("EC2 has not answered for image %s yet", image.ImageID)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return &trouble.Stalled{Reason: v1alpha1.ReasonImageNotFound, Message: fmt.Sprintf(
		"EC2 does not know image %s: name one that exists there and that the account may launch.", trouble.List(missing))}
}

// registerTasks registers the task definition of each row of the wanted revision
// that has none yet, in all regions at once. A region that isn't there yet is
// waited for.
func (r *Reconciler) registerTasks(ctx context.Context, s *scope) error {
	revision := s.ami.Revision(s.wanted)
	if revision == nil || s.ami.Suspended() {
		return nil
	}
	errs := make([]error, len(revision.Regions))
	var group errgroup.Group
	group.SetLimit(parallelRegions)
	for i := range revision.Regions {
		row := &revision.Regions[i]
		if row.TaskDefinition != "" {
			continue
		}
		place := s.regions[row.Region]
		if s.behind {
			s.waiting[row.Region] = "the spec was changed before its task definition was registered"
			continue
		}
		if obstacle := place.obstacle(row.Region); obstacle != "" {
			s.waiting[row.Region] = obstacle
			continue
		}
		group.Go(func() error {
			errs[i] = r.registerTask(ctx, s.ami, row, place)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, err := range errs {
		if err != nil {
			s.waiting[revision.Regions[i].Region] = "its task definition could not be registered: " + trouble.Text(err)
		}
	}
	return errors.Join(errs...)
}

// obstacle says why nothing can be made in a region yet; "" if something can.
func (p place) obstacle(name string) string {
	switch {
	case p.region == nil:
		return fmt.Sprintf("Region %s does not exist", name)
	case p.open == nil:
		return "the region is not open yet"
	}
	return ""
}

// registerTask registers the task definition of one row, or looks up the existing
// one that the spec names.
func (r *Reconciler) registerTask(ctx context.Context, ami *v1alpha1.AMI, row *v1alpha1.RevisionRegion, in place) error {
	task := effectiveTask(&ami.Spec, ami.Image(row.Region))
	if task.FamilyRevision != "" {
		registered, err := in.open.API().DescribeTaskDefinition(ctx, task.FamilyRevision)
		if err != nil {
			return fmt.Errorf("looking up task definition %s in %s: %w", task.FamilyRevision, row.Region, err)
		}
		describe(row, registered)
		return nil
	}
	registered, err := in.open.API().EnsureTaskDefinition(ctx, r.taskDefinition(ami, row, task, in.region))
	if err != nil {
		return fmt.Errorf("registering the task definition in %s: %w", row.Region, err)
	}
	row.TaskDefinition = registered.ARN
	return nil
}

// describe takes over what an existing task definition says of itself. Its ports
// have no names there; they get "tcp-8080" and the like.
func describe(row *v1alpha1.RevisionRegion, registered cloud.RegisteredTask) {
	row.TaskDefinition = registered.ARN
	row.ContainerName = registered.ContainerName
	row.Resources = v1alpha1.TaskResources{
		CPU:       ptr.To(registered.Resources.CPU),
		MemoryMiB: ptr.To(registered.Resources.MemoryMiB),
		GPUs:      ptr.To(registered.Resources.GPUs),
	}
	row.HealthCheck = ptr.To(registered.HealthCheck)
	row.Ports = nil
	for _, port := range registered.Ports {
		row.Ports = append(row.Ports, v1alpha1.TaskPort{
			Name:          fmt.Sprintf("%s-%d", strings.ToLower(port.Protocol), port.ContainerPort),
			ContainerPort: port.ContainerPort,
			Protocol:      v1alpha1.Protocol(strings.ToUpper(port.Protocol)),
		})
	}
}

// taskDefinition is an inline task as ECS is to register it. The row's id, which
// is a hash of its content, is in the family's name.
func (r *Reconciler) taskDefinition(ami *v1alpha1.AMI, row *v1alpha1.RevisionRegion, task *v1alpha1.TaskTemplate, region *v1alpha1.Region) cloud.TaskDefinition {
	def := cloud.TaskDefinition{
		Family:           fmt.Sprintf("mandelbox-%s-%s", family(ami.Name), row.ID),
		ContainerName:    containerName,
		Image:            task.Image,
		Resources:        cloud.Resources{CPU: task.CPU, MemoryMiB: task.MemoryMiB, GPUs: pinnedGPUs(task)},
		TaskRoleARN:      task.TaskRoleARN,
		ExecutionRoleARN: task.ExecutionRoleARN,
		Tags: map[string]string{
			cloud.TagCluster:  r.ClusterID,
			cloud.TagRegion:   region.Name,
			cloud.TagAMI:      ami.Name,
			cloud.TagRevision: row.ID,
		},
	}
	for _, tag := range region.Spec.Tags {
		def.Tags[tag.Key] = ptr.Deref(tag.Value, "")
	}
	for _, port := range task.Ports {
		def.Ports = append(def.Ports, cloud.Port{
			ContainerPort: port.ContainerPort, Protocol: strings.ToLower(string(port.Protocol)),
		})
	}
	if len(task.Env) > 0 {
		def.Env = map[string]string{}
		for _, env := range task.Env {
			def.Env[env.Name] = ptr.Deref(env.Value, "")
		}
	}
	if check := task.HealthCheck; check != nil {
		def.HealthCheck = &cloud.HealthCheck{
			Command: check.Command, Interval: check.IntervalSeconds, Timeout: check.TimeoutSeconds, Retries: check.Retries,
		}
	}
	if logging := task.Logging; logging != nil {
		def.LogDriver = logging.Driver
		def.LogOptions = map[string]string{}
		for _, option := range logging.Options {
			def.LogOptions[option.Name] = option.Value
		}
	}
	return def
}

// family makes an object's name fit for a family, which has letters, digits,
// hyphens and underscores. See
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html.
func family(name string) string { return strings.ReplaceAll(name, ".", "_") }
