// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package metrics holds everything that the operator tells Prometheus of itself.
// definition.go says what a metric is, definitions.go lists them all, and
// docs/metrics.md is generated from that list.
//
// There are three sources. The Fleet computes gauges when it is scraped, from the
// objects in the manager's cache: they are true at that moment, and an idle fleet
// costs nothing. Changes follow those objects and turn what happened between two
// versions of one into durations and counts. Counts also has a method for each
// fact that no object shows, which controllers call.
//
// Every replica has the cache, but only the leader works. So all of it comes from
// the leader alone, see Reporter: sums over replicas count nothing twice. The
// metrics of calls to AWS come from whoever makes the calls, and each replica says
// which version it is.
//
// No label names a user, a session, a host or a namespace: the number of series
// grows with regions, channels and the operator's own words, never with demand.
// See https://prometheus.io/docs/practices/naming/#labels.
package metrics

import "github.com/prometheus/client_golang/prometheus"

// Type is the Prometheus type of a metric.
type Type string

// The types in use.
const (
	// Gauge is a value at the time of the scrape.
	Gauge Type = "gauge"
	// Counter only grows, and starts at 0 with each leader.
	Counter Type = "counter"
	// Histogram counts observations by size; in seconds throughout.
	Histogram Type = "histogram"
)

// Stability says how much a dashboard may rely on a metric.
type Stability string

// The stabilities, with the meaning that Kubernetes gives them.
// See https://kubernetes.io/docs/concepts/cluster-administration/system-metrics/#metric-lifecycle.
const (
	// Stable metrics keep their name, type and labels.
	Stable Stability = "stable"
	// Alpha metrics may change with any version.
	Alpha Stability = "alpha"
)

// Definition is one metric, before anything was measured.
type Definition struct {
	// Name of the metric.
	Name string
	// Type is its Prometheus type.
	Type Type
	// Stability says how much one may rely on it.
	Stability Stability
	// Help says what it measures and which values its labels take.
	Help string
	// Labels are the names of its labels, in the order of their values.
	Labels []string
	// Buckets are the upper bounds of a histogram's, in seconds.
	Buckets []float64

	desc *prometheus.Desc
}

// definitions are all that were made by define, in order.
var definitions []*Definition

// Definitions returns every metric of the operator, in the order of the docs.
func Definitions() []*Definition { return definitions }

// define makes a definition; one that is made is documented.
func define(d Definition) *Definition {
	d.desc = prometheus.NewDesc(d.Name, d.Help, d.Labels, nil)
	definitions = append(definitions, &d)
	return &d
}

// send reports one value of a gauge.
func (d *Definition) send(ch chan<- prometheus.Metric, value float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d.desc, prometheus.GaugeValue, value, labels...)
}

// NewCounter returns the counter of a definition.
func (d *Definition) NewCounter() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: d.Name, Help: d.Help}, d.Labels)
}

// NewGauge returns a gauge of the definition that keeps what it is set to.
func (d *Definition) NewGauge() *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: d.Name, Help: d.Help}, d.Labels)
}

// NewHistogram returns the histogram of a definition.
func (d *Definition) NewHistogram() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: d.Name, Help: d.Help, Buckets: d.Buckets}, d.Labels)
}

// NewScraped returns a gauge of the definition whose values are asked for when it is
// scraped: values tells each with its labels.
func (d *Definition) NewScraped(values func(tell func(value float64, labels ...string))) prometheus.Collector {
	return &scraped{definition: d, values: values}
}

type scraped struct {
	definition *Definition
	values     func(tell func(value float64, labels ...string))
}

// Describe names the gauge.
func (s *scraped) Describe(ch chan<- *prometheus.Desc) { ch <- s.definition.desc }

// Collect asks for the values.
func (s *scraped) Collect(ch chan<- prometheus.Metric) {
	s.values(func(value float64, labels ...string) { s.definition.send(ch, value, labels...) })
}
