// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// names are what AWS and the API server call things here that were called otherwise
// when they were recorded.
type names map[string]string

func (n names) pair(recorded, here []string) {
	GinkgoHelper()
	Expect(here).To(HaveLen(len(recorded)))
	for i := range recorded {
		n[recorded[i]] = here[i]
	}
}

// translate puts the names of here into a text, all at once, the longest first.
func (n names) translate(text string) string {
	var pairs []string
	recorded := make([]string, 0, len(n))
	for name := range n {
		recorded = append(recorded, name)
	}
	slices.SortFunc(recorded, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	for _, name := range recorded {
		pairs = append(pairs, name, n[name])
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// ids finds what AWS named: hosts, tasks, container instances.
var ids = regexp.MustCompile(`\bi-[0-9a-f]{17}\b|\b[0-9a-f]{32}\b`)

// play makes what was recorded: the objects, in AWS what they stand for, by the very
// calls of the manager of the version before, and then their status.
func (r *recording) play(ctx context.Context, w *world) {
	GinkgoHelper()
	raw, err := os.ReadFile(recordingFile())
	Expect(err).NotTo(HaveOccurred(), "`make record-upgrade` writes it")
	var recorded left
	Expect(yaml.UnmarshalStrict(raw, &recorded)).To(Succeed())
	r.objects = recorded.count()
	known := names{}
	subnets, groups := w.network(ctx)
	known.pair(recorded.Subnets, subnets)
	known.pair(recorded.SecurityGroups, groups)

	objects := recorded.all()
	for _, o := range objects {
		uid := string(o.GetUID())
		created := translated(known, o)
		created.SetUID("")
		created.SetResourceVersion("")
		created.SetGeneration(0)
		if i, isHost := created.(*v1alpha1.Instance); isHost {
			i.Spec.Drain = nil // A host that drains takes no claim: it is told to once it has them.
		}
		Expect(w.Create(ctx, created)).To(Succeed())
		known[uid] = string(created.GetUID())
	}
	for _, c := range recorded.Calls {
		w.repeat(ctx, c, known)
	}
	for _, o := range objects {
		w.writeRecordedStatus(ctx, translated(known, o))
	}
}

// all are the objects, owners before what they own.
func (l *left) all() []client.Object {
	var all []client.Object
	for i := range l.Regions {
		all = append(all, &l.Regions[i])
	}
	for i := range l.AMIs {
		all = append(all, &l.AMIs[i])
	}
	for i := range l.Instances {
		all = append(all, &l.Instances[i])
	}
	for i := range l.Mandelboxes {
		all = append(all, &l.Mandelboxes[i])
	}
	return all
}

// translated is an object with the names of here.
func translated(known names, o client.Object) client.Object {
	GinkgoHelper()
	raw, err := json.Marshal(o)
	Expect(err).NotTo(HaveOccurred())
	copied, ok := o.DeepCopyObject().(client.Object)
	Expect(ok).To(BeTrue())
	Expect(json.Unmarshal([]byte(known.translate(string(raw))), copied)).To(Succeed())
	return copied
}

// repeat makes a recorded call once more, when AWS has what it is about, and learns the
// names that AWS gives.
func (w *world) repeat(ctx context.Context, c call, known names) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.endpoint, strings.NewReader(known.translate(c.Body)))
		g.Expect(err).NotTo(HaveOccurred())
		request.Header.Set("Content-Type", c.ContentType)
		// As the owner of the account: this version's policy is not for the version before.
		_, scope, _ := strings.Cut(c.Scope, "/")
		request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+awsemu.RootAccessKey+"/"+scope+", SignedHeaders=host, Signature=0")
		if c.Target != "" {
			request.Header.Set("X-Amz-Target", c.Target)
		}
		response, err := http.DefaultClient.Do(request)
		g.Expect(err).NotTo(HaveOccurred())
		defer func() { g.Expect(response.Body.Close()).To(Succeed()) }()
		answer, err := io.ReadAll(response.Body)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(response.StatusCode).To(Equal(http.StatusOK), "%s: %s", c.Operation, answer)
		recorded, here := ids.FindAllString(c.Answer, -1), ids.FindAllString(string(answer), -1)
		// A task that is refused names none: its host has not registered yet.
		g.Expect(here).To(HaveLen(len(recorded)), "%s: %s", c.Operation, answer)
		for i := range recorded {
			known[recorded[i]] = here[i]
		}
	}).Should(Succeed())
}

// writeRecordedStatus writes a status in which what AWS chose, addresses, ports and the
// time of launch, is as it is here.
func (w *world) writeRecordedStatus(ctx context.Context, o client.Object) {
	GinkgoHelper()
	switch o := o.(type) {
	case *v1alpha1.Instance:
		for _, host := range w.ec2Hosts(ctx, home) {
			if *host.InstanceId == o.Status.InstanceID {
				o.Status.PrivateIP, o.Status.PublicIP = ptr.Deref(host.PrivateIpAddress, ""), ptr.Deref(host.PublicIpAddress, "")
				o.Status.SubnetID, o.Status.AvailabilityZone = *host.SubnetId, *host.Placement.AvailabilityZone
				o.Status.LaunchedTime = ptr.To(metav1.NewTime(host.LaunchTime.Truncate(time.Second)))
			}
		}
	case *v1alpha1.Mandelbox:
		var i v1alpha1.Instance
		Expect(w.Get(ctx, client.ObjectKey{Name: o.Status.InstanceName}, &i)).To(Succeed())
		o.Status.IP = i.IP()
		w.bindPorts(ctx, o)
	}
	if i, isHost := o.(*v1alpha1.Instance); isHost && ptr.Deref(i.Spec.Drain, false) {
		serving := i.DeepCopy()
		serving.Status.Phase = v1alpha1.InstanceActive
		w.updateStatus(ctx, serving)
		w.drain(ctx, serving, "true")
	}
	w.updateStatus(ctx, o)
}

// updateStatus writes a status over whatever there is.
func (w *world) updateStatus(ctx context.Context, o client.Object) {
	GinkgoHelper()
	latest, ok := o.DeepCopyObject().(client.Object)
	Expect(ok).To(BeTrue())
	Expect(w.Get(ctx, client.ObjectKeyFromObject(o), latest)).To(Succeed())
	o.SetUID(latest.GetUID())
	o.SetResourceVersion(latest.GetResourceVersion())
	Expect(w.Status().Update(ctx, o)).To(Succeed())
}

// bindPorts waits until a session's task runs, and takes over its ports.
func (w *world) bindPorts(ctx context.Context, m *v1alpha1.Mandelbox) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		tasks := w.tasks(ctx, home, ecstypes.DesiredStatusRunning)
		at := slices.IndexFunc(tasks, func(t ecstypes.Task) bool { return *t.TaskArn == m.Status.TaskARN })
		g.Expect(at).NotTo(Equal(-1), m.Status.TaskARN)
		g.Expect(tasks[at].LastStatus).To(HaveValue(Equal("RUNNING")))
		for _, binding := range tasks[at].Containers[0].NetworkBindings {
			for i := range m.Status.Ports {
				if m.Status.Ports[i].ContainerPort == *binding.ContainerPort {
					m.Status.Ports[i].HostPort = *binding.HostPort
				}
			}
		}
	}).Should(Succeed())
}
