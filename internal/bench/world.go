// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	configaws "github.com/mandelbox/mandelbox-operator/config/aws"
	"github.com/mandelbox/mandelbox-operator/config/crd"
	"github.com/mandelbox/mandelbox-operator/controllers"
	"github.com/mandelbox/mandelbox-operator/internal/controlplane"
	"github.com/mandelbox/mandelbox-operator/internal/freeport"
	"github.com/mandelbox/mandelbox-operator/internal/webhook"
)

// pollInterval is the time between two looks at what is waited for.
const pollInterval = 100 * time.Millisecond

// tenants are the namespaces of the sessions.
var tenants = []string{"tenant-a", "tenant-b", "tenant-c", "tenant-d"}

// worldOptions say what is in a world.
type worldOptions struct {
	// webhooks has the API server ask the manager before it takes an object.
	webhooks bool
	// regions are the names of the fleet's regions; all by default.
	regions []string
	// delays are those of the local AWS, by their names in its admin API.
	delays map[string]string
}

// world is what a benchmark runs in.
type world struct {
	*run
	worldOptions
	plane *controlplane.ControlPlane
	aws   *localAWS
	audit *auditLog
	// people is the client of those who make regions, channels and sessions; bare
	// that of the clients whose writes are a ceiling.
	people   client.WithWatch
	bare     *rest.Config
	managers []*process
	// kubeconfig is the manager's.
	kubeconfig  string
	webhookPort int
	profilePort int
	stops       []func() error
}

// newWorld starts a control plane and a local AWS. No manager runs yet.
func newWorld(ctx context.Context, r *run, o worldOptions) (_ *world, err error) {
	if len(o.regions) == 0 {
		o.regions = regionNames
	}
	w := &world{run: r, worldOptions: o}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.stop())
		}
	}()
	if err := w.startPlane(ctx); err != nil {
		return nil, err
	}
	policy := filepath.Join(w.plane.Dir(), "iam-policy.json")
	if err := os.WriteFile(policy, configaws.Policy, 0o600); err != nil {
		return nil, fmt.Errorf("writing the manager's policy: %w", err)
	}
	if w.aws, err = startAWS(ctx, w.Program, w.log, w.delays, policy, string(w.plane.ClusterUID())); err != nil {
		return nil, err
	}
	w.stops = append(w.stops, func() error {
		return errors.Join(w.aws.denied(context.WithoutCancel(ctx)), w.aws.end(syscall.SIGTERM))
	})
	if w.webhooks {
		if w.webhookPort, err = freeport.Find(ctx); err != nil {
			return nil, err
		}
		validating, mutating := webhook.LocalConfigurations("localhost", w.webhookPort)
		for _, configuration := range []client.Object{validating, mutating} {
			if err := w.people.Create(ctx, configuration); err != nil {
				return nil, fmt.Errorf("registering the webhooks: %w", err)
			}
		}
	}
	return w, nil
}

// startPlane starts a control plane that outlives ctx, for an end in order.
func (w *world) startPlane(ctx context.Context) error {
	crds, err := crd.Definitions()
	if err != nil {
		return err
	}
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	detach := context.AfterFunc(ctx, cancel)
	w.plane, err = controlplane.Start(lasting, controlplane.Options{CRDs: crds, AuditPolicy: []byte(auditPolicy)})
	if err != nil {
		cancel()
		return err
	}
	w.stops = append(w.stops, func() error {
		cancel()
		return w.plane.Stop()
	})
	detach()
	w.audit = &auditLog{path: w.plane.AuditLogPath()}
	return w.addAccounts(ctx)
}

// addAccounts makes the namespaces, and those who read and write.
func (w *world) addAccounts(ctx context.Context) error {
	admin, err := client.New(w.plane.Config(), client.Options{Scheme: controllers.NewScheme()})
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	for _, name := range append([]string{webhook.DefaultNamespace}, tenants...) {
		if err := admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return fmt.Errorf("creating namespace %s: %w", name, err)
		}
	}
	people, err := account(ctx, w.plane.Config(), accountPeople)
	if err != nil {
		return err
	}
	if w.people, err = client.NewWithWatch(people, client.Options{Scheme: controllers.NewScheme()}); err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	if w.bare, err = account(ctx, w.plane.Config(), accountBare); err != nil {
		return err
	}
	manager, err := account(ctx, w.plane.Config(), accountManager)
	if err != nil {
		return err
	}
	w.kubeconfig = filepath.Join(w.plane.Dir(), "manager.kubeconfig")
	return writeKubeconfig(w.kubeconfig, manager)
}

// writeKubeconfig writes what another process needs to be that user.
func writeKubeconfig(path string, config *rest.Config) error {
	const name = "bench"
	c := clientcmdapi.NewConfig()
	c.Clusters[name] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	c.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: config.BearerToken}
	c.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	c.CurrentContext = name
	if !strings.Contains(config.Host, "://") {
		c.Clusters[name].Server = "https://" + config.Host
	}
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		return fmt.Errorf("writing the manager's kubeconfig: %w", err)
	}
	return nil
}

// stop ends all there is, the last started first.
func (w *world) stop() error {
	var errs []error
	for i := len(w.managers) - 1; i >= 0; i-- {
		errs = append(errs, w.managers[i].end(syscall.SIGTERM))
	}
	for i := len(w.stops) - 1; i >= 0; i-- {
		errs = append(errs, w.stops[i]())
	}
	w.managers, w.stops = nil, nil
	return errors.Join(errs...)
}

// startManager starts a manager with the flags it has in a cluster, and those given.
func (w *world) startManager(ctx context.Context, flags ...string) (*process, error) {
	profiles, err := w.profileAddress(ctx)
	if err != nil {
		return nil, err
	}
	args := append([]string{"manager", "--leader-elect", "--health-probe-bind-address=0", "--pprof-bind-address=" + profiles}, flags...)
	if w.webhooks {
		args = append(args, fmt.Sprintf("--webhook-port=%d", w.webhookPort), "--webhook-extra-dns-names=localhost",
			"--webhook-cert-dir="+filepath.Join(w.plane.Dir(), "webhook"))
	} else {
		args = append(args, "--webhooks=false")
	}
	m, err := startProcess("the manager", w.Program, append(w.aws.env(), "KUBECONFIG="+w.kubeconfig), w.log, args...)
	if err != nil {
		return nil, err
	}
	w.managers = append(w.managers, m)
	if !w.webhooks {
		return m, nil
	}
	return m, w.awaitWebhooks(ctx, m)
}

// stopManager ends a manager in order.
func (w *world) stopManager(m *process) error { return m.end(syscall.SIGTERM) }

// awaitWebhooks waits until the API server can call the webhooks.
func (w *world) awaitWebhooks(ctx context.Context, m *process) error {
	var last error
	return w.await(ctx, time.Minute, "the webhooks", func(ctx context.Context) (bool, error) {
		probe := w.session("probe", 0)
		last = w.people.Create(ctx, probe, client.DryRunAll)
		if last != nil && !strings.Contains(last.Error(), "failed calling webhook") {
			return false, last
		}
		return last == nil, m.failure()
	})
}

// await waits until done says so; what names it in the error.
func (w *world) await(ctx context.Context, patience time.Duration, what string, done func(context.Context) (bool, error)) error {
	err := wait.PollUntilContextTimeout(ctx, pollInterval, patience, true, done)
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", what, err)
	}
	return nil
}

// session is the Mandelbox of the session of that number: a tenant, a user and a
// region each, in turn.
func (w *world) session(prefix string, i int) *v1alpha1.Mandelbox {
	name := fmt.Sprintf("%s-%05d", prefix, i)
	m := &v1alpha1.Mandelbox{
		ObjectMeta: metav1.ObjectMeta{Namespace: tenants[i%len(tenants)], Name: name},
		Spec: v1alpha1.MandelboxSpec{
			UserID: fmt.Sprintf("google-oauth2|%s%015d", prefix, i), SessionID: name,
			Regions: []string{w.regions[i%len(w.regions)]}, ClientCommitHash: commitHash,
		},
	}
	if !w.webhooks {
		m.Finalizers = []string{v1alpha1.MandelboxFinalizer} // As the webhook has it.
	}
	return m
}

// usages is what every process has used so far.
func (w *world) usages() (map[string]usage, error) {
	pids := w.plane.PIDs()
	pids["local-aws"], pids["harness"] = w.aws.pid(), os.Getpid()
	for i, m := range w.managers {
		if m.failure() == nil {
			pids[strings.TrimSuffix(fmt.Sprintf("manager-%d", i), "-0")] = m.pid()
		}
	}
	used := map[string]usage{}
	for name, pid := range pids {
		u, err := usageOf(pid)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		used[name] = u
	}
	return used, nil
}
