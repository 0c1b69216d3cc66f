// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// output is the flag -o: text if it is empty.
type output string

// Set takes in the flag's value.
func (o *output) Set(value string) error {
	if value != "json" && value != "yaml" {
		return fmt.Errorf("it is json or yaml")
	}
	*o = output(value)
	return nil
}

// String is the flag's value.
func (o *output) String() string { return string(*o) }

// Type is what the help calls the value.
func (o *output) Type() string { return "json|yaml" }

// addTo adds the flag to a command.
func (o *output) addTo(cmd *cobra.Command) {
	cmd.Flags().VarP(o, "output", "o", "write json or yaml instead of text")
	cobra.CheckErr(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "yaml"}, cobra.ShellCompDirectiveNoFileComp)))
}

// print writes the value as the flag asks for, or else the lines.
func (o *output) print(out io.Writer, value any, lines func() []string) error {
	var content []byte
	var err error
	switch *o {
	case "json":
		content, err = json.MarshalIndent(value, "", "  ")
		content = append(content, '\n')
	case "yaml":
		content, err = yaml.Marshal(value)
	default:
		return printLines(out, lines())
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", *o, err)
	}
	_, err = out.Write(content)
	return err
}
