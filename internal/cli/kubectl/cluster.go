// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// clusterFlags say which cluster is asked, and as whom, as kubectl's own flags do.
// They are client-go's: those of k8s.io/cli-runtime bring kustomize with them, and by
// it Go's plugin package, for which the linker keeps every function that there is and
// its name; each manager would have 30 MB more in memory.
// See https://pkg.go.dev/cmd/link and https://pkg.go.dev/plugin.
type clusterFlags struct {
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
}

// addTo adds the flags.
func (f *clusterFlags) addTo(flags *pflag.FlagSet) {
	names := clientcmd.RecommendedConfigOverrideFlags("")
	// The user of a session is asked for much more often than one of a kubeconfig.
	names.ContextOverrideFlags.AuthInfoName.LongName = ""
	names.ClusterOverrideFlags.APIServer.ShortName = "s"
	// Kubernetes has no passwords any more.
	names.AuthOverrideFlags.Username.LongName = ""
	names.AuthOverrideFlags.Password.LongName = ""
	clientcmd.BindOverrideFlags(&f.overrides, flags, names)
	flags.StringVar(&f.kubeconfig, clientcmd.RecommendedConfigPathFlag, "", "Path to the kubeconfig file to use for CLI requests.")
}

// loader reads the kubeconfig when it is asked something.
func (f *clusterFlags) loader() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &f.overrides)
}

// namespace is that of -n; empty without it.
func (f *clusterFlags) namespace() string { return f.overrides.Context.Namespace }

// config is what a client of the cluster needs.
func (f *clusterFlags) config() (*rest.Config, error) {
	config, err := f.loader().ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the cluster: %w", err)
	}
	return config, nil
}
