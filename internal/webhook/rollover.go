// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// rolloverBefore is how long before its end a CA is replaced: well before the
	// rotator, which would trust the new one and forget the old one in one step, does.
	rolloverBefore = 2 * renewBefore
	// rolloverPoll is how often the configuration is looked at meanwhile.
	rolloverPoll = time.Second
	// nextCAPrivateKey holds the key of a CA that is announced and not in use yet.
	nextCAPrivateKey = "next-ca.key"
)

// rollover replaces the CA in two steps, so that at no moment a certificate is served
// that an API server doesn't trust. First the new CA is put beside the old one in the
// Secret's ca.crt, from where the rotator copies both into the webhook configuration.
// When they have been there for a while, a certificate of the new one is served. The
// Secret holds how far it is, so that any replica goes on from there.
type rollover struct {
	reader   client.Reader
	writer   client.Writer
	rotation *rotator.CertRotator
	options  CertOptions
	// trustedSince is when the API server was first seen to have both CAs.
	trustedSince time.Time
}

// step does what is due of the rollover, and returns when to look again.
func (r *rollover) step(ctx context.Context, secret *corev1.Secret) (time.Duration, error) {
	ca, err := currentCA(secret)
	if err != nil {
		return 0, nil // The Secret has none that is of use; the rotator is about to make one.
	}
	if len(secret.Data[nextCAPrivateKey]) > 0 {
		return r.takeOver(ctx, secret)
	}
	r.trustedSince = time.Time{}
	now := r.options.Clock.Now()
	if wait := ca.Cert.NotAfter.Add(-rolloverBefore).Sub(now); wait > 0 {
		return wait, nil
	}
	next, err := r.rotation.CreateCACert(time.Now().Add(-clockSkew), now.Add(r.rotation.CaCertDuration))
	if err != nil {
		return 0, fmt.Errorf("making the next CA: %w", err)
	}
	announced := secret.DeepCopy()
	announced.Data[caKey] = slices.Concat(firstCertificate(ca.CertPEM), next.CertPEM)
	announced.Data[nextCAPrivateKey] = next.KeyPEM
	return rolloverPoll, r.write(ctx, announced, "announcing the next CA")
}

// takeOver serves a certificate of the next CA, once the API server has known it for
// as long as the options say.
func (r *rollover) takeOver(ctx context.Context, secret *corev1.Secret) (time.Duration, error) {
	trusted, err := r.trusted(ctx, secret.Data[caKey])
	if err != nil {
		return 0, err
	}
	switch {
	case !trusted:
		r.trustedSince = time.Time{}
		return rolloverPoll, nil
	case r.trustedSince.IsZero():
		r.trustedSince = time.Now()
	}
	if wait := time.Until(r.trustedSince.Add(r.options.Overlap)); wait > 0 {
		return min(wait, rolloverPoll), nil
	}
	old := firstCertificate(secret.Data[caKey])
	taken := secret.DeepCopy()
	taken.Data[caKey] = slices.Concat(bytes.TrimPrefix(secret.Data[caKey], old), old)
	taken.Data[caPrivateKey] = secret.Data[nextCAPrivateKey]
	delete(taken.Data, nextCAPrivateKey)
	ca, err := currentCA(taken)
	if err != nil {
		return 0, fmt.Errorf("reading the next CA: %w", err)
	}
	if err := fill(taken, r.rotation, ca); err != nil {
		return 0, err
	}
	return 0, r.write(ctx, taken, "taking the next CA into use")
}

// trusted says whether every webhook of the configurations has these CAs. The one that
// changes objects may be absent: sessions start without.
func (r *rollover) trusted(ctx context.Context, bundle []byte) (bool, error) {
	key := client.ObjectKey{Name: r.options.ConfigurationName}
	var validating admissionregistrationv1.ValidatingWebhookConfiguration
	if err := r.reader.Get(ctx, key, &validating); err != nil {
		return false, fmt.Errorf("reading ValidatingWebhookConfiguration %s: %w", key.Name, err)
	}
	var mutating admissionregistrationv1.MutatingWebhookConfiguration
	if err := r.reader.Get(ctx, key, &mutating); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading MutatingWebhookConfiguration %s: %w", key.Name, err)
	}
	for _, hook := range validating.Webhooks {
		if !bytes.Equal(hook.ClientConfig.CABundle, bundle) {
			return false, nil
		}
	}
	for _, hook := range mutating.Webhooks {
		if !bytes.Equal(hook.ClientConfig.CABundle, bundle) {
			return false, nil
		}
	}
	return true, nil
}

// write updates the Secret, unless another replica was first.
func (r *rollover) write(ctx context.Context, secret *corev1.Secret, what string) error {
	err := r.writer.Update(ctx, secret, client.FieldOwner(r.rotation.FieldOwner))
	if err != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("%s in Secret %s: %w", what, client.ObjectKeyFromObject(secret), err)
	}
	return nil
}

// firstCertificate is the first block of a bundle: the CA that signs.
func firstCertificate(bundle []byte) []byte {
	_, rest := pem.Decode(bundle)
	return bundle[:len(bundle)-len(rest)]
}

// currentCA reads the CA that signs, with what of others is beside it.
func currentCA(secret *corev1.Secret) (*rotator.KeyPairArtifacts, error) {
	certificate, _ := pem.Decode(secret.Data[caKey])
	key, _ := pem.Decode(secret.Data[caPrivateKey])
	if certificate == nil || key == nil {
		return nil, errors.New("the Secret has no CA")
	}
	parsed, err := x509.ParseCertificate(certificate.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parsing the CA: %w", err)
	}
	private, err := x509.ParsePKCS1PrivateKey(key.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parsing the key of the CA: %w", err)
	}
	return &rotator.KeyPairArtifacts{
		Cert: parsed, Key: private, CertPEM: secret.Data[caKey], KeyPEM: secret.Data[caPrivateKey],
	}, nil
}

// fill puts a new certificate of the CA into the Secret.
func fill(secret *corev1.Secret, rotation *rotator.CertRotator, ca *rotator.KeyPairArtifacts) error {
	begin := time.Now().Add(-clockSkew)
	certificate, key, err := rotation.CreateCertPEM(ca, begin, begin.Add(rotation.ServerCertDuration))
	if err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	secret.Data[certificateKey], secret.Data[privateKeyKey] = certificate, key
	secret.Data[caKey], secret.Data[caPrivateKey] = ca.CertPEM, ca.KeyPEM
	return nil
}
