// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// onEveryReplica runs what doesn't wait for leadership.
type onEveryReplica struct{ manager.Runnable }

// NeedLeaderElection is false: every replica serves the webhooks.
func (onEveryReplica) NeedLeaderElection() bool { return false }

// certificateFiles keeps the files of the webhook server equal to the Secret.
// A mounted Secret would do the same in a cluster, up to a minute later, and only
// there. See https://kubernetes.io/docs/concepts/configuration/secret/#mounted-secrets-are-updated-automatically.
type certificateFiles struct {
	reader   client.Reader
	dir      string
	rollover *rollover
}

// Reconcile writes the files anew when the Secret has another certificate, and
// replaces the CA when that is due.
func (f *certificateFiles) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var secret corev1.Secret
	if err := f.reader.Get(ctx, request.NamespacedName, &secret); err != nil {
		// Without the Secret the last certificate stays good for what is left of it.
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if err := writeCertificate(f.dir, &secret); err != nil {
		return reconcile.Result{}, err
	}
	again, err := f.rollover.step(ctx, &secret)
	return reconcile.Result{RequeueAfter: again}, err
}

// addCertificateFiles lets the manager follow the Secret, through a cache of its
// own that sees this namespace alone: the manager may read no other's Secrets.
func addCertificateFiles(mgr ctrl.Manager, options CertOptions, rotation *rotator.CertRotator) error {
	secrets, err := cache.New(mgr.GetConfig(), cache.Options{
		Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient(),
		DefaultNamespaces: map[string]cache.Config{options.Namespace: {}},
	})
	if err != nil {
		return fmt.Errorf("making a cache of namespace %s: %w", options.Namespace, err)
	}
	files := &certificateFiles{reader: secrets, dir: options.CertDir, rollover: &rollover{
		reader: secrets, writer: mgr.GetClient(), rotation: rotation, options: options,
	}}
	follow, err := controller.NewUnmanaged("webhook-certificate", controller.Options{
		Reconciler: files, Logger: mgr.GetLogger(),
		SkipNameValidation: ptr.To(true), // A process may hold several managers, as tests do.
	})
	if err != nil {
		return fmt.Errorf("making the controller of the certificate files: %w", err)
	}
	ours := func(_ context.Context, secret *corev1.Secret) []reconcile.Request {
		if client.ObjectKeyFromObject(secret) != options.secretKey() {
			return nil
		}
		return []reconcile.Request{{NamespacedName: options.secretKey()}}
	}
	if err := follow.Watch(source.Kind(secrets, &corev1.Secret{}, handler.TypedEnqueueRequestsFromMapFunc(ours))); err != nil {
		return fmt.Errorf("watching Secret %s: %w", options.secretKey(), err)
	}
	if err := errors.Join(mgr.Add(onEveryReplica{secrets}), mgr.Add(onEveryReplica{follow})); err != nil {
		return fmt.Errorf("adding the controller of the certificate files: %w", err)
	}
	return nil
}

// writeCertificate writes tls.key and tls.crt of the Secret into the folder, if
// they differ. The server, which reads both whenever one changes, keeps its
// certificate while only the key is new.
func writeCertificate(dir string, secret *corev1.Secret) error {
	if len(secret.Data[certificateKey]) == 0 || len(secret.Data[privateKeyKey]) == 0 {
		return nil // Someone emptied the Secret; the rotation is about to fill it.
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the folder of the webhook certificate: %w", err)
	}
	for _, name := range []string{privateKeyKey, certificateKey} {
		if err := replaceFile(filepath.Join(dir, name), secret.Data[name]); err != nil {
			return fmt.Errorf("writing the webhook certificate: %w", err)
		}
	}
	return nil
}

// replaceFile gives the file its content in one step, so that no reader sees half of it.
func replaceFile(path string, content []byte) error {
	existing, err := os.ReadFile(path) //nolint:gosec // The folder is a flag of whoever runs the manager.
	if err == nil && bytes.Equal(existing, content) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	next := path + ".next"
	if err := os.WriteFile(next, content, 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}
