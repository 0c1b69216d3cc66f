// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controlplane starts a real Kubernetes API, etcd and kube-apiserver, on
// this machine and stops it again, for the demo, the tests and the benchmarks.
//
// It knows nothing of mandelboxes: the kinds come in as CRD files. There are no
// nodes, no kubelet and no controllers of Kubernetes' own beyond what the API
// server itself runs: nothing garbage-collects, schedules, ends a namespace that
// is being deleted, or fills aggregated roles such as view and edit.
package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

const (
	// startTimeout bounds the start of each process. It takes about two seconds
	// on an idle machine; the rest is for test runs that share two cores.
	startTimeout = 2 * time.Minute
	// stopTimeout is what each process gets to end by itself before it is killed.
	// Nothing it could save outlives it, and an API server whose clients still
	// watch, as those of most tests do, always takes all of it.
	stopTimeout = 3 * time.Second
	// readyTimeout bounds the wait for system namespaces and for CRDs.
	readyTimeout = time.Minute
	pollInterval = 50 * time.Millisecond
)

// Options say how a control plane is started. The zero value is a bare API.
type Options struct {
	// AssetsDir is the folder that holds etcd, kube-apiserver and kubectl. Empty
	// means the folder named by the environment variable KUBEBUILDER_ASSETS, and
	// without that bin/k8s in this repository, where `make controlplane` puts
	// them; the repository is searched upwards from the working directory.
	AssetsDir string

	// APIServerFlags are given to kube-apiserver beside, or in place of, the
	// usual ones. The names come without their leading dashes; a flag with
	// several values is repeated.
	APIServerFlags map[string][]string

	// CRDPaths are files, or folders of files, with CustomResourceDefinitions
	// that are served before Start returns. A path that does not exist is an error.
	CRDPaths []string

	// CRDs are further CustomResourceDefinitions that are served before Start
	// returns, such as a program carries.
	CRDs []apiextensionsv1.CustomResourceDefinition

	// AuditPolicy is an audit.k8s.io/v1 Policy in YAML. If it is set, the API
	// server writes what the policy selects to the file AuditLogPath names, one
	// JSON event per line.
	AuditPolicy []byte

	// Output receives what etcd and kube-apiserver print. Nil means that it is
	// discarded, but for the last lines of a start that fails.
	Output io.Writer
}

// ControlPlane is a running Kubernetes API.
type ControlPlane struct {
	dir       string
	kubectl   string
	apiServer string
	envtest   envtest.ControlPlane
	// more are the further API servers.
	more         []*envtest.APIServer
	processes    *processes
	config       *rest.Config
	kubeconfig   []byte
	kubeSystem   types.UID
	detach       func() bool
	stopOnce     sync.Once
	stopErr      error
	auditEnabled bool
}

// Start starts etcd and kube-apiserver on free ports of the loopback interface
// and returns when the API is ready, its system namespaces exist and the CRDs of
// the options are served. It takes about four seconds on an idle machine.
//
// The control plane stops when ctx is done, or earlier when Stop is called; a
// caller who still needs the API after ctx is done, for a shutdown in order,
// passes one that outlives it and calls Stop. If Start fails, nothing is left
// behind. It returns a *MissingBinaryError if etcd or kube-apiserver is not
// there.
func Start(ctx context.Context, options Options) (_ *ControlPlane, err error) {
	assets, err := findAssets(options.AssetsDir)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "mandelbox-controlplane-")
	if err != nil {
		return nil, fmt.Errorf("creating a folder for the control plane: %w", err)
	}
	processes, err := superviseIn(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	plane := &ControlPlane{dir: dir, kubectl: assets.kubectl, apiServer: assets.apiServer, processes: processes}
	defer func() {
		if err != nil {
			err = errors.Join(err, plane.Stop())
		}
	}()

	output := newOutput(options.Output)
	if err := plane.configure(assets, options, output); err != nil {
		return nil, err
	}
	if err := plane.launch(ctx); err != nil {
		return nil, fmt.Errorf("starting the control plane: %w; its last words were:\n%s", err, output.tail())
	}
	if err := plane.addAdmin(); err != nil {
		return nil, err
	}
	if err := plane.awaitReady(ctx); err != nil {
		return nil, err
	}
	if err := plane.installCRDs(options); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("starting the control plane: %w", err)
	}
	plane.detach = context.AfterFunc(ctx, func() { _ = plane.Stop() }) // Stop keeps its error for whoever calls it.
	return plane, nil
}

// configure lays out the folder and sets every flag, without starting anything.
func (p *ControlPlane) configure(assets assets, options Options, output io.Writer) error {
	etcdDir, certDir := filepath.Join(p.dir, "etcd"), filepath.Join(p.dir, "apiserver")
	for _, dir := range []string{etcdDir, certDir} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("laying out the control plane's folder: %w", err)
		}
	}
	etcdPath, err := p.processes.launcher("etcd", assets.etcd)
	if err != nil {
		return err
	}
	apiServerPath, err := p.processes.launcher("kube-apiserver", assets.apiServer)
	if err != nil {
		return err
	}
	// envtest itself adds --unsafe-no-fsync to etcd: the data does not outlive it.
	p.envtest.Etcd = &envtest.Etcd{
		Path: etcdPath, DataDir: etcdDir, Out: output, Err: output,
		StartTimeout: startTimeout, StopTimeout: stopTimeout,
	}
	p.envtest.APIServer = &envtest.APIServer{
		Path: apiServerPath, CertDir: certDir, Out: output, Err: output,
		StartTimeout: startTimeout, StopTimeout: stopTimeout,
	}
	p.envtest.KubectlPath = assets.kubectl

	flags := p.envtest.APIServer.Configure()
	if len(options.AuditPolicy) > 0 {
		p.auditEnabled = true
		policy := filepath.Join(p.dir, "audit-policy.yaml")
		if err := os.WriteFile(policy, options.AuditPolicy, 0o600); err != nil {
			return fmt.Errorf("writing the audit policy: %w", err)
		}
		// In megabytes, and more than a run writes: who reads the log reads one file.
		flags.Set("audit-policy-file", policy).Set("audit-log-path", p.AuditLogPath()).Set("audit-log-maxsize", "100000")
	}
	for name, values := range options.APIServerFlags {
		flags.Set(name, values...)
	}
	return nil
}

// launch starts both processes, and gives up as soon as ctx is done: envtest
// takes no context, but notices at once that what it waits for has died.
func (p *ControlPlane) launch(ctx context.Context) error {
	started := make(chan error, 1)
	go func() { started <- p.envtest.Start() }()
	select {
	case err := <-started:
		return err
	case <-ctx.Done():
	}
	for {
		p.processes.kill()
		select {
		case err := <-started:
			return errors.Join(ctx.Err(), err)
		case <-time.After(pollInterval):
			// A process that was just about to start had no pid to kill yet.
		}
	}
}

// addAdmin makes the administrator's credentials and writes the kubeconfig.
func (p *ControlPlane) addAdmin() error {
	admin, err := p.envtest.AddUser(
		envtest.User{Name: "admin", Groups: []string{"system:masters"}}, unlimited())
	if err != nil {
		return fmt.Errorf("adding the administrator: %w", err)
	}
	p.config = admin.Config()
	if p.kubeconfig, err = admin.KubeConfig(); err != nil {
		return fmt.Errorf("making the administrator's kubeconfig: %w", err)
	}
	if err := os.WriteFile(p.KubeconfigPath(), p.kubeconfig, 0o600); err != nil {
		return fmt.Errorf("writing the administrator's kubeconfig: %w", err)
	}
	return nil
}

// awaitReady waits until the API server calls itself ready and has made the
// namespace kube-system, which it does shortly after. That namespace's UID is
// what identifies a cluster.
func (p *ControlPlane) awaitReady(ctx context.Context) error {
	var err error
	p.kubeSystem, err = ready(ctx, p.config)
	return err
}

// ready waits for an API server, and returns the UID of kube-system.
func ready(ctx context.Context, config *rest.Config) (kubeSystem types.UID, err error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", fmt.Errorf("making a client for the new API server: %w", err)
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, pollInterval, readyTimeout, true, func(ctx context.Context) (bool, error) {
		if last = client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error(); last != nil {
			return false, nil
		}
		var namespace *corev1.Namespace
		if namespace, last = client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{}); last != nil {
			return false, nil
		}
		kubeSystem = namespace.UID
		return true, nil
	})
	if err != nil {
		return "", fmt.Errorf("waiting for the API server and its namespace %s: %w", metav1.NamespaceSystem, errors.Join(err, last))
	}
	return kubeSystem, nil
}

// installCRDs creates the CRDs and waits until the API server serves their kinds.
func (p *ControlPlane) installCRDs(options Options) error {
	if len(options.CRDPaths)+len(options.CRDs) == 0 {
		return nil
	}
	carried := make([]*apiextensionsv1.CustomResourceDefinition, len(options.CRDs))
	for i := range options.CRDs {
		carried[i] = options.CRDs[i].DeepCopy()
	}
	if _, err := envtest.InstallCRDs(p.config, envtest.CRDInstallOptions{
		Paths: options.CRDPaths, CRDs: carried, ErrorIfPathMissing: true, MaxTime: readyTimeout, PollInterval: pollInterval,
	}); err != nil {
		return fmt.Errorf("installing the CRDs of %v, and %d others: %w", options.CRDPaths, len(carried), err)
	}
	return nil
}

// Stop ends both processes and removes their folder. It is safe to call it more
// than once and from several goroutines; every call returns when all is gone,
// with the same result.
func (p *ControlPlane) Stop() error {
	p.stopOnce.Do(func() {
		if p.detach != nil {
			p.detach()
		}
		// An API server with open watches waits for their clients much longer
		// than stopTimeout. envtest then kills it and calls that an error, which it
		// is not here; what must be true is that the processes are gone.
		if errors.Join(p.stopMore(), p.envtest.Stop()) == nil {
			p.processes.forget()
		}
		p.stopErr = errors.Join(p.processes.end(), os.RemoveAll(p.dir))
	})
	return p.stopErr
}

// KillAPIServer kills kube-apiserver, as a crash would, and returns when it is gone.
// etcd goes on. It is for tests of who has to come through that.
func (p *ControlPlane) KillAPIServer(ctx context.Context) error {
	pid, runs := p.processes.pidsByName()["kube-apiserver"]
	if !runs {
		return errors.New("killing the API server: it does not run")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing the API server: %w", err)
	}
	err := wait.PollUntilContextTimeout(ctx, pollInterval, startTimeout, true, func(context.Context) (bool, error) {
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH), nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the end of the API server: %w", err)
	}
	return nil
}

// StartAPIServer starts kube-apiserver again after KillAPIServer, at the same
// address, with the same certificates and data, and returns when it is ready.
func (p *ControlPlane) StartAPIServer(ctx context.Context) error {
	if err := p.envtest.APIServer.Start(); err != nil {
		return fmt.Errorf("starting the API server again: %w", err)
	}
	return p.awaitReady(ctx)
}

// AddUser makes a user of the given name and groups and returns the
// configuration of a client, without client-side rate limits, that acts as that
// user. The user may do what RBAC grants to the name or to one of the groups.
func (p *ControlPlane) AddUser(name string, groups ...string) (*rest.Config, error) {
	user, err := p.envtest.AddUser(envtest.User{Name: name, Groups: groups}, unlimited())
	if err != nil {
		return nil, fmt.Errorf("adding the user %q: %w", name, err)
	}
	return user.Config(), nil
}

// Config returns a copy of the administrator's client configuration, without
// client-side rate limits.
func (p *ControlPlane) Config() *rest.Config { return rest.CopyConfig(p.config) }

// Kubeconfig returns a copy of the administrator's kubeconfig in YAML.
func (p *ControlPlane) Kubeconfig() []byte { return bytes.Clone(p.kubeconfig) }

// KubeconfigPath returns the file that holds the administrator's kubeconfig; it
// goes away with the control plane.
func (p *ControlPlane) KubeconfigPath() string { return filepath.Join(p.dir, "kubeconfig") }

// KubectlPath returns where the kubectl of the same assets folder is expected.
func (p *ControlPlane) KubectlPath() string { return p.kubectl }

// AuditLogPath returns the file the API server writes audit events to, or "" if
// the options set no audit policy.
func (p *ControlPlane) AuditLogPath() string {
	if !p.auditEnabled {
		return ""
	}
	return filepath.Join(p.dir, "audit.log")
}

// ClusterUID returns the UID of the namespace kube-system, which identifies the
// cluster.
func (p *ControlPlane) ClusterUID() types.UID { return p.kubeSystem }

// PIDs returns the process ids of etcd and kube-apiserver, by their names.
func (p *ControlPlane) PIDs() map[string]int { return p.processes.pidsByName() }

// Dir returns the folder that holds everything of this control plane until it
// stops. A caller may keep its own short-lived files there.
func (p *ControlPlane) Dir() string { return p.dir }

// unlimited returns a client configuration whose requests are not held back: a
// test or benchmark is to measure the server and the operator, not the limiter.
func unlimited() *rest.Config { return &rest.Config{QPS: -1} }
