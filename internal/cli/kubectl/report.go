// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mandelbox/mandelbox-operator/internal/follow"
	"github.com/mandelbox/mandelbox-operator/internal/view"
)

// reportReadme is the first file of a bundle.
const reportReadme = `A report on a fleet of mandelboxes, made by "kubectl mandelbox report".

status.txt, tree.txt  what "kubectl mandelbox status" and "tree" showed
fleet.yaml            the same, for programs
objects/              the objects of the four kinds
events.yaml           the Events about them that Kubernetes still had
versions.yaml         versions of the plugin, the API server, the CRDs and the managers
missing.txt           what could not be read, and why; it is there only if something could not

Commands, user data, and the values of environments, of options of log drivers, of
the managers' flags and of annotations that aren't the operator's were replaced by
REDACTED. Names, user ids and addresses were not: read it before you hand it on.
`

func (p *plugin) newReportCommand() *cobra.Command {
	var file, managers string
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Write a support bundle: objects, events and versions, without secrets",
		Long: `Write a support bundle, a .tar.gz with the objects of the four kinds, the Events
about them and the versions of what runs. Commands, user data, and the values of
environments, of options of log drivers and of the managers' flags are left out.
What you may not read is left out and named.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			name := "mandelbox-report-" + time.Now().UTC().Format("20060102-150405")
			out := cmd.OutOrStdout()
			if file != "-" {
				if file == "" {
					file = name + ".tar.gz"
				}
				// It tells of users, and is nobody else's on this machine.
				created, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // The file is the user's own argument.
				if err != nil {
					return fmt.Errorf("creating the report: %w", err)
				}
				defer func() { err = errors.Join(err, created.Close()) }()
				out = created
			}
			if err := p.report(cmd, out, name, managers); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "Wrote %s.\n", file)
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", `file to write, "-" for standard output (default mandelbox-report-TIME.tar.gz)`)
	cmd.Flags().StringVar(&managers, "manager-namespace", "mandelbox-system", "namespace of the managers")
	return cmd
}

// report writes the bundle.
func (p *plugin) report(cmd *cobra.Command, out io.Writer, name, managers string) error {
	ctx := cmd.Context()
	c, err := p.client()
	if err != nil {
		return err
	}
	namespace, err := p.scope(ctx, c, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	snapshot, err := follow.Read(ctx, c, namespace)
	if err != nil {
		return err
	}
	redact(&snapshot)
	fleet := view.Of(snapshot)
	text := text{now: snapshot.Now}
	b := newBundle(out, name, snapshot.Now)
	b.text("README.txt", reportReadme)
	b.text("status.txt", strings.Join(text.status(fleet), "\n")+"\n")
	b.text("tree.txt", strings.Join(text.tree(fleet), "\n")+"\n")
	b.yaml("fleet.yaml", fleet)
	b.yaml("objects/regions.yaml", snapshot.Regions)
	b.yaml("objects/amis.yaml", snapshot.AMIs)
	b.yaml("objects/instances.yaml", snapshot.Instances)
	b.yaml("objects/mandelboxes.yaml", snapshot.Mandelboxes)
	gathered := &gathering{ctx: ctx, c: c}
	b.yaml("events.yaml", gathered.events(namespace))
	b.yaml("versions.yaml", gathered.versions(p, managers))
	if len(gathered.missing) > 0 {
		b.text("missing.txt", strings.Join(gathered.missing, "\n")+"\n")
	}
	return b.close()
}
