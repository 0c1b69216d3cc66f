// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/config/crd"
	"github.com/mandelbox/mandelbox-operator/controllers"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	cloudaws "github.com/mandelbox/mandelbox-operator/internal/cloud/aws"
	"github.com/mandelbox/mandelbox-operator/internal/controlplane"
	"github.com/mandelbox/mandelbox-operator/internal/freeport"
	"github.com/mandelbox/mandelbox-operator/internal/webhook"
)

const (
	// fieldOwner is who applies the samples.
	fieldOwner = client.FieldOwner("mandelbox-demo")
	// sessionsPerUser is the manager's limit.
	sessionsPerUser = 3
	pollInterval    = 100 * time.Millisecond
	// The local AWS answers at once and shows what it did, so that the manager may
	// look more often, and trust what it sees sooner, than with the real one.
	listInterval = 2 * time.Second
	hotInterval  = 250 * time.Millisecond
	gracePeriod  = 3 * time.Second
)

// startControlPlane starts a Kubernetes API that serves the four kinds.
func (d *demo) startControlPlane(ctx context.Context) error {
	crds, err := crd.Definitions()
	if err != nil {
		return err
	}
	// Stopping in order needs the API after ctx is done.
	plane, stopEarly, err := startPlane(ctx, controlplane.Options{AssetsDir: d.AssetsDir, CRDs: crds})
	if err != nil {
		return err
	}
	d.plane = plane
	d.stops = append(d.stops, stop{"etcd and kube-apiserver", func() error {
		return errors.Join(d.log.close(), plane.Stop())
	}})
	stopEarly()
	path := filepath.Join(plane.Dir(), "manager.log")
	if err := d.log.open(path); err != nil {
		return err
	}
	if d.Verbose {
		d.tell("The manager's log: %s", path)
	}
	d.api, err = client.New(plane.Config(), client.Options{Scheme: controllers.NewScheme()})
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	return nil
}

// startPlane starts a control plane that outlives ctx, unless ctx ends before it
// has started. The function it returns releases ctx.
func startPlane(ctx context.Context, options controlplane.Options) (*controlplane.ControlPlane, func(), error) {
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	detach := context.AfterFunc(ctx, cancel)
	plane, err := controlplane.Start(lasting, options)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return plane, func() { detach() }, nil
}

// startManager runs the operator in this process, and waits until the API server
// can call its webhooks.
func (d *demo) startManager(ctx context.Context) error {
	port, err := freeport.Find(ctx)
	if err != nil {
		return err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: webhook.DefaultNamespace}}
	validating, mutating := webhook.LocalConfigurations("localhost", port)
	for _, object := range []client.Object{namespace, validating, mutating} {
		if err := d.api.Create(ctx, object); err != nil {
			return fmt.Errorf("creating %T %s: %w", object, object.GetName(), err)
		}
	}
	provider, err := cloudaws.New(ctx, cloudaws.Options{Config: d.aws.configOf(managerCredential), UserAgent: "mandelbox-demo"})
	if err != nil {
		return fmt.Errorf("preparing for the local AWS: %w", err)
	}
	config, err := d.managerConfig(ctx, d.plane)
	if err != nil {
		return fmt.Errorf("finding out who the manager is: %w", err)
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	mgr, err := controllers.NewManager(running, config, controllers.Options{
		Cloud: provider,
		Observer: cloud.ObserverOptions{
			ListInterval: listInterval, HotInterval: hotInterval, GracePeriod: gracePeriod, Log: ctrl.Log.WithName("observer"),
		},
		MandelboxesPerUser: sessionsPerUser, MetricsAddress: "0", ProbeAddress: "0", Log: ctrl.Log,
		Webhooks: &controllers.WebhookOptions{
			Host: "localhost", Port: port, OwnCertificates: true,
			Certificates: webhook.CertOptions{CertDir: filepath.Join(d.plane.Dir(), "webhook"), ExtraDNSNames: []string{"localhost"}},
		},
	})
	if err != nil {
		cancel()
		return err
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		d.ended <- mgr.Start(running)
	}()
	d.stops = append(d.stops, stop{"the manager", func() error {
		cancel()
		<-stopped
		return d.managerError()
	}})
	return d.awaitWebhooks(ctx)
}

// managerError is what the manager ended with, unless somebody was told already.
func (d *demo) managerError() error {
	select {
	case err := <-d.ended:
		return err
	default:
		return nil
	}
}

// awaitWebhooks waits until a webhook answers: the API server must have its CA
// first, which the manager puts into the webhook configuration.
func (d *demo) awaitWebhooks(ctx context.Context) error {
	probe, err := d.samples.ofKind("Region")
	if err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		select {
		case err := <-d.ended:
			return false, managerEnded(err)
		default:
		}
		last = d.apply(ctx, probe, client.DryRunAll)
		if last != nil && !strings.Contains(last.Error(), "failed calling webhook") {
			return false, last
		}
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the webhooks: %w", errors.Join(err, last))
	}
	return nil
}

// applySamples watches the fleet and applies the samples.
func (d *demo) applySamples(ctx context.Context) error {
	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	tell := func(string) {}
	if !d.screen.live() {
		tell = func(line string) { d.tell("%s", line) }
	}
	fleet, wait, err := watchFleet(watching, d.plane.Config(), tell)
	if err != nil {
		cancel()
		return err
	}
	d.stops = append(d.stops, stop{"the watches", func() error {
		cancel()
		return wait()
	}})
	d.shown.Store(fleet)
	for _, object := range d.samples.objects {
		if err := d.apply(ctx, object); err != nil {
			return fmt.Errorf("applying %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

func (d *demo) apply(ctx context.Context, object *unstructured.Unstructured, options ...client.ApplyOption) error {
	return d.api.Apply(ctx, client.ApplyConfigurationFromUnstructured(object.DeepCopy()), append(options, fieldOwner, client.ForceOwnership)...)
}
