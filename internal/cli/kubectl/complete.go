// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// completionTimeout is how long a person waits for a completion.
const completionTimeout = 3 * time.Second

// completion is what cobra asks for the words that may follow.
type completion = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective)

// completeFlags completes the flags of the cluster.
func (p *plugin) completeFlags(root *cobra.Command) {
	cobra.CheckErr(root.RegisterFlagCompletionFunc("namespace", p.completed(func(ctx context.Context, c client.Reader, _ string) ([]string, error) {
		return names(ctx, c, &corev1.NamespaceList{}, "")
	})))
	cobra.CheckErr(root.RegisterFlagCompletionFunc("context", func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		config, err := p.flags.loader().RawConfig()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var contexts []string
		for name := range config.Contexts {
			contexts = append(contexts, name)
		}
		slices.Sort(contexts)
		return contexts, cobra.ShellCompDirectiveNoFileComp
	}))
}

// completed completes a word by what the cluster has. An error completes nothing:
// a shell's prompt is no place to tell it.
func (p *plugin) completed(list func(ctx context.Context, c client.Reader, word string) ([]string, error)) completion {
	return func(cmd *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		c, err := p.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		words, err := list(ctx, c, word)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		words = slices.DeleteFunc(words, func(w string) bool { return !strings.HasPrefix(w, word) })
		directive := cobra.ShellCompDirectiveNoFileComp
		if slices.ContainsFunc(words, func(w string) bool { return strings.HasSuffix(w, "/") }) {
			directive |= cobra.ShellCompDirectiveNoSpace // More of the word follows.
		}
		return words, directive
	}
}

// names are those of all objects of a list, in order.
func names(ctx context.Context, c client.Reader, list client.ObjectList, namespace string) ([]string, error) {
	if err := c.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	var all []string
	err := meta.EachListItem(list, func(o runtime.Object) error {
		object, err := meta.Accessor(o)
		if err == nil {
			all = append(all, object.GetName())
		}
		return err
	})
	slices.Sort(all)
	return all, err
}

// instances completes names of Instances.
func (p *plugin) instances() completion {
	return p.completed(func(ctx context.Context, c client.Reader, _ string) ([]string, error) {
		return names(ctx, c, &v1alpha1.InstanceList{}, "")
	})
}

// mandelboxes completes names of Mandelboxes in the namespace.
func (p *plugin) mandelboxes() completion {
	return p.completed(func(ctx context.Context, c client.Reader, _ string) ([]string, error) {
		namespace, err := p.namespace()
		if err != nil {
			return nil, err
		}
		return names(ctx, c, &v1alpha1.MandelboxList{}, namespace)
	})
}
