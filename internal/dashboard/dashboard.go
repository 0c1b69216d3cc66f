// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package dashboard serves a read-only page that shows a fleet live, to one person
// on their own machine.
//
// A Feed holds the fleet as small pieces and gives each page what has changed since
// it last looked, as server-sent events. A guard answers nobody but a page of this
// very server. The package knows the model of internal/view, and neither how
// objects are read nor with whose credentials.
package dashboard

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// headerTimeout is how long a browser on the same machine may take to ask.
	headerTimeout = 5 * time.Second
	// shutdownTimeout is what pages get to take leave.
	shutdownTimeout = time.Second
)

// Options are what is shown, of which cluster, and where.
type Options struct {
	// Source is where the objects come from.
	Source Source
	// Cluster is what the page calls the cluster, e.g. the kubeconfig's context.
	Cluster string
	// Listener is where the page is served; its address must be of this machine alone.
	Listener net.Listener
}

// Dashboard is a page that is about to be served.
type Dashboard struct {
	feed     *Feed
	listener net.Listener
	guard    *guard
}

// New returns the dashboard of a fleet, at an address that nobody can guess.
func New(o Options) (*Dashboard, error) {
	address, ok := o.Listener.Addr().(*net.TCPAddr)
	if !ok || !address.IP.IsLoopback() {
		return nil, fmt.Errorf("the dashboard is for this machine alone, and %s is not", o.Listener.Addr())
	}
	feed := NewFeed(o.Source, o.Cluster)
	guard := &guard{pages: pages(feed), port: strconv.Itoa(address.Port), token: rand.Text(), ticket: rand.Text()}
	return &Dashboard{feed: feed, listener: o.Listener, guard: guard}, nil
}

// URL is where the page is. It holds the secret that opens it.
func (d *Dashboard) URL() string { return d.guard.origin() + "/" + d.guard.token + "/" }

// TicketURL leads to the page once. It is for the command line of a browser, which
// everybody on this machine can read.
func (d *Dashboard) TicketURL() string { return d.guard.origin() + "/" + d.guard.ticket }

// Serve serves the page until the context ends.
func (d *Dashboard) Serve(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	server := &http.Server{
		Handler:           d.guard,
		ReadHeaderTimeout: headerTimeout,
		// Pages that listen must not hold the end up.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	group.Go(func() error { return d.feed.Run(ctx) })
	group.Go(func() error {
		if err := server.Serve(d.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving the dashboard: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := server.Shutdown(leave); err != nil {
			return server.Close()
		}
		return nil
	})
	return group.Wait()
}
