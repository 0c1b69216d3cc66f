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
	"time"
)

// profileSeconds is how long a processor profile is taken.
const profileSeconds = 5

// profileAddress is where the next manager serves its profiles; empty for nowhere.
func (w *world) profileAddress(ctx context.Context) (string, error) {
	w.profilePort = 0
	if w.Profiles == "" {
		return "", nil
	}
	port, err := freePort(ctx)
	if err != nil {
		return "", err
	}
	w.profilePort = port
	return fmt.Sprintf("127.0.0.1:%d", port), nil
}

// profile takes a processor profile of the newest manager from now on, if profiles
// are asked for. The function it returns waits for its end.
func (w *world) profile(ctx context.Context, name string) func() error {
	if w.profilePort == 0 {
		return func() error { return nil }
	}
	taken := make(chan error, 1)
	go func() {
		url := fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/profile?seconds=%d", w.profilePort, profileSeconds)
		taken <- download(ctx, url, filepath.Join(w.Profiles, fmt.Sprintf("%s-%s.pprof", w.name, name)))
	}()
	return func() error { return <-taken }
}

// download writes what a URL serves to a file.
func download(ctx context.Context, url, path string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*profileSeconds*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("asking for a profile: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
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
