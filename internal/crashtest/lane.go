// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crashtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/config/crd"
	"github.com/mandelbox/mandelbox-operator/controllers"
	"github.com/mandelbox/mandelbox-operator/internal/controlplane"
)

// lane is a control plane with the proxies before it and before AWS. It plays one
// trial at a time: the kinds are cluster-wide.
type lane struct {
	plane     *controlplane.ControlPlane
	api       client.WithWatch
	server    *url.URL
	transport http.RoundTripper
	// kubeconfig is a file that leads to the proxy; awsEndpoint is the other proxy.
	kubeconfig, awsEndpoint string

	current atomic.Pointer[trial]
	// calls are those that the proxies have begun to serve.
	calls sync.WaitGroup
	stops []func() error
}

// tenant is the namespace of the sessions.
const tenant = "tenant"

// openLane starts a control plane and the proxies.
func openLane(ctx context.Context) (_ *lane, err error) {
	l := &lane{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if err := l.startPlane(ctx); err != nil {
		return nil, err
	}
	kube, err := l.serve(ctx, (*trial).serveKube)
	if err != nil {
		return nil, err
	}
	if l.awsEndpoint, err = l.serve(ctx, (*trial).serveAWS); err != nil {
		return nil, err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["proxy"] = &clientcmdapi.Cluster{Server: kube}
	config.Contexts["proxy"] = &clientcmdapi.Context{Cluster: "proxy"}
	config.CurrentContext = "proxy"
	l.kubeconfig = filepath.Join(l.plane.Dir(), "proxy-kubeconfig")
	if err := clientcmd.WriteToFile(*config, l.kubeconfig); err != nil {
		return nil, fmt.Errorf("writing the kubeconfig of the proxy: %w", err)
	}
	if err := l.api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tenant}}); err != nil {
		return nil, fmt.Errorf("creating namespace %s: %w", tenant, err)
	}
	return l, nil
}

// startPlane starts a control plane with the CRDs, and makes clients.
func (l *lane) startPlane(ctx context.Context) error {
	crds, err := crd.Definitions()
	if err != nil {
		return err
	}
	l.plane, err = controlplane.Start(context.WithoutCancel(ctx), controlplane.Options{CRDs: crds})
	if err != nil {
		return err
	}
	l.stops = append(l.stops, l.plane.Stop)
	config := l.plane.Config()
	if l.api, err = client.NewWithWatch(config, client.Options{Scheme: controllers.NewScheme()}); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	if l.transport, err = rest.TransportFor(config); err != nil {
		return fmt.Errorf("making the proxy's transport: %w", err)
	}
	if l.server, _, err = rest.DefaultServerUrlFor(config); err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	return nil
}

// serve has the trial under way serve what comes in on a port of its own.
func (l *lane) serve(ctx context.Context, serve func(*trial, http.ResponseWriter, *http.Request)) (endpoint string, err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listening for the manager: %w", err)
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, ErrorLog: silent, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.calls.Add(1)
		defer l.calls.Done()
		t := l.current.Load()
		if t == nil {
			panic(http.ErrAbortHandler) // The last words of a manager that is dead.
		}
		serve(t, w, r)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	l.stops = append(l.stops, func() error {
		err := server.Close()
		if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
		return err
	})
	return "http://" + listener.Addr().String(), nil
}

// close ends all there is, the last started first.
func (l *lane) close() error {
	var errs []error
	for i := len(l.stops) - 1; i >= 0; i-- {
		errs = append(errs, l.stops[i]())
	}
	l.stops = nil
	return errors.Join(errs...)
}

// clear removes all objects, whoever holds them.
func (l *lane) clear(ctx context.Context) error {
	release := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
	for _, list := range []client.ObjectList{&v1alpha1.MandelboxList{}, &v1alpha1.InstanceList{}, &v1alpha1.AMIList{}, &v1alpha1.RegionList{}} {
		if err := l.api.List(ctx, list); err != nil {
			return fmt.Errorf("listing what is left: %w", err)
		}
		err := meta.EachListItem(list, func(item runtime.Object) error {
			o, ok := item.(client.Object)
			if !ok {
				return fmt.Errorf("%T is no object", item)
			}
			if err := l.api.Patch(ctx, o, release); err != nil {
				return client.IgnoreNotFound(err)
			}
			return client.IgnoreNotFound(l.api.Delete(ctx, o))
		})
		if err != nil {
			return fmt.Errorf("removing what is left: %w", err)
		}
	}
	return nil
}
