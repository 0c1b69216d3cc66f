// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kubectl is the kubectl plugin, "kubectl mandelbox": what people who run a
// fleet ask of it and do to it, with their own credentials. It shows the model of
// internal/view, and knows no rule of the operator's own.
package kubectl

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cli/terminal"
	"github.com/mandelbox/mandelbox-operator/internal/follow"
	"github.com/mandelbox/mandelbox-operator/internal/view"
)

// fieldManager is who the writes of the plugin are by.
const fieldManager = "kubectl-mandelbox"

// plugin is what all subcommands share.
type plugin struct {
	flags   clusterFlags
	version string
}

// silenced discards what the client libraries log, which is for the developers of
// controllers.
var silenced = sync.OnceFunc(func() {
	klog.SetLogger(logr.Discard())
	ctrllog.SetLogger(logr.Discard())
})

// New returns the command "kubectl mandelbox" of a binary of a version. It is
// called use where it is a subcommand.
func New(use, version string) *cobra.Command {
	p := &plugin{version: version}
	root := &cobra.Command{
		Use:   use,
		Short: "See and run a fleet of mandelboxes: kubectl mandelbox",
		Long: `See and run a fleet of mandelboxes, with the cluster and credentials of your kubeconfig.

Put on the PATH under the name kubectl-mandelbox, the binary is "kubectl mandelbox".`,
		Args:             cobra.NoArgs,
		SilenceErrors:    true,
		SilenceUsage:     true,
		RunE:             func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRun: func(*cobra.Command, []string) { silenced() },
		Annotations:      map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl mandelbox"},
	}
	p.flags.addTo(root.PersistentFlags())
	p.completeFlags(root)
	root.AddCommand(
		p.newStatusCommand(), p.newTreeCommand(), p.newSessionsCommand(), p.newExplainCommand(), p.newLogsCommand(),
		p.newDrainCommand(), p.newUndrainCommand(), p.newReportCommand(), p.newDashboardCommand(),
	)
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}

// newScheme knows the kinds that the plugin reads.
func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}

// client makes a client of the cluster that the flags name.
func (p *plugin) client() (client.WithWatch, error) {
	config, err := p.flags.config()
	if err != nil {
		return nil, err
	}
	// A person waits for the answer, which may take some tens of requests.
	config.QPS, config.Burst = 50, 100
	config.UserAgent = "kubectl-mandelbox/" + p.version
	c, err := client.NewWithWatch(config, client.Options{Scheme: newScheme()})
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return c, nil
}

// namespace is that of -n, or the kubeconfig's.
func (p *plugin) namespace() (string, error) {
	namespace, _, err := p.flags.loader().Namespace()
	if err != nil {
		return "", fmt.Errorf("finding the namespace: %w", err)
	}
	return namespace, nil
}

// scope is the namespace of which sessions are shown: that of -n, else all, else,
// for who may not see those, the kubeconfig's, which notes is told of.
func (p *plugin) scope(ctx context.Context, c client.Reader, notes io.Writer) (string, error) {
	if namespace := p.flags.namespace(); namespace != "" {
		return namespace, nil
	}
	err := c.List(ctx, &v1alpha1.MandelboxList{}, client.Limit(1))
	if !apierrors.IsForbidden(err) {
		return "", err
	}
	namespace, err := p.namespace()
	if err != nil {
		return "", err
	}
	_, err = fmt.Fprintf(notes, "You may not see the sessions of all namespaces; these are those of %s.\n", namespace)
	return namespace, err
}

// read reads the fleet once.
func (p *plugin) read(cmd *cobra.Command) (view.Snapshot, error) {
	c, err := p.client()
	if err != nil {
		return view.Snapshot{}, err
	}
	namespace, err := p.scope(cmd.Context(), c, cmd.ErrOrStderr())
	if err != nil {
		return view.Snapshot{}, err
	}
	return follow.Read(cmd.Context(), c, namespace)
}

// colours says whether a command's output is coloured.
func colours(cmd *cobra.Command) bool { return terminal.Colours(cmd.OutOrStdout()) }

// printLines writes lines.
func printLines(out io.Writer, lines []string) error {
	for _, line := range lines {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}
