// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package checker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

const (
	// watchTimeout is when the API server ends a watch, in seconds: often enough
	// that to continue one is nothing special.
	watchTimeout = 45
	// resumePause is the time before a watch that could not be begun is tried again.
	resumePause = 100 * time.Millisecond
)

// Follow lists the four kinds, one after the other and Mandelboxes last, and passes on
// what is there, and then every version of each from exactly there on, until ctx is
// done. A watch that ends is continued from the last version seen and never from a new
// list, so that no version is passed over; it is an error if the API server can't do
// that any more.
func Follow(ctx context.Context, c client.WithWatch, out chan<- Version) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kinds := []func() client.ObjectList{
		func() client.ObjectList { return &v1alpha1.RegionList{} },
		func() client.ObjectList { return &v1alpha1.AMIList{} },
		func() client.ObjectList { return &v1alpha1.InstanceList{} },
		func() client.ObjectList { return &v1alpha1.MandelboxList{} },
	}
	var following errgroup.Group
	for _, newList := range kinds {
		at, err := passOn(ctx, c, newList(), out)
		if err != nil {
			cancel()
			return errors.Join(err, following.Wait())
		}
		following.Go(func() error {
			defer cancel() // One that ends without the context has failed.
			return followKind(ctx, c, newList, at, out)
		})
	}
	return following.Wait()
}

// passOn passes on what a list of a kind has, and returns its version. When ctx is
// done it may have passed on less.
func passOn(ctx context.Context, c client.WithWatch, list client.ObjectList, out chan<- Version) (string, error) {
	if err := c.List(ctx, list); err != nil {
		if ctx.Err() != nil {
			return "", nil
		}
		return "", fmt.Errorf("listing %T: %w", list, err)
	}
	at := list.GetResourceVersion()
	return at, meta.EachListItem(list, func(item runtime.Object) error {
		object, ok := item.(client.Object)
		if !ok {
			return fmt.Errorf("%T is no object", item)
		}
		send(ctx, out, Version{Object: object, Listed: at})
		return nil
	})
}

// followKind passes on every version of a kind after a list of it.
func followKind(ctx context.Context, c client.WithWatch, newList func() client.ObjectList, at string, out chan<- Version) error {
	for ctx.Err() == nil {
		list := newList()
		next, err := followFrom(ctx, c, list, at, out)
		if err != nil {
			return fmt.Errorf("watching %T from version %s: %w", list, next, err)
		}
		at = next
	}
	return nil
}

// followFrom watches from a version until the watch ends, and returns the last
// version seen.
func followFrom(ctx context.Context, c client.WithWatch, list client.ObjectList, at string, out chan<- Version) (string, error) {
	timeout := int64(watchTimeout)
	w, err := c.Watch(ctx, list, &client.ListOptions{Raw: &metav1.ListOptions{
		ResourceVersion: at, AllowWatchBookmarks: true, TimeoutSeconds: &timeout,
	}})
	switch {
	case ctx.Err() != nil:
		return at, nil
	case apierrors.IsResourceExpired(err), apierrors.IsGone(err):
		return at, fmt.Errorf("versions were missed: %w", err)
	case err != nil:
		select {
		case <-ctx.Done():
		case <-time.After(resumePause):
		}
		return at, nil
	}
	defer context.AfterFunc(ctx, w.Stop)()
	defer w.Stop()
	for event := range w.ResultChan() {
		if event.Type == watch.Error {
			err := apierrors.FromObject(event.Object)
			if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
				return at, fmt.Errorf("versions were missed: %w", err)
			}
			return at, nil // Any other end of a watch is continued.
		}
		object, ok := event.Object.(client.Object)
		if !ok {
			return at, fmt.Errorf("%T is no object", event.Object)
		}
		at = object.GetResourceVersion()
		if event.Type == watch.Bookmark {
			continue
		}
		send(ctx, out, Version{Object: object, Deleted: event.Type == watch.Deleted})
	}
	return at, nil
}

// send passes a version on, unless ctx is done.
func send(ctx context.Context, out chan<- Version, v Version) {
	select {
	case out <- v:
	case <-ctx.Done():
	}
}
