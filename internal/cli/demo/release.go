// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

const (
	// nextCommit is the client build of the release that the second act rolls out.
	nextCommit = "8b1e6f0d2c47"
	// enoughGuests is how many guests must have come and gone before the release,
	// and must have come after it took over.
	enoughGuests = 3
)

// release is the second act: a release rolls out while guests come and go and the
// sessions of the first act run on.
type release struct {
	channel string
	// old and next are the commit hashes.
	old, next string
	fleet     *fleet
	guests    *guests
	// cast are the sessions of the first act that ran when the second began.
	cast []string
	// applied is when the release was, generation the AMI's from then on.
	applied    time.Time
	generation int64
	// swapped is how long it took until the release was the active one.
	swapped time.Duration
}

// playRelease is the second act.
func (d *demo) playRelease(ctx context.Context) error {
	r := d.newRelease()
	d.screen.say("", "A release rolls out under load: guests come and go in "+strings.Join(d.samples.namespaces(), " and ")+", and commit "+r.next,
		"takes over AMI "+r.channel+" from "+r.old+". No session may be refused, and none lost.", "")
	d.act.Store(r)
	defer d.act.Store(nil)

	loaded, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := r.guests.arrive(loaded); err != nil {
			cancel(err)
		}
	}()
	err := d.rollOut(loaded, r)
	cancel(context.Canceled)
	<-ended
	if cause := context.Cause(loaded); err != nil && ctx.Err() == nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	if err != nil {
		return err
	}
	return d.review(ctx, r)
}

func (d *demo) newRelease() *release {
	fleet, channel := d.shown.Load(), d.samples.channels[0]
	r := &release{
		channel: channel.Name, old: channel.Spec.ClientCommitHash, next: nextCommit, fleet: fleet,
		guests: &guests{
			pace: d.pace, api: d.api, fleet: fleet, samples: d.samples, here: map[string]*guest{},
			tell: func(format string, args ...any) {
				if !d.screen.live() {
					d.tell(format, args...)
				}
			},
		},
	}
	for _, name := range d.samples.sessions {
		if fleet.session(name) != nil {
			r.cast = append(r.cast, name)
		}
	}
	return r
}

// rollOut has guests come, rolls the release out, and lets everybody leave but the
// first session of the first act.
func (d *demo) rollOut(ctx context.Context, r *release) error {
	for _, step := range []struct {
		doing, done string
		run         func(context.Context, *release) error
	}{
		{"Guests come and go", "Guests come and go", d.awaitGuests},
		{"Baking and applying the release", "Release applied", d.applyRelease},
		{"Rolling the release out", "Release rolled out", d.awaitRolledOut},
		{"Guests come and go on the release", "Guests on the release", d.awaitGuests},
		{"The users of act one leave, but one", "Act one's users left", d.dismiss},
		{"The last guests leave, and the old hosts with their sessions", "Old hosts left", d.awaitOldHostsLeft},
	} {
		if err := d.step(ctx, step.doing, step.done, func(ctx context.Context) error { return step.run(ctx, r) }); err != nil {
			return err
		}
	}
	return nil
}

// awaitGuests waits until some more guests have had their sessions.
func (d *demo) awaitGuests(ctx context.Context, r *release) error {
	before := r.guests.tally()
	return d.await(ctx, func() (bool, error) {
		now := r.guests.tally()
		return now.ran-before.ran >= enoughGuests && now.left-before.left >= enoughGuests, nil
	})
}

// applyRelease does what a release pipeline does: it has an image made in every
// region, and applies the AMI's manifest with them.
func (d *demo) applyRelease(ctx context.Context, r *release) error {
	manifest, err := d.samples.ofKind("AMI")
	if err != nil {
		return err
	}
	channel := &v1alpha1.AMI{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(manifest.Object, channel); err != nil {
		return fmt.Errorf("reading the manifest of AMI %s: %w", r.channel, err)
	}
	channel.Spec.ClientCommitHash = r.next
	channel.Spec.Task.Image = strings.ReplaceAll(channel.Spec.Task.Image, r.old, r.next)
	for i := range channel.Spec.Images {
		image := &channel.Spec.Images[i]
		if image.ImageID, err = d.bake(ctx, image.Region, r.channel+"-"+r.next); err != nil {
			return err
		}
	}
	next, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&channel.Spec)
	if err != nil {
		return fmt.Errorf("writing the manifest of AMI %s: %w", r.channel, err)
	}
	manifest = manifest.DeepCopy()
	if err := unstructured.SetNestedMap(manifest.Object, next, "spec"); err != nil {
		return fmt.Errorf("writing the manifest of AMI %s: %w", r.channel, err)
	}
	r.applied = time.Now()
	if err := d.apply(ctx, manifest); err != nil {
		return fmt.Errorf("applying the release to AMI %s: %w", r.channel, err)
	}
	if err := d.api.Get(ctx, client.ObjectKeyFromObject(channel), channel); err != nil {
		return fmt.Errorf("looking at AMI %s: %w", r.channel, err)
	}
	r.generation = channel.Generation
	return nil
}

// bake has EC2 make an image in a region, and returns its id.
func (d *demo) bake(ctx context.Context, name, image string) (string, error) {
	region := d.shown.Load().region(name)
	if region == nil {
		return "", fmt.Errorf("region %s has gone", name)
	}
	answer, err := d.aws.ec2(region).RegisterImage(ctx, &ec2.RegisterImageInput{Name: awssdk.String(image)})
	if err != nil {
		return "", fmt.Errorf("registering image %s in %s: %w", image, name, err)
	}
	return awssdk.ToString(answer.ImageId), nil
}

// awaitRolledOut waits until the AMI says that the release is RolledOut.
func (d *demo) awaitRolledOut(ctx context.Context, r *release) error {
	var last string
	err := d.await(ctx, func() (bool, error) {
		channel := r.fleet.channel(r.channel)
		if channel == nil {
			return false, fmt.Errorf("AMI %s has gone", r.channel)
		}
		last = rolloutLine(channel)
		if channel.Generation < r.generation || !answered(channel) {
			return false, nil
		}
		if meta.IsStatusConditionTrue(channel.Status.Conditions, v1alpha1.ConditionStalled) {
			return false, errors.New(why(channel.Status.Conditions, v1alpha1.ConditionStalled))
		}
		return meta.IsStatusConditionTrue(channel.Status.Conditions, v1alpha1.ConditionRolledOut), nil
	})
	if err != nil {
		return fmt.Errorf("rolling out %s: %w", last, err)
	}
	r.swapped = time.Since(r.applied)
	return nil
}

// dismiss has the users of the first act end their sessions, one after the other;
// the first of them stays.
func (d *demo) dismiss(ctx context.Context, r *release) error {
	for _, name := range r.cast[min(1, len(r.cast)):] {
		session := r.fleet.session(name)
		if session == nil {
			continue // Somebody has deleted it.
		}
		if err := client.IgnoreNotFound(d.api.Delete(ctx, session.DeepCopy())); err != nil {
			return fmt.Errorf("deleting session %s: %w", name, err)
		}
		if err := d.await(ctx, func() (bool, error) { return r.fleet.session(name) == nil, nil }); err != nil {
			return fmt.Errorf("waiting for session %s to go: %w", name, err)
		}
	}
	return nil
}

// awaitOldHostsLeft waits until all guests have left, and with them each host of
// the old release that has no session any more.
func (d *demo) awaitOldHostsLeft(ctx context.Context, r *release) error {
	r.guests.close()
	var missing []string
	err := d.await(ctx, func() (bool, error) {
		missing = r.fleet.unsettled(r.old)
		if here := r.guests.tally().here(); here > 0 {
			missing = append(missing, fmt.Sprintf("%d guests are here", here))
		}
		return len(missing) == 0, nil
	})
	if err != nil && len(missing) > 0 {
		err = fmt.Errorf("%w; what is missing:\n  %s", err, strings.Join(missing, "\n  "))
	}
	return err
}
