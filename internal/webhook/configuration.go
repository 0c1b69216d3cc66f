// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"fmt"
	"net"
	"net/url"
	"strconv"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/yaml"

	manifests "github.com/mandelbox/mandelbox-operator/config/webhook"
)

// Names that the manifests in config/ use.
const (
	// ConfigurationName is the name of the ValidatingWebhookConfiguration.
	ConfigurationName = "mandelbox-operator"
	// DefaultNamespace is where the manager runs.
	DefaultNamespace = "mandelbox-system"
	// DefaultServiceName is the Service in front of the managers' webhook servers.
	DefaultServiceName = "mandelbox-operator-webhook"
	// DefaultSecretName is the Secret that holds the serving certificate.
	DefaultSecretName = "mandelbox-operator-webhook"
)

// LocalConfiguration returns the ValidatingWebhookConfiguration for a manager
// that runs outside the cluster: the one in config/webhook, with URLs of the
// given host and port in place of the Service. The host is a DNS name that the
// certificate is made out to (CertOptions.ExtraDNSNames), e.g. "localhost".
//
// It is created before the manager starts, without a CA: the manager fills it in.
func LocalConfiguration(host string, port int) *admissionregistrationv1.ValidatingWebhookConfiguration {
	var configuration admissionregistrationv1.ValidatingWebhookConfiguration
	if err := yaml.UnmarshalStrict(manifests.Manifest, &configuration); err != nil {
		// The manifest is part of the binary and a test reads it: this can't happen
		// in a build that passed them.
		panic(fmt.Sprintf("reading the embedded webhook configuration: %v", err))
	}
	for i := range configuration.Webhooks {
		clientConfig := &configuration.Webhooks[i].ClientConfig
		address := url.URL{Scheme: "https", Host: net.JoinHostPort(host, strconv.Itoa(port)), Path: *clientConfig.Service.Path}
		at := address.String()
		clientConfig.URL, clientConfig.Service = &at, nil
	}
	return &configuration
}
