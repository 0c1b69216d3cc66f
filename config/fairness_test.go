// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/internal/controlplane"
)

const (
	flooding = "flooding"
	calm     = "calm"
	// floodWidth is how many requests the flood has under way at once: more than the
	// queues of one namespace take.
	floodWidth = 400
)

// startCrowded starts an API server that works on few requests at once, with what
// config/manager ships for that, and two tenants.
func startCrowded(t *testing.T) *cluster {
	t.Helper()
	g := NewWithT(t)
	plane, err := controlplane.Start(t.Context(), controlplane.Options{
		CRDPaths:       []string{filepath.Join("crd", "bases")},
		APIServerFlags: map[string][]string{"max-requests-inflight": {"40"}, "max-mutating-requests-inflight": {"20"}},
	})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { g.Expect(plane.Stop()).To(Succeed()) })
	api, err := client.New(plane.Config(), client.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	c := &cluster{ControlPlane: plane, Client: api, t: t}
	for _, tenant := range []string{flooding, calm} {
		g.Expect(api.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tenant}})).To(Succeed())
	}
	c.run(c.KubectlPath(), "apply", "-f", filepath.Join("config", "manager", "flow_control.yaml"))
	c.run(c.KubectlPath(), "apply", "-f", filepath.Join("config", "rbac", "editor_roles.yaml"))
	g.Expect(api.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "tenants"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "mandelbox-editor"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "tenants"}},
	})).To(Succeed())
	c.slowWebhook()
	return c
}

// slowWebhook has each request of the flood take a while, without working meanwhile:
// it waits for a webhook.
func (c *cluster) slowWebhook() {
	c.t.Helper()
	g := NewWithT(c.t)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if review.Request.Namespace == flooding {
			select {
			case <-time.After(100 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(review); err != nil {
			c.t.Log(err) // The API server doesn't wait any more.
		}
	}))
	c.t.Cleanup(server.Close)
	at, none := server.URL+"/", admissionregistrationv1.SideEffectClassNone
	g.Expect(c.Create(c.t.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "slow"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "slow.example.com", SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
			ClientConfig: admissionregistrationv1.WebhookClientConfig{
				URL: &at, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
			},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule: admissionregistrationv1.Rule{
					APIGroups: []string{"cloud.mandelbox.dev"}, APIVersions: []string{"v1alpha1"}, Resources: []string{"mandelboxes"},
				},
			}},
		}},
	})).To(Succeed())
}

// caller makes sessions in a namespace, without ever trying again.
type caller struct {
	http      *http.Client
	host      string
	namespace string
}

func (c *cluster) caller(user, namespace string) *caller {
	c.t.Helper()
	config := c.Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"tenants"}}
	// By HTTP/2 all clients would share one connection, which takes only so many at once.
	config.TLSClientConfig.NextProtos = []string{"http/1.1"}
	doer, err := rest.HTTPClientFor(config)
	NewWithT(c.t).Expect(err).NotTo(HaveOccurred())
	return &caller{http: doer, host: strings.TrimSuffix(config.Host, "/"), namespace: namespace}
}

// create asks for a session, which isn't stored, and returns the HTTP status and the
// UID of the FlowSchema that the API server put the request under.
func (c *caller) create(ctx context.Context) (status int, schema string, err error) {
	body := fmt.Sprintf(`{"apiVersion":"cloud.mandelbox.dev/v1alpha1","kind":"Mandelbox","metadata":{"generateName":"s-","namespace":%q},
		"spec":{"userID":"ada","sessionID":"s","regions":["us-east-1"],"amiName":"stable"}}`, c.namespace)
	url := c.host + "/apis/cloud.mandelbox.dev/v1alpha1/namespaces/" + c.namespace + "/mandelboxes?dryRun=All"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewBufferString(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := c.http.Do(request)
	if err != nil {
		return 0, "", err
	}
	told, err := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusCreated && answer.StatusCode != http.StatusTooManyRequests {
		err = fmt.Errorf("answered %d: %s", answer.StatusCode, told)
	}
	if closed := answer.Body.Close(); err == nil {
		err = closed
	}
	return answer.StatusCode, answer.Header.Get(flowcontrolv1.ResponseHeaderMatchedFlowSchemaUID), err
}

// flood has many users of one namespace ask for sessions as fast as they can, until
// the returned function is called; told counts those who were told to try again later.
func (c *cluster) flood(ctx context.Context) (told *atomic.Int64, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	told = &atomic.Int64{}
	var running sync.WaitGroup
	for n := range floodWidth {
		one := c.caller(fmt.Sprintf("user-%d", n), flooding)
		running.Go(func() {
			for ctx.Err() == nil {
				if status, _, err := one.create(ctx); err == nil && status == http.StatusTooManyRequests {
					told.Add(1)
					select {
					case <-time.After(50 * time.Millisecond):
					case <-ctx.Done():
					}
				}
			}
		})
	}
	return told, func() {
		cancel()
		running.Wait()
	}
}

func TestFloods(t *testing.T) {
	g := NewWithT(t)
	c := startCrowded(t)
	var tenants flowcontrolv1.FlowSchema
	g.Expect(c.Get(t.Context(), client.ObjectKey{Name: "mandelbox-tenants"}, &tenants)).To(Succeed())
	one := c.caller("ada", calm)
	g.Eventually(func() (string, error) {
		_, schema, err := one.create(t.Context())
		return schema, err
	}).WithTimeout(patience).Should(Equal(string(tenants.UID)))

	t.Run("what one namespace floods the API server with delays no other's sessions", func(t *testing.T) {
		g := NewWithT(t)
		told, stop := c.flood(t.Context())
		defer stop()
		g.Eventually(told.Load).WithTimeout(patience).Should(BeNumerically(">", 50), "the flood never filled its queues")
		for range 30 {
			status, _, err := one.create(t.Context())
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(status).To(Equal(http.StatusCreated))
		}
		g.Expect(told.Load()).To(BeNumerically(">", 50))
	})
	t.Run("which is the doing of the queues by namespace: in one flow for all, others are turned away, too", func(t *testing.T) {
		g := NewWithT(t)
		// Its status is the API server's, which may write it meanwhile.
		apart := client.MergeFrom(tenants.DeepCopy())
		tenants.Spec.DistinguisherMethod = nil
		g.Expect(c.Patch(t.Context(), &tenants, apart)).To(Succeed())
		_, stop := c.flood(t.Context())
		defer stop()
		g.Eventually(func() (int, error) {
			status, _, err := one.create(t.Context())
			return status, err
		}).WithTimeout(patience).Should(Equal(http.StatusTooManyRequests))
	})
	t.Run("the manager's requests are apart from all tenants'", func(t *testing.T) {
		g := NewWithT(t)
		var managers flowcontrolv1.FlowSchema
		g.Expect(c.Get(t.Context(), client.ObjectKey{Name: name}, &managers)).To(Succeed())
		account := c.caller("system:serviceaccount:"+namespace+":"+name, calm)
		g.Eventually(func() (string, error) {
			_, schema, err := account.create(t.Context())
			return schema, err
		}).WithTimeout(patience).Should(Equal(string(managers.UID)))
	})
}
