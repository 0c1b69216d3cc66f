// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/mandelbox/mandelbox-operator/internal/dashboard"
	"github.com/mandelbox/mandelbox-operator/internal/follow"
)

func (p *plugin) newDashboardCommand() *cobra.Command {
	var port uint16
	var open bool
	cmd := &cobra.Command{
		Use:   "dashboard",
		Short: "Show the live fleet as a map, on a page that only this machine can open",
		Long: `Serve a page on 127.0.0.1 that shows the live fleet, read with your own
credentials: what is wrong, every host with its slots, rollouts and the queue.
Nothing can be changed there. Its address holds a new secret each time; who knows it
and can connect to 127.0.0.1 on this machine sees what you may see.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := p.dashboard(cmd, port)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "The fleet is at %s\nCtrl-C ends it.\n", d.URL()); err != nil {
				return err
			}
			if open {
				go openBrowser(cmd, d.TicketURL())
			}
			return d.Serve(cmd.Context())
		},
	}
	cmd.Flags().Uint16Var(&port, "port", 0, "port of 127.0.0.1 to serve on; 0 takes one that is free")
	cmd.Flags().BoolVar(&open, "open", false, "open it in your browser")
	return cmd
}

// dashboard makes the dashboard of the fleet that the flags name.
func (p *plugin) dashboard(cmd *cobra.Command, port uint16) (*dashboard.Dashboard, error) {
	c, err := p.client()
	if err != nil {
		return nil, err
	}
	namespace, err := p.scope(cmd.Context(), c, cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	cluster, err := p.cluster()
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))
	listener, err := (&net.ListenConfig{}).Listen(cmd.Context(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serving the dashboard: %w", err)
	}
	return dashboard.New(dashboard.Options{
		Source: follow.Start(cmd.Context(), c, namespace), Cluster: cluster, Listener: listener,
	})
}

// cluster is what the user calls the cluster: the context's name, or else its address.
func (p *plugin) cluster() (string, error) {
	if name := p.flags.overrides.CurrentContext; name != "" {
		return name, nil
	}
	raw, err := p.flags.loader().RawConfig()
	if err != nil {
		return "", fmt.Errorf("reading the kubeconfig: %w", err)
	}
	if raw.CurrentContext != "" {
		return raw.CurrentContext, nil
	}
	config, err := p.flags.config()
	if err != nil {
		return "", err
	}
	return config.Host, nil
}

// opener is the command that opens an address in the user's browser.
func opener() []string {
	switch runtime.GOOS {
	case "darwin":
		return []string{"open"}
	case "windows":
		return []string{"rundll32", "url.dll,FileProtocolHandler"}
	}
	return []string{"xdg-open"}
}

// openBrowser opens an address. What it starts may be the browser itself, which
// outlives the dashboard.
func openBrowser(cmd *cobra.Command, url string) {
	command := append(opener(), url)
	err := exec.CommandContext(context.WithoutCancel(cmd.Context()), command[0], command[1:]...).Run() //nolint:gosec // The address is our own.
	if err != nil {
		cmd.PrintErrf("Opening your browser with %s: %v. Open the address above yourself.\n", command[0], err)
	}
}
