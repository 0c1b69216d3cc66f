// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cli/terminal"
	"github.com/mandelbox/mandelbox-operator/internal/view"
)

func (p *plugin) newLogsCommand() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use:   "logs KIND/NAME",
		Short: "Show what happened to an object and its parents, in the order of time",
		Long: `Show the Events of an object and of its parents, and what their status tells of
their past, in the order of time. The parents of a Mandelbox are its Instance, AMI and
Region; those of an Instance its AMI and Region. Kubernetes keeps Events for an hour.`,
		Example:           "  kubectl mandelbox logs mandelbox/ada -n team-a\n  kubectl mandelbox logs region/us-east-1",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completed(p.kindsAndNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.client()
			if err != nil {
				return err
			}
			namespace, err := p.namespace()
			if err != nil {
				return err
			}
			f := &family{ctx: cmd.Context(), c: c, notes: cmd.ErrOrStderr()}
			if err := f.gather(args[0], namespace); err != nil {
				return err
			}
			entries := view.History(f.objects, f.events)
			return o.print(cmd.OutOrStdout(), entries, func() []string { return history(entries, colours(cmd)) })
		},
	}
	o.addTo(cmd)
	return cmd
}

// kindNames are what the kinds may be called.
var kindNames = map[string]string{
	"region": "Region", "regions": "Region", "rgn": "Region",
	"ami": "AMI", "amis": "AMI",
	"instance": "Instance", "instances": "Instance", "mbi": "Instance",
	"mandelbox": "Mandelbox", "mandelboxes": "Mandelbox", "mbx": "Mandelbox",
}

// kindsAndNames completes the argument: the kind first, then the name.
func (p *plugin) kindsAndNames(ctx context.Context, c client.Reader, word string) ([]string, error) {
	kind, _, _ := strings.Cut(word, "/")
	var found []string
	var err error
	switch kindNames[kind] {
	case "Region":
		found, err = names(ctx, c, &v1alpha1.RegionList{}, "")
	case "AMI":
		found, err = names(ctx, c, &v1alpha1.AMIList{}, "")
	case "Instance":
		found, err = names(ctx, c, &v1alpha1.InstanceList{}, "")
	case "Mandelbox":
		var namespace string
		if namespace, err = p.namespace(); err == nil {
			found, err = names(ctx, c, &v1alpha1.MandelboxList{}, namespace)
		}
	default:
		return []string{"region/", "ami/", "instance/", "mandelbox/"}, nil
	}
	for i := range found {
		found[i] = kind + "/" + found[i]
	}
	return found, err
}

// family is an object and its parents, with their Events.
type family struct {
	ctx     context.Context
	c       client.Reader
	notes   io.Writer
	objects []metav1.Object
	events  []corev1.Event
}

// gather reads what "kind/name" names, and its parents.
func (f *family) gather(arg, namespace string) error {
	kind, name, both := strings.Cut(arg, "/")
	if !both || name == "" || kindNames[kind] == "" {
		return fmt.Errorf("%q is no KIND/NAME; the kinds are region, ami, instance and mandelbox", arg)
	}
	var found bool
	var err error
	switch kindNames[kind] {
	case "Region":
		found, err = f.take("Region", "", name, &v1alpha1.Region{})
	case "AMI":
		found, err = f.take("AMI", "", name, &v1alpha1.AMI{})
	case "Instance":
		found, err = f.takeInstance(name)
	case "Mandelbox":
		found, err = f.takeMandelbox(namespace, name)
	}
	if err == nil && !found && len(f.events) == 0 {
		return fmt.Errorf("there is no %s %s, and no Event of one", kindNames[kind], name)
	}
	return err
}

func (f *family) takeMandelbox(namespace, name string) (bool, error) {
	var m v1alpha1.Mandelbox
	found, err := f.take("Mandelbox", namespace, name, &m)
	if err != nil || !found {
		return found, err
	}
	if m.Status.InstanceName != "" {
		hosted, err := f.takeInstance(m.Status.InstanceName)
		if err != nil || hosted {
			return true, err
		}
	}
	if m.Spec.AMIName != "" {
		if _, err := f.take("AMI", "", m.Spec.AMIName, &v1alpha1.AMI{}); err != nil {
			return true, err
		}
	}
	for _, region := range m.Spec.Regions {
		if _, err := f.take("Region", "", region, &v1alpha1.Region{}); err != nil {
			return true, err
		}
	}
	return true, nil
}

func (f *family) takeInstance(name string) (bool, error) {
	var i v1alpha1.Instance
	found, err := f.take("Instance", "", name, &i)
	if err != nil || !found {
		return found, err
	}
	if _, err := f.take("AMI", "", i.Spec.AMIName, &v1alpha1.AMI{}); err != nil {
		return true, err
	}
	_, err = f.take("Region", "", i.Spec.RegionName, &v1alpha1.Region{})
	return true, err
}

// take reads an object and its Events. One that is gone may still have some.
func (f *family) take(kind, namespace, name string, into client.Object) (found bool, err error) {
	err = f.c.Get(f.ctx, types.NamespacedName{Namespace: namespace, Name: name}, into)
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return false, fmt.Errorf("reading %s %s: %w", kind, name, err)
	default:
		found = true
		f.objects = append(f.objects, into)
	}
	// Events of an object without a namespace are in "default".
	in := namespace
	if in == "" {
		in = metav1.NamespaceDefault
	}
	var events corev1.EventList
	err = f.c.List(f.ctx, &events, client.InNamespace(in),
		client.MatchingFields{"involvedObject.kind": kind, "involvedObject.name": name})
	if apierrors.IsForbidden(err) {
		_, err = fmt.Fprintf(f.notes, "You may not see the Events of namespace %s, where those of %s %s are.\n", in, kind, name)
		return found, err
	}
	if err != nil {
		return found, fmt.Errorf("reading the Events of %s %s: %w", kind, name, err)
	}
	for _, e := range events.Items {
		// Another object had the name before.
		if !found || e.InvolvedObject.UID == "" || e.InvolvedObject.UID == into.GetUID() {
			f.events = append(f.events, e)
		}
	}
	return found, nil
}

// history shows the entries, one a line.
func history(entries []view.Entry, colours bool) []string {
	grid := [][]terminal.Cell{terminal.Titles("TIME", "OBJECT", "FROM", "WHAT", "MESSAGE")}
	for _, e := range entries {
		source := terminal.Cell{Text: e.Source, Colour: terminal.Faint}
		if e.Source == corev1.EventTypeWarning {
			source.Colour = terminal.Yellow
		}
		message := e.Message
		if e.Count > 1 {
			message += fmt.Sprintf(" (%d times)", e.Count)
		}
		grid = append(grid, []terminal.Cell{
			{Text: e.Time.Local().Format(time.DateTime)}, {Text: e.Object}, source, {Text: e.Reason}, {Text: message},
		})
	}
	return terminal.Table(grid, colours)
}
