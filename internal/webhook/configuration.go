// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/url"
	"reflect"
	"strconv"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/utils/ptr"
	sigsyaml "sigs.k8s.io/yaml"

	manifests "github.com/mandelbox/mandelbox-operator/config/webhook"
)

// Names that the manifests in config/ use.
const (
	// ConfigurationName is the name of the ValidatingWebhookConfiguration, and of the
	// MutatingWebhookConfiguration.
	ConfigurationName = "mandelbox-operator"
	// DefaultNamespace is where the manager runs.
	DefaultNamespace = "mandelbox-system"
	// DefaultServiceName is the Service in front of the managers' webhook servers.
	DefaultServiceName = "mandelbox-operator-webhook"
	// DefaultSecretName is the Secret that holds the serving certificate.
	DefaultSecretName = "mandelbox-operator-webhook"
)

// localTimeout is how many seconds the API server waits for a manager that shares a
// machine with it, and with what else is tried out or tested there.
const localTimeout = 30

// LocalConfigurations returns the configurations for a manager that runs outside the
// cluster: those in config/webhook, with URLs of the given host and port in place of
// the Service, and 30 seconds for each answer. The host is a DNS name that the certificate is made out to
// (CertOptions.ExtraDNSNames), e.g. "localhost".
//
// They are created before the manager starts, without a CA: the manager fills it in.
func LocalConfigurations(host string, port int) (*admissionregistrationv1.ValidatingWebhookConfiguration, *admissionregistrationv1.MutatingWebhookConfiguration) {
	validating := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	mutating := &admissionregistrationv1.MutatingWebhookConfiguration{}
	decoder := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifests.Manifest)))
	for _, into := range []runtime.Object{mutating, validating} {
		document, err := decoder.Read()
		if err == nil {
			err = sigsyaml.UnmarshalStrict(document, into)
		}
		if want := reflect.TypeOf(into).Elem().Name(); err == nil && into.GetObjectKind().GroupVersionKind().Kind != want {
			err = fmt.Errorf("%s where a %s was expected", into.GetObjectKind().GroupVersionKind().Kind, want)
		}
		if err != nil {
			// The manifest is part of the binary and a test reads it: this can't happen
			// in a build that passed them.
			panic(fmt.Sprintf("reading the embedded webhook configurations: %v", err))
		}
	}
	for i := range validating.Webhooks {
		makeLocal(&validating.Webhooks[i].ClientConfig, &validating.Webhooks[i].TimeoutSeconds, host, port)
	}
	for i := range mutating.Webhooks {
		makeLocal(&mutating.Webhooks[i].ClientConfig, &mutating.Webhooks[i].TimeoutSeconds, host, port)
	}
	return validating, mutating
}

// makeLocal has a webhook called at a host and port in place of the Service, and waited
// for longer.
func makeLocal(called *admissionregistrationv1.WebhookClientConfig, timeout **int32, host string, port int) {
	*timeout = ptr.To[int32](localTimeout)
	address := url.URL{Scheme: "https", Host: net.JoinHostPort(host, strconv.Itoa(port)), Path: *called.Service.Path}
	at := address.String()
	called.URL, called.Service = &at, nil
}
