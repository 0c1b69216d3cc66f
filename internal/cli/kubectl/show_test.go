// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/view"
	"github.com/mandelbox/mandelbox-operator/internal/view/viewtest"
)

var _ = Describe("kubectl mandelbox", func() {
	Describe("status", func() {
		It("shows the fleet in one screen, what is wrong first", func(ctx SpecContext) {
			// One that has waited for long would be wrong, too.
			alan := viewtest.Session("team-b", "alan", "stable", "us-east-1", "us-west-2")
			Expect(api.Delete(ctx, alan.DeepCopy())).To(Succeed())
			Expect(viewtest.Put(ctx, api, alan)).To(Succeed())
			out, err := run(ctx, "status")
			Expect(err).NotTo(HaveOccurred())
			Expect(plain(out)).To(Equal(plain(`
2 of 2 hosts active, 1 of 5 slots taken, 4 free; 1 session running, 1 waiting

WHAT IS WRONG
✗ Unauthorized Region us-west-2 for AGE
 not allowed: ec2:RunInstances
 → kubectl mandelbox logs region/us-west-2

REGION STATE FREE TAKEN SLOTS WAITING HOSTS ACTIVE MAX REASON
us-east-1 Ready 4 1 5 0 2 2 1000 Ready
us-west-2 Stalled 0 0 0 0 0 0 1000 Unauthorized

CHANNEL STATE ACTIVE WANTED ROLLOUT PROGRESS
stable Ready 0123456789ab fedcba987654 RollingOut -

ROLLOUT REGION SERVES WARM OLD HOSTS SINCE
stable fedcba987654 us-east-1 old 1/1 1 AGE

WAITING USER WANTS REGIONS FOR REASON
team-b/alan alan stable us-east-1,us-west-2 AGE NoInstanceAvailable`)))
		})

		It("writes JSON and YAML for scripts", func(ctx SpecContext) {
			out, err := run(ctx, "status", "-o", "json")
			Expect(err).NotTo(HaveOccurred())
			var fleet view.Fleet
			Expect(json.Unmarshal([]byte(out), &fleet)).To(Succeed())
			Expect(fleet.Totals.Hosts).To(Equal(2))
			Expect(out).NotTo(ContainSubstring(canary))
			out, err = run(ctx, "status", "-o", "yaml")
			Expect(err).NotTo(HaveOccurred())
			Expect(out).To(ContainSubstring("reason: Unauthorized"))
			_, err = run(ctx, "status", "-o", "xml")
			Expect(err).To(MatchError(ContainSubstring("it is json or yaml")))
		})
	})

	Describe("tree", func() {
		const drawn = `
us-east-1 Ready 1 of 5 slots taken, 0 waiting
└─ stable 0123456789ab
 ├─ east-full Active g4dn.xlarge ▓ 1/1
 │ └─ slot 0 team-a/ada running for AGE
 └─ east-warm Active g4dn.xlarge ░░░░ 0/4 release coming
us-west-2 Stalled 0 of 0 slots taken, 0 waiting Unauthorized`

		It("shows regions, channels, hosts and sessions", func(ctx SpecContext) {
			out, err := run(ctx, "tree")
			Expect(err).NotTo(HaveOccurred())
			Expect(plain(out)).To(Equal(plain(drawn)))
		})

		It("follows changes with -w until it is interrupted", func(ctx SpecContext) {
			watching, interrupt := context.WithCancel(ctx)
			defer interrupt()
			out, ended := gbytes.NewBuffer(), make(chan error, 1)
			go func() {
				command := New("kubectl-mandelbox", "v0.0.0-test")
				command.SetArgs([]string{"tree", "-w", "--kubeconfig", plane.KubeconfigPath()})
				command.SetOut(out)
				ended <- command.ExecuteContext(watching)
			}()
			Eventually(out).WithTimeout(time.Minute).Should(gbytes.Say("east-warm"))
			added := viewtest.Host("east-zz-late", "us-east-1", "stable", 2)
			Expect(viewtest.Put(ctx, api, added)).To(Succeed())
			DeferCleanup(func(ctx SpecContext) { Expect(api.Delete(ctx, added)).To(Succeed()) })
			Eventually(out).WithTimeout(time.Minute).Should(gbytes.Say("east-zz-late +Active +g4dn.xlarge +░░ 0/2"))
			interrupt()
			Eventually(ended).WithTimeout(time.Minute).Should(Receive(MatchError(context.Canceled)))
		}, Serial)
	})

	Describe("sessions", func() {
		It("lists the sessions of all, and of one user", func(ctx SpecContext) {
			out, err := run(ctx, "sessions")
			Expect(err).NotTo(HaveOccurred())
			Expect(plain(out)).To(Equal(plain(`
NAMESPACE NAME USER PHASE REASON REGION INSTANCE SLOT ADDRESS AGE
team-a ada ada Running Running us-east-1 east-full 0 203.0.113.7:32768 AGE
team-b alan alan Pending NoInstanceAvailable - - - - AGE`)))
			out, err = run(ctx, "sessions", "--user", "alan")
			Expect(err).NotTo(HaveOccurred())
			Expect(out).To(And(ContainSubstring("team-b"), Not(ContainSubstring("team-a"))))
			out, err = run(ctx, "sessions", "--user", "nobody")
			Expect(err).NotTo(HaveOccurred())
			Expect(out).To(Equal("No session.\n"))
		})

		It("shows those of one namespace to who may see no other, and says so", func(ctx SpecContext) {
			grant(ctx, "grace", "team-b")
			out, errs, err := runAs(ctx, kubeconfigOf("grace", "team-b"), "sessions")
			Expect(err).NotTo(HaveOccurred())
			Expect(errs).To(Equal("You may not see the sessions of all namespaces; these are those of team-b.\n"))
			Expect(out).To(And(ContainSubstring("alan"), Not(ContainSubstring("ada"))))
		})
	})

	Describe("explain", func() {
		It("names every host and what speaks against it", func(ctx SpecContext) {
			out, err := run(ctx, "explain", "team-b/alan")
			Expect(err).NotTo(HaveOccurred())
			Expect(plain(out)).To(Equal(plain(`
team-b/alan Pending for AGE user alan, who holds 0 sessions beside it wants stable
The operator says NoInstanceAvailable: No host has room.
By the objects now NoInstanceAvailable: No host of channel stable has room in us-east-1, us-west-2. Waits for a slot in us-east-1: more hosts are launched there unless the Region is at spec.capacity.maxInstances.
Place 1 of 1 in the queue.

REGION WHAT IT HAS
us-east-1 of the hosts of a release that fits, 0 have room, 1 are full and 0 take no session; the Region says Ready: Every channel has the room it should have.
us-west-2 no host of a release that fits; the Region says Unauthorized: not allowed: ec2:RunInstances

HOST REGION AGAINST IT
east-full us-east-1 all of its 1 slots are claimed
east-warm us-east-1 its release, commit hash fedcba987654, is not active yet`)))
		})

		It("says that a session which runs does not wait", func(ctx SpecContext) {
			out, err := run(ctx, "explain", "ada", "-n", "team-a")
			Expect(err).NotTo(HaveOccurred())
			Expect(out).To(ContainSubstring("It does not wait for a slot."))
			_, err = run(ctx, "explain", "nobody", "-n", "team-a")
			Expect(err).To(MatchError("there is no Mandelbox nobody in namespace team-a"))
		})
	})

	Describe("logs", func() {
		It("tells what happened to a session, its host, its channel and its region, in the order of time", func(ctx SpecContext) {
			var host v1alpha1.Instance
			Expect(api.Get(ctx, types.NamespacedName{Name: "east-full"}, &host)).To(Succeed())
			tell(ctx, &host, "Instance", "Throttled", "AWS asked for fewer calls")
			stranger := host.DeepCopy()
			stranger.UID = "another-object-of-this-name"
			tell(ctx, stranger, "Instance", "Stranger", "this was another host")
			out, err := run(ctx, "logs", "mbx/ada", "-n", "team-a", "-o", "json")
			Expect(err).NotTo(HaveOccurred())
			var entries []view.Entry
			Expect(json.Unmarshal([]byte(out), &entries)).To(Succeed())
			var objects, reasons []string
			for i, e := range entries {
				Expect(i == 0 || !e.Time.Before(entries[i-1].Time)).To(BeTrue(), "they are in order")
				objects, reasons = append(objects, e.Object), append(reasons, e.Reason)
			}
			Expect(objects).To(ContainElements("Mandelbox team-a/ada", "Instance east-full", "AMI stable", "Region us-east-1"))
			Expect(objects).NotTo(ContainElement("Region us-west-2"))
			Expect(reasons).To(ContainElements("Created", "Assigned", "Running", "Throttled"))
			Expect(reasons).NotTo(ContainElement("Stranger"))
			out, err = run(ctx, "logs", "instance/east-full")
			Expect(err).NotTo(HaveOccurred())
			Expect(plain(out)).To(ContainSubstring("Instance east-full Warning Throttled AWS asked for fewer calls"))
			_, err = run(ctx, "logs", "instance/none")
			Expect(err).To(MatchError("there is no Instance none, and no Event of one"))
			_, err = run(ctx, "logs", "pod/ada")
			Expect(err).To(MatchError(ContainSubstring(`"pod/ada" is no KIND/NAME`)))
		})
	})

	Describe("drain and undrain", func() {
		It("sets spec.drain, says what comes of it, and waits when asked to", func(ctx SpecContext) {
			host := viewtest.Host("to-drain", "nowhere", "stable", 2)
			Expect(viewtest.Put(ctx, api, host)).To(Succeed())
			DeferCleanup(func(ctx SpecContext) { Expect(api.Delete(ctx, host)).To(Succeed()) })
			for _, step := range []struct{ args, want string }{
				{"undrain to-drain", "was not draining"},
				{"drain to-drain", "draining: 0 sessions left"},
				{"drain to-drain --wait --timeout 1m", "was draining already: 0 sessions left\nto-drain: 0 sessions left"},
				{"undrain to-drain", "takes sessions again, once it is Active"},
			} {
				out, err := run(ctx, strings.Fields(step.args)...)
				Expect(err).NotTo(HaveOccurred())
				Expect(out).To(Equal("instance.cloud.mandelbox.dev/to-drain "+step.want+"\n"), step.args)
			}
			Expect(api.Get(ctx, client.ObjectKeyFromObject(host), host)).To(Succeed())
			Expect(host.Spec.Drain).To(HaveValue(BeFalse()))
			_, err := run(ctx, "drain", "none")
			Expect(err).To(MatchError(ContainSubstring(`"none" not found`)))
		}, Serial)
	})

	Describe("dashboard", func() {
		// serving starts a dashboard that ends with the spec, and is what it prints.
		serving := func(ctx context.Context, args ...string) *gbytes.Buffer {
			ctx, interrupt := context.WithCancel(context.WithoutCancel(ctx))
			out, ended := gbytes.NewBuffer(), make(chan error, 1)
			command := New("kubectl-mandelbox", "v0.0.0-test")
			command.SetArgs(append([]string{"dashboard", "--kubeconfig", plane.KubeconfigPath()}, args...))
			command.SetOut(out)
			go func() { ended <- command.ExecuteContext(ctx) }()
			DeferCleanup(func() {
				interrupt()
				Eventually(ended).WithTimeout(time.Minute).Should(Receive(MatchError(context.Canceled)))
			})
			Eventually(out).WithTimeout(time.Minute).Should(gbytes.Say("Ctrl-C ends it"))
			return out
		}
		get := func(ctx context.Context, address string) io.ReadCloser {
			GinkgoHelper()
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
			Expect(err).NotTo(HaveOccurred())
			answer, err := http.DefaultClient.Do(request)
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(answer.Body.Close)
			Expect(answer.StatusCode).To(Equal(http.StatusOK))
			return answer.Body
		}

		It("serves the fleet at an address that it prints, until it is interrupted", func(ctx SpecContext) {
			out := serving(ctx)
			address := regexp.MustCompile(`http://127\.0\.0\.1:\d+/\w+/`).FindString(string(out.Contents()))
			Expect(address).NotTo(BeEmpty())
			Eventually(gbytes.BufferReader(get(ctx, address+"events"))).WithTimeout(time.Minute).Should(gbytes.Say("host/east-warm"))
		})

		It("opens a browser when it is asked to, at an address that tells no secret", func(ctx SpecContext) {
			folder := GinkgoT().TempDir()
			opened := filepath.Join(folder, "opened")
			Expect(os.WriteFile(filepath.Join(folder, opener()[0]), []byte("#!/bin/sh\nfor word; do echo \"$word\"; done | tail -n 1 >"+opened+"\n"), 0o700)).To(Succeed()) //nolint:gosec // It is run.
			GinkgoT().Setenv("PATH", folder+":"+os.Getenv("PATH"))
			out := serving(ctx, "--open")
			var address string
			Eventually(func() (string, error) {
				content, err := os.ReadFile(opened)
				address = strings.TrimSpace(string(content))
				return address, err
			}).WithTimeout(time.Minute).Should(HavePrefix("http://127.0.0.1:"))
			Expect(string(out.Contents())).NotTo(ContainSubstring(address))
			Expect(io.ReadAll(get(ctx, address))).To(ContainSubstring("<title>Mandelboxes</title>"))
		}, Serial)
	})

	Describe("completion", func() {
		DescribeTable("knows the names of objects", func(ctx SpecContext, line string, want ...string) {
			out, err := run(ctx, append([]string{"__complete"}, strings.Split(line, " ")...)...)
			Expect(err).NotTo(HaveOccurred())
			var words []string
			for _, word := range strings.Split(strings.TrimSpace(out), "\n") {
				if !strings.HasPrefix(word, ":") && word != "" {
					words = append(words, word)
				}
			}
			Expect(words).To(Equal(want))
		},
			Entry("Instances to drain", "drain east-w", "east-warm"),
			Entry("Mandelboxes to explain", "-n team-a explain ", "ada"),
			Entry("kinds", "logs ", "region/", "ami/", "instance/", "mandelbox/"),
			Entry("names of a kind", "logs region/", "region/us-east-1", "region/us-west-2"),
			Entry("users", "sessions --user a", "ada", "alan"),
			Entry("namespaces", "status -n team", "team-a", "team-b"),
			Entry("formats", "status -o ", "json", "yaml"),
		)
	})
})

// tell writes an Event as the manager does.
func tell(ctx context.Context, about client.Object, kind, reason, note string) {
	GinkgoHelper()
	Expect(api.Create(ctx, &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, GenerateName: "event-"},
		EventTime:  metav1.NowMicro(), Type: corev1.EventTypeWarning, Reason: reason, Action: "Launch", Note: note,
		ReportingController: "mandelbox-operator", ReportingInstance: "test",
		Regarding: corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind, Name: about.GetName(), UID: about.GetUID()},
	})).To(Succeed())
}

// grant lets a user see the fleet, and the Mandelboxes of one namespace.
func grant(ctx context.Context, user, namespace string) {
	GinkgoHelper()
	subjects := []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: user, APIGroup: rbacv1.GroupName}}
	read := []string{"get", "list", "watch"}
	Expect(api.Create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: user},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"regions", "amis", "instances"}, Verbs: read}},
	})).To(Succeed())
	Expect(api.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user}, Subjects: subjects,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
	})).To(Succeed())
	Expect(api.Create(ctx, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: user},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"mandelboxes"}, Verbs: read}},
	})).To(Succeed())
	Expect(api.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: user}, Subjects: subjects,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
	})).To(Succeed())
	config := plane.Config()
	config.Impersonate.UserName = user
	theirs, err := client.New(config, client.Options{Scheme: api.Scheme(), Mapper: api.RESTMapper()})
	Expect(err).NotTo(HaveOccurred())
	Eventually(func(g Gomega) { // The API server has to hear of it.
		g.Expect(theirs.List(ctx, &v1alpha1.RegionList{})).To(Succeed())
		g.Expect(theirs.List(ctx, &v1alpha1.MandelboxList{}, client.InNamespace(namespace))).To(Succeed())
	}).WithTimeout(time.Minute).Should(Succeed())
}

// kubeconfigOf is the administrator's kubeconfig, used as somebody else in a namespace.
func kubeconfigOf(user, namespace string) string {
	GinkgoHelper()
	config, err := clientcmd.Load(plane.Kubeconfig())
	Expect(err).NotTo(HaveOccurred())
	for _, auth := range config.AuthInfos {
		auth.Impersonate = user
	}
	for _, c := range config.Contexts {
		*c = *ptr.To(clientcmdapi.Context{Cluster: c.Cluster, AuthInfo: c.AuthInfo, Namespace: namespace})
	}
	path := GinkgoT().TempDir() + "/kubeconfig"
	Expect(clientcmd.WriteToFile(*config, path)).To(Succeed())
	return path
}
