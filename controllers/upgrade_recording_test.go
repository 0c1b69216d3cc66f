// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// call is a call that the manager of the version before made to change AWS, as it went
// over the wire.
type call struct {
	Operation   string `json:"operation"`
	Target      string `json:"target,omitempty"`
	ContentType string `json:"contentType"`
	Scope       string `json:"scope"`
	Body        string `json:"body"`
	Answer      string `json:"answer"`
}

// left is what the manager of the version before left.
type left struct {
	// Subnets and SecurityGroups are those of its AWS, in the order in which EC2 lists them.
	Subnets        []string             `json:"subnets"`
	SecurityGroups []string             `json:"securityGroups"`
	Calls          []call               `json:"calls"`
	Regions        []v1alpha1.Region    `json:"regions"`
	AMIs           []v1alpha1.AMI       `json:"amis"`
	Instances      []v1alpha1.Instance  `json:"instances"`
	Mandelboxes    []v1alpha1.Mandelbox `json:"mandelboxes"`
}

// recording makes what the version before left: by its own manager, whose program is
// binary, or by playing back what was recorded of that.
type recording struct {
	binary string
	// objects is how many it left.
	objects int
	// startedBack is how many sessions its manager started when it was gone back to.
	startedBack int

	mu    sync.Mutex
	calls []call
}

// oldSessions are on hosts of the release before, which drain; newSessions are on the
// active one's.
var (
	oldSessions = []string{"old-0", "old-1", "old-2"}
	newSessions = []string{"new-0", "new-1"}
)

func recordingFile() string { return filepath.Join("testdata", previous, "left.yaml") }

func namespaceNamed(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// keep notes the calls that change AWS and succeed.
func (r *recording) keep(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		request.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, request)
		operation := operationOf(request.Header.Get("X-Amz-Target"), string(body))
		if slices.Contains(mutating, operation) && answer.Code == http.StatusOK {
			_, credential, _ := strings.Cut(request.Header.Get("Authorization"), "Credential=")
			scope, _, _ := strings.Cut(credential, ",")
			r.mu.Lock()
			r.calls = append(r.calls, call{
				Operation: operation, Target: request.Header.Get("X-Amz-Target"), ContentType: request.Header.Get("Content-Type"),
				Scope: scope, Body: string(body), Answer: answer.Body.String(),
			})
			r.mu.Unlock()
		}
		for name, values := range answer.Header() {
			rw.Header()[name] = values
		}
		rw.WriteHeader(answer.Code)
		// Whoever closed the connection doesn't want it any more.
		_, _ = rw.Write(answer.Body.Bytes())
	})
}

func operationOf(target, body string) string {
	if _, operation, isJSON := strings.Cut(target, "."); isJSON {
		return operation
	}
	_, rest, _ := strings.Cut(body, "Action=")
	operation, _, _ := strings.Cut(rest, "&")
	return operation
}

// record has the manager of the version before make a fleet that is in the middle of
// what it does: an old release with sessions on a host that drains, a new one with
// sessions on another; and writes down what it left.
func (r *recording) record(ctx context.Context, w *world) {
	GinkgoHelper()
	w.startManager()
	w.fleet(ctx, 1)
	w.wantNoMore(ctx)
	for _, name := range oldSessions {
		w.runs(ctx, w.session(ctx, name, []string{home}))
	}
	w.release(ctx, "stable", anotherCommit)
	w.rolledOut(ctx, "stable", anotherCommit)
	Eventually(w.hosts(ctx, v1alpha1.InstanceDraining)).Should(HaveLen(1))
	for _, name := range newSessions {
		w.runs(ctx, w.session(ctx, name, []string{home}, ofRelease(anotherCommit)))
	}
	Eventually(w.hosts(ctx, v1alpha1.InstanceActive)).Should(HaveLen(1))
	Eventually(w.hosts(ctx, "")).Should(HaveLen(2))
	w.settles(ctx)
	w.stopManager()
	found := &left{Calls: r.calls}
	found.Subnets, found.SecurityGroups = w.network(ctx)
	w.readInto(ctx, found)
	r.objects = found.count()
	raw, err := yaml.Marshal(found)
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(recordingFile(), raw, 0o600)).To(Succeed())
	Expect(os.Chmod(recordingFile(), 0o644)).To(Succeed())
}

// settles waits until nothing is written for a while.
func (w *world) settles(ctx context.Context) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		was := w.book(ctx)
		g.Consistently(func() map[string]string { return w.book(ctx) }, 5*listInterval).Should(Equal(was))
	}).Should(Succeed())
}

func (l *left) count() int {
	return len(l.Regions) + len(l.AMIs) + len(l.Instances) + len(l.Mandelboxes)
}

// readInto reads all objects.
func (w *world) readInto(ctx context.Context, found *left) {
	GinkgoHelper()
	var regions v1alpha1.RegionList
	var amis v1alpha1.AMIList
	var instances v1alpha1.InstanceList
	var mandelboxes v1alpha1.MandelboxList
	for _, list := range []client.ObjectList{&regions, &amis, &instances, &mandelboxes} {
		Expect(w.List(ctx, list)).To(Succeed())
		for _, o := range itemsOf(list) {
			o.SetManagedFields(nil)
		}
	}
	found.Regions, found.AMIs, found.Instances, found.Mandelboxes = regions.Items, amis.Items, instances.Items, mandelboxes.Items
}

// network lists the subnets and security groups of the region.
func (w *world) network(ctx context.Context) (subnets, groups []string) {
	GinkgoHelper()
	api := ec2.NewFromConfig(w.awsConfig(home))
	s, err := api.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	Expect(err).NotTo(HaveOccurred())
	for _, subnet := range s.Subnets {
		subnets = append(subnets, *subnet.SubnetId)
	}
	g, err := api.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{})
	Expect(err).NotTo(HaveOccurred())
	for _, group := range g.SecurityGroups {
		groups = append(groups, *group.GroupId)
	}
	return subnets, groups
}

// startPrevious starts the manager of the version before, if it is here.
func (r *recording) startPrevious(w *world) {
	GinkgoHelper()
	if r.binary != "" {
		w.binary = r.binary
		w.startManager()
	}
}

// worksOn has that manager run a new session.
func (r *recording) worksOn(ctx context.Context, w *world, name string) {
	GinkgoHelper()
	if r.binary != "" {
		w.runs(ctx, w.session(ctx, name, []string{home}, ofRelease(anotherCommit)))
		w.settles(ctx)
		r.startedBack = 1
	}
}

// endOldSessions deletes the sessions that keep the hosts of the old release.
func (r *recording) endOldSessions(ctx context.Context, w *world) {
	GinkgoHelper()
	for _, name := range oldSessions {
		m := &v1alpha1.Mandelbox{}
		m.Namespace, m.Name = w.namespace, name
		w.remove(ctx, m)
	}
}
