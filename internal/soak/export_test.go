// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/checker"
)

// Nursery is a world in which bugs are planted one after the other.
type Nursery struct {
	world *world
}

const nurserySeed = 1

// ShortEndings have a soak end soon: its fleet is small.
func (o *Options) ShortEndings() {
	o.endings = endings{silence: 3 * time.Second, quiet: time.Minute, gone: 3 * time.Minute}
}

// NewNursery starts a world that has no fleet yet.
func NewNursery(ctx context.Context, command []string, log io.Writer) (*Nursery, error) {
	w, err := newWorld(ctx, nurserySeed, imagesOf(nurserySeed, nil), command, log)
	return &Nursery{world: w}, err
}

// Stop ends the world.
func (n *Nursery) Stop() error { return n.world.stop() }

// Plant plants a bug and returns the rules that the checker finds broken, as soon
// as the bug's own is among them, or after some time.
func (n *Nursery) Plant(ctx context.Context, name string) (expected string, found []checker.Violation, err error) {
	bug, err := findPlant(name)
	if err != nil {
		return "", nil, err
	}
	if bug.lawless {
		if err := n.world.removeRules(ctx); err != nil {
			return "", nil, err
		}
	}
	c := checker.New(checker.Options{
		ClusterID: string(n.world.plane.ClusterUID()), Settle: time.Second, Overlap: time.Second, OwnerGrace: 2 * time.Second,
	})
	f := startFeed(n.world, c)
	defer func() { err = errors.Join(err, f.stop()) }()
	if err := bug.run(ctx, n.world, f, c); err != nil {
		return bug.rule, c.Violations(), err
	}
	err = wait.PollUntilContextTimeout(ctx, lookInterval, 20*time.Second, true, func(context.Context) (bool, error) {
		for _, v := range c.Violations() {
			if v.Rule == bug.rule {
				return true, nil
			}
		}
		return false, nil
	})
	return bug.rule, c.Violations(), err
}

// Lawless says whether a bug leaves the API server without its rules for good.
func Lawless(name string) bool { return plants[name].lawless }

// Renew makes the fleet anew, without anything that a bug left behind.
func (n *Nursery) Renew(ctx context.Context) error {
	if err := n.world.manager.kill(); err != nil {
		return err
	}
	for _, list := range []client.ObjectList{&v1alpha1.MandelboxList{}, &v1alpha1.InstanceList{}, &v1alpha1.AMIList{}, &v1alpha1.RegionList{}} {
		if err := n.clear(ctx, list); err != nil {
			return err
		}
	}
	n.world.aws.Reset()
	return errors.Join(n.world.createFleet(ctx, nurserySeed, regionNames[:1]), n.world.manager.start())
}

// clear removes all objects of a kind, whoever holds them.
func (n *Nursery) clear(ctx context.Context, list client.ObjectList) error {
	if err := n.world.api.List(ctx, list); err != nil {
		return err
	}
	release := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
	return meta.EachListItem(list, func(item runtime.Object) error {
		o, ok := item.(client.Object)
		if !ok {
			return fmt.Errorf("%T is no object", item)
		}
		if err := n.world.api.Patch(ctx, o, release); err != nil {
			return client.IgnoreNotFound(err)
		}
		return client.IgnoreNotFound(n.world.api.Delete(ctx, o))
	})
}
