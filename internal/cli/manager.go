// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	ctrl "sigs.k8s.io/controller-runtime"
	clientconfig "sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/mandelbox/mandelbox-operator/controllers"
	"github.com/mandelbox/mandelbox-operator/controllers/instance"
	"github.com/mandelbox/mandelbox-operator/controllers/orphan"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	cloudaws "github.com/mandelbox/mandelbox-operator/internal/cloud/aws"
	"github.com/mandelbox/mandelbox-operator/internal/tracing"
	"github.com/mandelbox/mandelbox-operator/internal/webhook"
)

// managerOptions are the flags of the manager.
type managerOptions struct {
	clusterID          string
	allowDevClients    bool
	mandelboxesPerUser int32
	leaderElect        bool
	namespace          string
	metricsAddress     string
	probeAddress       string
	listInterval       time.Duration
	hotInterval        time.Duration
	gracePeriod        time.Duration
	launchTimeout      time.Duration
	orphanGrace        time.Duration
	orphanInterval     time.Duration
	orphansDryRun      bool
	webhooks           bool
	webhookPort        int
	webhookCertDir     string
	webhookNames       []string
	ownCertificates    bool
	development        bool
	verbosity          int8
	profileAddress     string
}

// ManagerFlags are the flags of the manager with their defaults, for their reference.
func ManagerFlags() *pflag.FlagSet { return newManagerCommand().Flags() }

// lastTraces is how long a manager that stops tries to send its last traces.
const lastTraces = 5 * time.Second

func newManagerCommand() *cobra.Command {
	var o managerOptions
	cmd := &cobra.Command{
		Use:   "manager",
		Short: "Run the operator",
		Long: `Run the operator: the controllers and webhooks of Region, AMI, Instance and Mandelbox.

The cluster is that of --kubeconfig, KUBECONFIG or the pod's service account; AWS
credentials, endpoint and retries come from the AWS SDK's standard chain.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runManager(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.clusterID, "cluster-id", "", "value of the tag mandelbox.dev/cluster on everything made in AWS (default: the UID of kube-system)")
	f.BoolVar(&o.allowDevClients, "allow-dev-clients", false, `accept Mandelboxes with the commit hash "local_dev", which fits whatever is active`)
	f.Int32Var(&o.mandelboxesPerUser, "mandelboxes-per-user", 3, "how many Mandelboxes one user may hold at once in one namespace; 0 is no limit")
	f.BoolVar(&o.leaderElect, "leader-elect", false, "have one manager of several work at a time")
	f.StringVar(&o.namespace, "namespace", webhook.DefaultNamespace, "namespace of the Lease and of the webhook certificate")
	f.StringVar(&o.metricsAddress, "metrics-bind-address", "0", `address that serves metrics over TLS, e.g. ":8443"; "0" is off`)
	f.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", `address that serves /healthz and /readyz; "0" is off`)
	f.DurationVar(&o.listInterval, "aws-list-interval", 30*time.Second, "time between two full listings of each region")
	f.DurationVar(&o.hotInterval, "aws-hot-interval", time.Second, "time between two looks at what is in motion")
	f.DurationVar(&o.gracePeriod, "aws-grace-period", time.Minute, "how long AWS's reads may lag behind its writes")
	f.DurationVar(&o.launchTimeout, "launch-timeout", instance.DefaultLaunchTimeout, "how long one launch of hosts may take, and how long it is taken to be under way if a manager that ended asked for it")
	f.DurationVar(&o.orphanGrace, "orphan-grace", orphan.DefaultGrace, "how long a host or task in AWS that belongs to no object is left alone")
	f.DurationVar(&o.orphanInterval, "orphan-interval", orphan.DefaultInterval, "time between two looks for such hosts and tasks")
	f.BoolVar(&o.orphansDryRun, "orphans-dry-run", false, "report hosts and tasks that belong to no object, and remove none")
	f.BoolVar(&o.webhooks, "webhooks", true, "serve the admission webhooks")
	f.IntVar(&o.webhookPort, "webhook-port", 9443, "port that serves them")
	f.StringVar(&o.webhookCertDir, "webhook-cert-dir", filepath.Join(os.TempDir(), "mandelbox-operator-webhook"), "folder of their certificate, tls.crt and tls.key")
	f.BoolVar(&o.ownCertificates, "webhook-own-certificates", true, "make and rotate the certificate; false takes what is in the folder, e.g. cert-manager's")
	f.StringSliceVar(&o.webhookNames, "webhook-extra-dns-names", nil, `further names that the certificate is for, e.g. "localhost" for a manager outside the cluster`)
	f.BoolVar(&o.development, "development", false, "write logs for people instead of as JSON")
	f.Int8VarP(&o.verbosity, "verbosity", "v", 0, fmt.Sprintf("how much to log; 1 is for debugging, %d the most", maxVerbosity))
	f.StringVar(&o.profileAddress, "pprof-bind-address", "", "address that serves net/http/pprof to anybody; off by default")
	// For the benchmarks: what it serves is not for everybody, and has no authentication.
	cobra.CheckErr(f.MarkHidden("pprof-bind-address"))
	return cmd
}

// maxVerbosity is below the 8 from which the client library writes down whole objects:
// environments and user data, which may hold secrets, are in no log.
// See https://kubernetes.io/docs/reference/kubectl/quick-reference/#kubectl-output-verbosity-and-debugging.
const maxVerbosity = 7

func runManager(ctx context.Context, o managerOptions) error {
	if o.verbosity < 0 || o.verbosity > maxVerbosity {
		return fmt.Errorf("--verbosity is from 0 to %d: beyond, whole objects would be logged, with the secrets in them", maxVerbosity)
	}
	if o.launchTimeout <= 0 {
		return fmt.Errorf("--launch-timeout is %s, and no launch would ever be waited for: it has to be more than 0", o.launchTimeout)
	}
	defer paceCollector()()
	log := newLogger(o.development, o.verbosity)
	ctrl.SetLogger(log)
	restConfig, err := clientconfig.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the cluster: %w", err)
	}
	provider, err := newAWSProvider(ctx)
	if err != nil {
		return err
	}
	traces, err := tracing.NewProvider(ctx, Version())
	if err != nil {
		return err
	}
	options := controllers.Options{
		ClusterID: o.clusterID, Cloud: provider,
		Observer: cloud.ObserverOptions{
			ListInterval: o.listInterval, HotInterval: o.hotInterval, GracePeriod: o.gracePeriod, Log: log.WithName("observer"),
		},
		LaunchTimeout: o.launchTimeout, OrphanGrace: o.orphanGrace, OrphanInterval: o.orphanInterval, OrphansDryRun: o.orphansDryRun,
		MandelboxesPerUser: o.mandelboxesPerUser, AllowDevClients: o.allowDevClients,
		LeaderElection: o.leaderElect, LeaderElectionNamespace: o.namespace,
		MetricsAddress: o.metricsAddress, ProbeAddress: o.probeAddress, ProfileAddress: o.profileAddress, Version: Version(), Log: log,
	}
	if traces != nil {
		options.Traces = traces
		// What was told last is sent even though the manager is stopping.
		defer func() {
			limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTraces)
			defer cancel()
			if err := traces.Shutdown(limited); err != nil {
				log.Error(err, "Sending the last traces")
			}
		}()
	}
	if o.webhooks {
		options.Webhooks = &controllers.WebhookOptions{
			Port: o.webhookPort, OwnCertificates: o.ownCertificates,
			Certificates: webhook.CertOptions{Namespace: o.namespace, CertDir: o.webhookCertDir, ExtraDNSNames: o.webhookNames},
		}
	}
	mgr, err := controllers.NewManager(ctx, restConfig, options)
	if err != nil {
		return err
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the manager: %w", err)
	}
	return nil
}

// newAWSProvider makes AWS clients from the SDK's standard chain.
func newAWSProvider(ctx context.Context) (*cloudaws.Provider, error) {
	config, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("loading the AWS configuration: %w", err)
	}
	provider, err := cloudaws.New(ctx, cloudaws.Options{
		Config: config, UserAgent: "mandelbox-operator/" + Version(), Registerer: metrics.Registry,
	})
	if err != nil {
		return nil, fmt.Errorf("preparing for AWS: %w", err)
	}
	return provider, nil
}
