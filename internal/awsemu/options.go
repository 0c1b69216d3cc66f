// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
)

// DefaultAccount is the account of every access key that isn't itself an account
// number of twelve digits.
const DefaultAccount = "000000000000"

// Options say how a Server behaves from its start. The zero value is a server
// with the real clock, default delays, no rate limits and one image per region.
type Options struct {
	// Clock drives every lifecycle, rate limit and latency. Default: the real clock.
	Clock clock.WithDelayedExecution

	// Seed makes identifiers and the dice of faults repeatable.
	Seed int64

	// Delays are the durations of lifecycles. Default: DefaultDelays.
	Delays *Delays

	// Limits turn the published token buckets on. Default: off.
	Limits Limits

	// Images exist from the start, besides the one that every region has.
	Images []Image

	// NetworkTags are put on the subnets and security groups that regions have from
	// the start.
	NetworkTags map[string]string

	// IAM has calls evaluated against a policy. Default: every call is allowed.
	IAM *IAM

	// RequestLogSize bounds how many requests the log keeps; the oldest go
	// first. Default: 100,000.
	RequestLogSize int

	// Logger receives one line per request at verbosity 1. Default: discards.
	Logger logr.Logger
}

// Image is a machine image that exists without having been made by RegisterImage.
type Image struct {
	// Account that owns the image; empty means every account.
	Account string `json:"account,omitempty"`
	// Region the image exists in; empty means every region.
	Region string `json:"region,omitempty"`
	// ID is the image's identifier, such as ami-0123456789abcdef0.
	ID string `json:"id"`
	// Name defaults to the identifier.
	Name string `json:"name,omitempty"`
	// Architecture defaults to x86_64.
	Architecture string `json:"architecture,omitempty"`
}

// Delays are the durations of what takes time in AWS. A zero duration means at
// once. They can be changed while the server runs and apply to what starts then.
type Delays struct {
	// InstancePending is the time from RunInstances until the instance is running.
	InstancePending time.Duration
	// AgentBoot is the time from running until the ECS agent registers.
	AgentBoot time.Duration
	// InstanceShuttingDown is the time from TerminateInstances until terminated.
	InstanceShuttingDown time.Duration
	// InstanceStopping is the time from StopInstances until stopped.
	InstanceStopping time.Duration
	// StatusChecks is the time from running until both status checks are ok.
	StatusChecks time.Duration
	// SpotNotice is the time from a spot interruption's notice until the instance goes.
	SpotNotice time.Duration
	// TaskPull is the time that the first start of an image on a host adds.
	TaskPull time.Duration
	// TaskStart is the time a task takes to start once its image is there.
	TaskStart time.Duration
	// HealthCheck is the time from a container's start until its health check, if it
	// has one, says how it is.
	HealthCheck time.Duration
	// TaskStop is the time a task takes from being told to stop until stopped.
	TaskStop time.Duration
	// VisibilityLag is how long reads don't see something just created.
	VisibilityLag time.Duration
	// TerminatedRetention is how long a terminated instance is still described.
	TerminatedRetention time.Duration
	// StoppedTaskRetention is how long a stopped task is still described.
	StoppedTaskRetention time.Duration
}

// fields are the delays by their name in JSON.
func (d *Delays) fields() map[string]*time.Duration {
	return map[string]*time.Duration{
		"instancePending":      &d.InstancePending,
		"agentBoot":            &d.AgentBoot,
		"instanceShuttingDown": &d.InstanceShuttingDown,
		"instanceStopping":     &d.InstanceStopping,
		"statusChecks":         &d.StatusChecks,
		"spotNotice":           &d.SpotNotice,
		"taskPull":             &d.TaskPull,
		"taskStart":            &d.TaskStart,
		"healthCheck":          &d.HealthCheck,
		"taskStop":             &d.TaskStop,
		"visibilityLag":        &d.VisibilityLag,
		"terminatedRetention":  &d.TerminatedRetention,
		"stoppedTaskRetention": &d.StoppedTaskRetention,
	}
}

// MarshalJSON writes each delay as "1.5s".
func (d Delays) MarshalJSON() ([]byte, error) {
	document := map[string]Duration{}
	for name, field := range d.fields() {
		document[name] = Duration{*field}
	}
	return json.Marshal(document)
}

// UnmarshalJSON changes the delays that are named and leaves the others.
func (d *Delays) UnmarshalJSON(raw []byte) error {
	var document map[string]Duration
	if err := json.Unmarshal(raw, &document); err != nil {
		return fmt.Errorf("reading delays: %w", err)
	}
	fields := d.fields()
	for name, value := range document {
		field, known := fields[name]
		if !known {
			return fmt.Errorf("there is no delay named %q", name)
		}
		*field = value.Duration
	}
	return nil
}

// DefaultDelays are short enough to watch, in the proportions of the real AWS.
func DefaultDelays() Delays {
	return Delays{
		InstancePending:      2 * time.Second,
		AgentBoot:            8 * time.Second,
		InstanceShuttingDown: 2 * time.Second,
		InstanceStopping:     2 * time.Second,
		StatusChecks:         10 * time.Second,
		SpotNotice:           2 * time.Minute,
		TaskPull:             3 * time.Second,
		TaskStart:            300 * time.Millisecond,
		HealthCheck:          time.Second,
		TaskStop:             500 * time.Millisecond,
		TerminatedRetention:  time.Hour,
		StoppedTaskRetention: time.Hour,
	}
}

// FastDelays are for tests on the real clock: every state can still be seen, but
// a host is warm within a tenth of a second.
func FastDelays() Delays {
	return Delays{
		InstancePending:      20 * time.Millisecond,
		AgentBoot:            50 * time.Millisecond,
		InstanceShuttingDown: 20 * time.Millisecond,
		InstanceStopping:     20 * time.Millisecond,
		StatusChecks:         20 * time.Millisecond,
		SpotNotice:           200 * time.Millisecond,
		TaskPull:             30 * time.Millisecond,
		TaskStart:            10 * time.Millisecond,
		HealthCheck:          20 * time.Millisecond,
		TaskStop:             20 * time.Millisecond,
		TerminatedRetention:  time.Hour,
		StoppedTaskRetention: time.Hour,
	}
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Delays == nil {
		d := DefaultDelays()
		o.Delays = &d
	}
	if o.RequestLogSize <= 0 {
		o.RequestLogSize = 100_000
	}
	if o.Logger.GetSink() == nil {
		o.Logger = logr.Discard()
	}
	return o
}
