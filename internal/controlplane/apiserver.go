// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// AddAPIServer starts a further kube-apiserver on the same etcd, as a control plane
// that is highly available has several, and returns the administrator's client
// configuration for it when it is ready. It serves what the first one does, from a
// watch cache of its own, and stops with the control plane.
func (p *ControlPlane) AddAPIServer(ctx context.Context) (*rest.Config, error) {
	name := fmt.Sprintf("kube-apiserver-%d", len(p.more)+2)
	dir := filepath.Join(p.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("laying out the folder of %s: %w", name, err)
	}
	path, err := p.processes.launcher(name, p.apiServer)
	if err != nil {
		return nil, err
	}
	output := newOutput(nil)
	server := &envtest.APIServer{
		Path: path, CertDir: dir, Out: output, Err: output, EtcdURL: p.envtest.Etcd.URL,
		StartTimeout: startTimeout, StopTimeout: stopTimeout,
	}
	p.more = append(p.more, server)
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w; its last words were:\n%s", name, err, output.tail())
	}
	config, err := server.Authn.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, unlimited())
	if err != nil {
		return nil, fmt.Errorf("adding the administrator of %s: %w", name, err)
	}
	config.Host, config.CAData = server.SecureServing.URL("https", "/").String(), server.CA
	if _, err := ready(ctx, config); err != nil {
		return nil, fmt.Errorf("waiting for %s: %w", name, err)
	}
	return config, nil
}

// stopMore ends the further API servers.
func (p *ControlPlane) stopMore() error {
	var errs []error
	for _, server := range p.more {
		errs = append(errs, server.Stop())
	}
	return errors.Join(errs...)
}
