// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"crypto/x509"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// +kubebuilder:rbac:groups="",resources=secrets,namespace=mandelbox-system,verbs=list;watch;create
// +kubebuilder:rbac:groups="",resources=secrets,resourceNames=mandelbox-operator-webhook,namespace=mandelbox-system,verbs=get;update
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingwebhookconfigurations;mutatingwebhookconfigurations,verbs=list;watch
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingwebhookconfigurations;mutatingwebhookconfigurations,resourceNames=mandelbox-operator,verbs=update

const (
	caLifetime          = 10 * 365 * 24 * time.Hour
	certificateLifetime = 365 * 24 * time.Hour
	// renewBefore is how long before its end a certificate is renewed.
	renewBefore = 90 * 24 * time.Hour
	// clockSkew is how far an API server's clock may be behind ours.
	clockSkew = time.Hour
	// overlap is for API servers that hear late of a changed configuration.
	overlap = time.Minute
)

// The keys of the Secret, which are those of a kubernetes.io/tls Secret made by
// cert-manager; ca.key is the rotator's own, and nextCAPrivateKey ours.
const (
	certificateKey = corev1.TLSCertKey
	privateKeyKey  = corev1.TLSPrivateKeyKey
	caKey          = "ca.crt"
	caPrivateKey   = "ca.key"
)

// CertOptions say whom the serving certificate is for and where it is kept. A
// field that is empty takes the name that config/ uses.
type CertOptions struct {
	// Namespace holds the Secret and the Service.
	Namespace string
	// SecretName is the Secret that all replicas share; it is made if it is absent.
	SecretName string
	// ServiceName is the Service that the API server calls.
	ServiceName string
	// CertDir is a folder that only this manager writes to, and that its webhook
	// server reads tls.crt and tls.key from. Required.
	CertDir string
	// ExtraDNSNames are further names the API server may use, e.g. "localhost".
	ExtraDNSNames []string
	// ConfigurationName is the name of the ValidatingWebhookConfiguration and of the
	// MutatingWebhookConfiguration that get the CA.
	ConfigurationName string
	// Overlap is how long every API server gets to hear of a new CA before a
	// certificate of it is served; 1m by default.
	Overlap time.Duration
	// Clock says when a CA is due for replacement; it is the real one outside of tests.
	Clock clock.PassiveClock
}

func (o CertOptions) withDefaults() CertOptions {
	for value, fallback := range map[*string]string{
		&o.Namespace: DefaultNamespace, &o.SecretName: DefaultSecretName,
		&o.ServiceName: DefaultServiceName, &o.ConfigurationName: ConfigurationName,
	} {
		if *value == "" {
			*value = fallback
		}
	}
	if o.Overlap == 0 {
		o.Overlap = overlap
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return o
}

func (o CertOptions) secretKey() types.NamespacedName {
	return types.NamespacedName{Namespace: o.Namespace, Name: o.SecretName}
}

// AddCertificates lets the manager make its own serving certificate, keep it in a
// Secret, renew it 90 days before its end, replace its CA in good time (see rollover),
// and put that into the ValidatingWebhookConfiguration and the MutatingWebhookConfiguration.
// ready is closed once that was done, about a second or two after the manager has
// started: until then the API server can't call the webhooks. It needs no leader: each
// replica serves, and whoever finds the certificate old renews it.
//
// The first certificate is in CertDir when AddCertificates returns, so that the
// webhook server can be registered at once. The namespace must exist.
func AddCertificates(ctx context.Context, mgr ctrl.Manager, options CertOptions, ready chan struct{}) error {
	options = options.withDefaults()
	rotation := options.rotator(ready)
	secret, err := ensureCertificate(ctx, mgr, options, rotation)
	if err != nil {
		return err
	}
	if err := writeCertificate(options.CertDir, secret); err != nil {
		return err
	}
	if err := addCertificateFiles(mgr, options, rotation); err != nil {
		return err
	}
	if err := rotator.AddRotator(mgr, rotation); err != nil {
		return fmt.Errorf("adding the rotation of the webhook certificate: %w", err)
	}
	return nil
}

// rotations counts the managers of this process that rotate certificates.
var rotations atomic.Int64

// rotationName tells them apart: controller-runtime refuses a controller's name
// that it has seen before in the process.
func rotationName() string {
	if number := rotations.Add(1); number > 1 {
		return fmt.Sprintf("webhook-ca-%d", number)
	}
	return "webhook-ca"
}

func (o CertOptions) rotator(ready chan struct{}) *rotator.CertRotator {
	return &rotator.CertRotator{
		SecretKey:          o.secretKey(),
		CertDir:            o.CertDir,
		CAName:             "mandelbox-operator-ca",
		CAOrganization:     "mandelbox-operator",
		DNSName:            o.ServiceName + "." + o.Namespace + ".svc",
		ExtraDNSNames:      o.ExtraDNSNames,
		IsReady:            ready,
		Webhooks:           []rotator.WebhookInfo{{Name: o.ConfigurationName, Type: rotator.Validating}, {Name: o.ConfigurationName, Type: rotator.Mutating}},
		FieldOwner:         "mandelbox-operator-certificates",
		ExtKeyUsages:       &[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		CaCertDuration:     caLifetime,
		ServerCertDuration: certificateLifetime,
		LookaheadInterval:  renewBefore,
		CertName:           certificateKey,
		KeyName:            privateKeyKey,
		ControllerName:     rotationName(),
	}
}

// ensureCertificate returns the Secret with a certificate that is good for every
// name, which it makes if there is none. Of several replicas that start at once
// one makes it; the others lose the write and take what they find then.
func ensureCertificate(ctx context.Context, mgr ctrl.Manager, options CertOptions, rotation *rotator.CertRotator) (*corev1.Secret, error) {
	var secret *corev1.Secret
	lost := func(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }
	err := retry.OnError(retry.DefaultBackoff, lost, func() error {
		secret = &corev1.Secret{}
		err := mgr.GetAPIReader().Get(ctx, options.secretKey(), secret)
		switch {
		case apierrors.IsNotFound(err):
			secret = &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: options.Namespace, Name: options.SecretName},
				Type:       corev1.SecretTypeTLS,
			}
			if err := issueCertificate(rotation, secret); err != nil {
				return err
			}
			return mgr.GetClient().Create(ctx, secret)
		case err != nil:
			return err
		case goodFor(secret, rotation):
			return nil
		}
		if err := issueCertificate(rotation, secret); err != nil {
			return err
		}
		return mgr.GetClient().Update(ctx, secret, client.FieldOwner(rotation.FieldOwner))
	})
	if err != nil {
		return nil, fmt.Errorf("making the webhook certificate in Secret %s: %w", options.secretKey(), err)
	}
	return secret, nil
}

// goodFor says whether the Secret's certificate is made out to every name and
// isn't due for renewal.
func goodFor(secret *corev1.Secret, rotation *rotator.CertRotator) bool {
	for _, name := range append([]string{rotation.DNSName}, rotation.ExtraDNSNames...) {
		good, err := rotator.ValidCert(secret.Data[caKey], secret.Data[certificateKey], secret.Data[privateKeyKey],
			name, rotation.ExtKeyUsages, time.Now().Add(rotation.LookaheadInterval))
		if err != nil || !good { // The error says why it isn't good, and a new one is the cure of all.
			return false
		}
	}
	return true
}

// issueCertificate fills the Secret with a new certificate: of its CA if that lasts,
// which the other replicas' certificates are of, else of a new one.
func issueCertificate(rotation *rotator.CertRotator, secret *corev1.Secret) error {
	ca, err := currentCA(secret)
	if err != nil || ca.Cert.NotAfter.Before(time.Now().Add(renewBefore)) {
		begin := time.Now().Add(-clockSkew)
		if ca, err = rotation.CreateCACert(begin, begin.Add(rotation.CaCertDuration)); err != nil {
			return fmt.Errorf("making a CA: %w", err)
		}
	}
	return fill(secret, rotation, ca)
}
