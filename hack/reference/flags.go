// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
)

const flagsHead = "<!-- Generated from internal/cli/manager.go by `make generate`; do not edit. -->\n" +
	`# Flags of the manager

What ` + "`mandelbox-operator manager`" + ` takes. In a cluster they are the container's ` + "`args`" + `, which the Helm chart
appends ` + "`extraArgs`" + ` to. Whatever concerns AWS itself (credentials, endpoint, retries, proxies) comes from the
[environment of the AWS SDK](https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html), and traces from
that of [OpenTelemetry](../logs.md#traces).

| Flag | Type | Default | Meaning |
|---|---|---|---|
`

// flagsPage lists the flags that are not hidden.
func flagsPage(flags *pflag.FlagSet) string {
	var b strings.Builder
	b.WriteString(flagsHead)
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden {
			return
		}
		name := "`--" + flag.Name + "`"
		if flag.Shorthand != "" {
			name += ", `-" + flag.Shorthand + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, flag.Value.Type(), defaultOf(flag), cell(sentence(flag.Usage)))
	})
	return b.String()
}

// defaultOf is the same on every machine.
func defaultOf(flag *pflag.Flag) string {
	if flag.DefValue == "" || flag.DefValue == "[]" {
		return "–"
	}
	value := flag.DefValue
	if rest, ok := strings.CutPrefix(value, filepath.Clean(os.TempDir())); ok {
		value = "$TMPDIR" + rest
	}
	return "`" + value + "`"
}

// sentence begins with a capital and ends with a stop.
func sentence(text string) string {
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}

// cell is text that fits into a row of a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}
