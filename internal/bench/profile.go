// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/mandelbox/mandelbox-operator/internal/freeport"
)

// processorProfile is where a processor profile of profileSeconds is served.
const (
	profileSeconds   = 5
	processorProfile = "/debug/pprof/profile?seconds=5"
)

// profileAddress is where the next manager serves its profiles; empty for nowhere.
func (w *world) profileAddress(ctx context.Context) (string, error) {
	w.profilePort = 0
	if w.Profiles == "" {
		return "", nil
	}
	port, err := freeport.Find(ctx)
	if err != nil {
		return "", err
	}
	w.profilePort = port
	return fmt.Sprintf("127.0.0.1:%d", port), nil
}

// profile takes processor profiles of the newest manager and of the API server from
// now on, and a heap profile of the manager when they are taken, if profiles are asked for. The function it returns waits for their end.
func (w *world) profile(ctx context.Context, name string) func() error {
	if w.profilePort == 0 {
		return func() error { return nil }
	}
	file := func(of string) string {
		return filepath.Join(w.Profiles, fmt.Sprintf("%s-%s-%s.pprof", w.name, name, of))
	}
	config := w.plane.Config()
	apiServer, err := rest.HTTPClientFor(config)
	if err != nil {
		return func() error { return fmt.Errorf("making a client for profiles: %w", err) }
	}
	var taken errgroup.Group
	taken.Go(func() error {
		return download(ctx, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d%s", w.profilePort, processorProfile), file("manager"))
	})
	taken.Go(func() error {
		return download(ctx, apiServer, strings.TrimSuffix(config.Host, "/")+processorProfile, file("apiserver"))
	})
	return func() error {
		if err := taken.Wait(); err != nil {
			return err
		}
		return download(ctx, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/heap", w.profilePort), file("heap"))
	}
}

// download writes the profile that a server serves to a file.
func download(ctx context.Context, client *http.Client, url, path string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*profileSeconds*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("asking for a profile: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("asking for a profile: %w", err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing a profile: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := io.Copy(file, response.Body); err != nil {
		return fmt.Errorf("writing a profile: %w", err)
	}
	return nil
}
