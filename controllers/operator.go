// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controllers puts the operator together: the four controllers and their
// webhooks in one manager, on one registry of open AWS regions.
package controllers

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/config/crd"
	"github.com/mandelbox/mandelbox-operator/controllers/ami"
	"github.com/mandelbox/mandelbox-operator/controllers/instance"
	"github.com/mandelbox/mandelbox-operator/controllers/mandelbox"
	"github.com/mandelbox/mandelbox-operator/controllers/orphan"
	"github.com/mandelbox/mandelbox-operator/controllers/region"
	"github.com/mandelbox/mandelbox-operator/controllers/region/census"
	"github.com/mandelbox/mandelbox-operator/controllers/trigger"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	"github.com/mandelbox/mandelbox-operator/internal/index"
	"github.com/mandelbox/mandelbox-operator/internal/metrics"
	"github.com/mandelbox/mandelbox-operator/internal/schema"
	"github.com/mandelbox/mandelbox-operator/internal/tracing"
	"github.com/mandelbox/mandelbox-operator/internal/webhook"
)

// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,namespace=mandelbox-system,verbs=create
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,resourceNames=mandelbox-operator,namespace=mandelbox-system,verbs=get;update
// +kubebuilder:rbac:groups="",resources=events,namespace=mandelbox-system,verbs=create
// +kubebuilder:rbac:groups="",resources=namespaces,resourceNames=kube-system,verbs=get
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

const (
	// leaderElectionID is the name of the Lease that the leader holds.
	leaderElectionID = "mandelbox-operator"
	// leaderRetry is how often the leader renews its Lease, and others look whether it
	// is free: they wait for up to 2.2 times as long between two looks, see both its last
	// renewal and its end by one, and meanwhile nobody is given a slot.
	// See https://pkg.go.dev/k8s.io/client-go/tools/leaderelection#JitterFactor.
	leaderRetry = 250 * time.Millisecond
)

// Options say how the operator runs.
type Options struct {
	// ClusterID is the value of the tag that marks what this control cluster owns in
	// AWS; the UID of the namespace kube-system by default.
	ClusterID string
	// Cloud makes the clients of the regions.
	Cloud cloud.Provider
	// Observer says how often AWS is looked at.
	Observer cloud.ObserverOptions
	// LaunchTimeout bounds a launch; instance.DefaultLaunchTimeout by default.
	LaunchTimeout time.Duration
	// OrphanGrace and OrphanInterval say when hosts and tasks that belong to nobody
	// are removed, and how often they are looked for; see package orphan.
	OrphanGrace, OrphanInterval time.Duration
	// OrphansDryRun reports orphans and removes none.
	OrphansDryRun bool
	// MandelboxesPerUser is how many Mandelboxes one user may hold at once in one
	// namespace; 0 is no limit.
	MandelboxesPerUser int32
	// AllowDevClients accepts Mandelboxes with the commit hash "local_dev".
	AllowDevClients bool
	// LeaderElection has one manager of several work at a time.
	LeaderElection bool
	// LeaderElectionNamespace is where the Lease is; the manager's own by default.
	LeaderElectionNamespace string
	// MetricsAddress serves metrics over TLS to those who may read them; "0" is off.
	MetricsAddress string
	// Metrics takes the operator's own metrics; by default the registry that the
	// manager serves. Managers that lead at the same time in one process need one each.
	Metrics prometheus.Registerer
	// ProbeAddress serves /healthz and /readyz; "0" is off.
	ProbeAddress string
	// ProfileAddress serves net/http/pprof; empty is off.
	ProfileAddress string
	// Webhooks serves the admission webhooks; nil is off.
	Webhooks *WebhookOptions
	// Traces takes traces of session starts and host launches; nil is off.
	Traces trace.TracerProvider
	// Version is that of the program, for its metrics and for what it says of itself to
	// the API server; both say nothing if it is empty.
	Version string
	// Log is where the manager and its controllers write.
	Log logr.Logger
}

// WebhookOptions say how the admission webhooks are served.
type WebhookOptions struct {
	// Host and Port are listened on; all addresses and 9443 by default.
	Host string
	Port int
	// Certificates say whom the serving certificate is for and where it is kept.
	Certificates webhook.CertOptions
	// OwnCertificates has the manager make and rotate its certificates itself;
	// otherwise they are read from Certificates.CertDir.
	OwnCertificates bool
}

// NewScheme returns a scheme with all kinds that the operator reads and writes.
func NewScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(apiextensionsv1.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

// NewManager returns a manager with everything in it, ready to be started.
func NewManager(ctx context.Context, restConfig *rest.Config, o Options) (ctrl.Manager, error) {
	// The client-side limit would slow a burst of sessions; the API server's own
	// priority and fairness does better.
	restConfig = rest.CopyConfig(restConfig)
	restConfig.QPS = -1
	if o.Version != "" {
		restConfig.UserAgent = "mandelbox-operator/" + o.Version
	}
	mgr, err := ctrl.NewManager(restConfig, managerOptions(o))
	if err != nil {
		return nil, fmt.Errorf("making the manager: %w", err)
	}
	if err := checkSchema(ctx, mgr.GetAPIReader()); err != nil {
		return nil, err
	}
	if o.ClusterID == "" {
		if o.ClusterID, err = clusterUID(ctx, mgr.GetAPIReader()); err != nil {
			return nil, err
		}
	}
	if err := index.Register(ctx, mgr.GetFieldIndexer()); err != nil {
		return nil, err
	}
	if err := addControllers(ctx, mgr, o); err != nil {
		return nil, err
	}
	if err := addWebhooks(ctx, mgr, o); err != nil {
		return nil, err
	}
	if o.Traces != nil {
		if err := mgr.Add(&tracing.Follower{Provider: o.Traces, Cache: mgr.GetCache(), Clock: clock.RealClock{}}); err != nil {
			return nil, fmt.Errorf("adding the traces: %w", err)
		}
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, fmt.Errorf("adding the health check: %w", err)
	}
	return mgr, nil
}

func managerOptions(o Options) ctrl.Options {
	options := ctrl.Options{
		Scheme: NewScheme(),
		Logger: o.Log,
		Cache:  cache.Options{DefaultTransform: slim},
		// Secrets are read where they are needed, not kept in memory.
		Client:                        client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		Controller:                    config.Controller{SkipNameValidation: ptr.To(true)},
		HealthProbeBindAddress:        o.ProbeAddress,
		PprofBindAddress:              o.ProfileAddress,
		LeaderElection:                o.LeaderElection,
		LeaderElectionID:              leaderElectionID,
		LeaderElectionNamespace:       o.LeaderElectionNamespace,
		LeaderElectionReleaseOnCancel: true,
		RetryPeriod:                   ptr.To(leaderRetry),
		GracefulShutdownTimeout:       ptr.To(30 * time.Second),
		Metrics: metricsserver.Options{
			BindAddress: o.MetricsAddress, SecureServing: true, FilterProvider: filters.WithAuthenticationAndAuthorization,
		},
	}
	if w := o.Webhooks; w != nil {
		options.WebhookServer = ctrlwebhook.NewServer(ctrlwebhook.Options{Host: w.Host, Port: w.Port, CertDir: w.Certificates.CertDir})
	}
	return options
}

// checkSchema refuses to run on CRDs that lack anything of those in this binary.
func checkSchema(ctx context.Context, reader client.Reader) error {
	definitions, err := crd.Definitions()
	if err != nil {
		return err
	}
	return schema.Check(ctx, reader, definitions)
}

// clusterUID is the UID of kube-system, which lives as long as the cluster does.
func clusterUID(ctx context.Context, reader client.Reader) (string, error) {
	var namespace corev1.Namespace
	if err := reader.Get(ctx, client.ObjectKey{Name: "kube-system"}, &namespace); err != nil {
		return "", fmt.Errorf("reading the UID of kube-system, which names this cluster in AWS: %w", err)
	}
	return string(namespace.UID), nil
}

// addControllers wires the four controllers to one another and to the cloud.
func addControllers(ctx context.Context, mgr ctrl.Manager, o Options) error {
	counts, err := addMetrics(mgr, o.Metrics, o.Version)
	if err != nil {
		return err
	}
	o.Observer.EventCounts = counts
	regions := cloud.NewRegions(o.Cloud, o.Observer)
	if err := mgr.Add(regions); err != nil {
		return fmt.Errorf("adding the regions: %w", err)
	}
	events := mgr.GetEventRecorder("mandelbox-operator")
	sessionChanges, hostChanges, demandChanges := &trigger.Trigger{}, &trigger.Trigger{}, &trigger.Trigger{}

	assigner := mandelbox.NewAssigner()
	assigner.Client, assigner.Live, assigner.Cache, assigner.Clock = mgr.GetClient(), mgr.GetAPIReader(), mgr.GetCache(), clock.RealClock{}
	assigner.PerUser, assigner.Verdicts, assigner.Demands = o.MandelboxesPerUser, sessionChanges, demandChanges
	assigner.Counts = counts

	sessions := &mandelbox.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Regions: regions, Assigner: assigner,
		Events: events, Clock: clock.RealClock{}, Wake: sessionChanges,
	}
	hosts := &instance.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Regions: regions, ClusterID: o.ClusterID,
		Launcher: instance.NewLauncher(mgr.GetClient(), clock.RealClock{}, hostChanges),
		Events:   events, Clock: clock.RealClock{}, Wake: hostChanges,
	}
	hosts.Launcher.Counts = counts
	hosts.Launcher.Timeout = cmp.Or(o.LaunchTimeout, instance.DefaultLaunchTimeout)
	places := &region.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Regions: regions, ClusterID: o.ClusterID,
		Events: events, Clock: clock.RealClock{}, Demand: assigner, Changes: demandChanges,
	}
	sweeper := &orphan.Sweeper{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Regions: regions, Events: events, Clock: clock.RealClock{},
		Grace: o.OrphanGrace, Interval: o.OrphanInterval, DryRun: o.OrphansDryRun, Counts: counts, Regional: demandChanges,
	}
	if err := mgr.Add(sweeper); err != nil {
		return fmt.Errorf("adding the search for orphans: %w", err)
	}
	places.Orphans = sweeper
	channels := &ami.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Regions: regions, ClusterID: o.ClusterID,
		Events: events, Clock: clock.RealClock{}, Demand: assigner, Released: assigner.Released,
	}
	regions.Subscribe(func(region string, change cloud.Change) {
		hosts.Observed(ctx, region, change)
		sessions.Observed(ctx, region, change)
	})
	for name, controller := range map[string]interface{ SetupWithManager(ctrl.Manager) error }{
		"Mandelbox": sessions, "Instance": hosts, "Region": places, "AMI": channels,
	} {
		if err := controller.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("adding the controller of %ss: %w", name, err)
		}
	}
	return nil
}

// addMetrics has the manager report while it leads, and returns what controllers
// count with.
func addMetrics(mgr ctrl.Manager, registry prometheus.Registerer, version string) (*metrics.Counts, error) {
	if registry == nil {
		registry = ctrlmetrics.Registry
	}
	counts, err := metrics.NewCounts(registry)
	if err != nil {
		return nil, err
	}
	if version != "" {
		if err := metrics.ReportBuild(registry, version); err != nil {
			return nil, err
		}
	}
	err = mgr.Add(&metrics.Reporter{
		Registry: registry, Counts: counts, Cache: mgr.GetCache(), Clock: clock.RealClock{},
		DesiredFree: func(a *v1alpha1.AMI, r *v1alpha1.Region) int32 {
			free, _ := census.Desired(a, r, time.Now())
			return free
		},
	})
	if err != nil {
		return nil, fmt.Errorf("adding the metrics: %w", err)
	}
	return counts, nil
}

// addWebhooks serves the webhooks, and says ready once they have their certificate.
func addWebhooks(ctx context.Context, mgr ctrl.Manager, o Options) error {
	if o.Webhooks == nil {
		if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
			return fmt.Errorf("adding the readiness check: %w", err)
		}
		return nil
	}
	if o.Webhooks.OwnCertificates {
		// Closed by the rotation once the CA is in the webhook configuration.
		ready := make(chan struct{})
		if err := webhook.AddCertificates(ctx, mgr, o.Webhooks.Certificates, ready); err != nil {
			return err
		}
	}
	err := webhook.SetupWithManager(mgr, webhook.Options{
		AllowDevClients: o.AllowDevClients, MandelboxesPerUser: o.MandelboxesPerUser,
	})
	if err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("webhooks", mgr.GetWebhookServer().StartedChecker()); err != nil {
		return fmt.Errorf("adding the readiness check: %w", err)
	}
	return nil
}
