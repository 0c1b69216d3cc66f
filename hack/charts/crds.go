// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import "strings"

// crdChart has the CRDs among its templates, since Helm never upgrades what is in a
// chart's folder crds.
// See https://helm.sh/docs/chart_best_practices/custom_resource_definitions/.
func crdChart(definitions []object) (chart, error) {
	const name = "mandelbox-operator-crds"
	values := []value{{
		path: "keep", doc: "Leaves the CRDs, and with them every object of their kinds, when the chart is uninstalled.",
		is: true, schema: boolean,
	}}
	c := chart{name: name, files: map[string]string{
		"Chart.yaml": metadata(name, "The four kinds of the Mandelbox Operator. Install and upgrade it before mandelbox-operator."),
	}}
	for _, definition := range definitions {
		content, err := template(definition)
		if err != nil {
			return chart{}, err
		}
		content = strings.Replace(content, "  annotations:\n",
			"  annotations:\n    {{- if .Values.keep }}\n    helm.sh/resource-policy: keep\n    {{- end }}\n", 1)
		c.files["templates/"+definition.name()+".yaml"] = content
	}
	return c.withValues(values)
}

// withValues adds the files of a chart's values.
func (c chart) withValues(values []value) (chart, error) {
	var err error
	if c.files["values.yaml"], err = valuesFile(values); err != nil {
		return chart{}, err
	}
	c.files["values.schema.json"], err = schemaFile(values)
	return c, err
}
