// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
)

// Kind is what an Event does.
type Kind string

// The kinds of events.
const (
	// Arrive creates a Mandelbox.
	Arrive Kind = "arrive"
	// Exit has a session's container end by itself; one that isn't running yet does
	// so once it is.
	Exit Kind = "exit"
	// Leave deletes a Mandelbox.
	Leave Kind = "leave"
	// Release changes what a channel offers.
	Release Kind = "release"
	// KillHost has EC2 lose a host.
	KillHost Kind = "kill-host"
	// CutAgent disconnects a host's agent for a while.
	CutAgent Kind = "cut-agent"
	// Trouble is a fault of AWS for a while.
	Trouble Kind = "trouble"
	// NoCapacity has EC2 refuse launches in a region for a while.
	NoCapacity Kind = "no-capacity"
	// Lag has AWS's reads lag behind its writes for a while.
	Lag Kind = "lag"
	// KillManager ends the manager with SIGKILL and starts it again after a while.
	KillManager Kind = "kill-manager"
	// RestartManager ends the manager in order and starts it again after a while.
	RestartManager Kind = "restart-manager"
	// Rival starts a second manager that believes it leads, for a while.
	Rival Kind = "rival"
)

// Session is a Mandelbox to come.
type Session struct {
	Namespace, Name, User string
	Regions               []string
	// Channel is asked for by its name, unless Commit is set.
	Channel, Commit string
	// MaxDuration and TTL are its maxSessionDuration and ttlAfterFinished; 0 is none.
	MaxDuration, TTL time.Duration
}

// Event is something that happens in a soak, at a time since its begin.
type Event struct {
	At   time.Duration
	Kind Kind
	// Session is who arrives; of one who exits or leaves, the names.
	Session Session
	// ExitCode is of Exit.
	ExitCode int
	// Channel, Commit and Image are of Release.
	Channel, Commit, Image string
	// Region is where; Pick in [0,1) is which of its hosts, in the order of their ids.
	Region string
	Pick   float64
	// Lasts is for how long.
	Lasts time.Duration
	// Fault is of Trouble.
	Fault awsemu.Fault
}

// String is the event in one line, without anything that only a run decides.
func (e Event) String() string {
	b := &strings.Builder{}
	fmt.Fprintf(b, "%9.3fs  %-15s", e.At.Seconds(), e.Kind)
	switch e.Kind {
	case Arrive:
		s := e.Session
		fmt.Fprintf(b, " %s/%s user=%s regions=%s", s.Namespace, s.Name, s.User, strings.Join(s.Regions, ","))
		fmt.Fprintf(b, " for=%s", cmp.Or(s.Commit, s.Channel))
		if s.MaxDuration > 0 {
			fmt.Fprintf(b, " max=%s", s.MaxDuration)
		}
		if s.TTL > 0 {
			fmt.Fprintf(b, " ttl=%s", s.TTL)
		}
	case Exit:
		fmt.Fprintf(b, " %s/%s code=%d", e.Session.Namespace, e.Session.Name, e.ExitCode)
	case Leave:
		fmt.Fprintf(b, " %s/%s", e.Session.Namespace, e.Session.Name)
	case Release:
		fmt.Fprintf(b, " %s commit=%s image=%s", e.Channel, e.Commit, e.Image)
	case Trouble:
		fmt.Fprintf(b, " %s %s/%s %s %s p=%.2f n=%d", e.Fault.Action, e.Fault.Service, cmp.Or(e.Fault.Operation, "*"), e.Fault.Phase,
			e.Fault.Latency.Duration, e.Fault.Probability, e.Fault.Count)
	case KillHost, CutAgent:
		fmt.Fprintf(b, " %s pick=%.3f", e.Region, e.Pick)
	case NoCapacity:
		fmt.Fprintf(b, " %s", e.Region)
	}
	if e.Lasts > 0 {
		fmt.Fprintf(b, " for %s", e.Lasts)
	}
	return strings.TrimRight(b.String(), " ")
}

// PlanOptions are what a plan is a function of.
type PlanOptions struct {
	// Seed of everything that is random.
	Seed uint64
	// Duration of the whole plan.
	Duration time.Duration
	// Regions is how many regions there are; Rate, how many users arrive each second.
	Regions int
	Rate    float64
}

// regionNames are the regions of a soak, in their order.
var regionNames = []string{"us-east-1", "eu-central-1", "ap-south-1", "us-west-2", "sa-east-1", "eu-west-2"}

// channelNames are the channels, and tenants the namespaces.
var (
	channelNames = []string{"stable", "beta"}
	tenants      = []string{"tenant-a", "tenant-b", "tenant-c"}
)

// missingImage is an image that no region has: a release that names it stalls, and
// the one before it must go on serving.
const missingImage = "ami-0000000000000dead"

// planner is the state of making a plan.
type planner struct {
	PlanOptions
	events []Event
}

// Plan is the schedule of a soak: a pure function of its options. The events are
// in the order of their times.
func Plan(o PlanOptions) []Event {
	p := &planner{PlanOptions: o}
	p.releases()
	p.arrivals()
	p.losses()
	p.troubles()
	p.managers()
	slices.SortStableFunc(p.events, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	return p.events
}

// dice are the random numbers of one subject, so that subjects don't disturb one another.
func (p *planner) dice(subject string) *rand.Rand {
	sum := sha256.Sum256([]byte(subject))
	var mixed uint64
	for _, b := range sum[:8] {
		mixed = mixed<<8 | uint64(b)
	}
	// Nothing secret is made of these numbers, and a soak is to be repeatable.
	return rand.New(rand.NewPCG(p.Seed, mixed))
}

// every calls f at random times that are about so far apart, but in a long plan no
// more than the limit and in a short one often enough that there are some. The last
// seconds are left out, so that what has begun can end.
func (p *planner) every(dice *rand.Rand, share, limit time.Duration, f func(at time.Duration)) {
	mean := max(min(p.Duration/share, limit), time.Second)
	end := p.Duration - min(p.Duration/10, 10*time.Second)
	for at := mean/2 + spread(dice, mean); at < end; at += mean/2 + spread(dice, mean) {
		f(at)
	}
}

// spread is a random duration below the limit, in whole milliseconds.
func spread(dice *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(dice.Int64N(max(1, limit.Milliseconds()))) * time.Millisecond
}

// between is a random duration from low to high.
func between(dice *rand.Rand, low, high time.Duration) time.Duration {
	return low + spread(dice, high-low)
}

func (p *planner) region(dice *rand.Rand) string {
	return p.regionNames()[dice.IntN(len(p.regionNames()))]
}

func (p *planner) regionNames() []string {
	return regionNames[:max(1, min(p.Regions, len(regionNames)))]
}

// commitOf is the commit hash of a channel's release by its number.
func commitOf(seed uint64, channel string, number int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %d", seed, channel, number))
	return hex.EncodeToString(sum[:6])
}

// imageOf is the machine image of a release.
func imageOf(commit string) string { return "ami-0" + commit + "00000" }

// releases plans the releases of each channel; one of five names an image that
// there is not. The release with number 0 is there from the start.
func (p *planner) releases() {
	for _, channel := range channelNames {
		dice := p.dice("releases of " + channel)
		number := 0
		p.every(dice, 4, time.Minute, func(at time.Duration) {
			number++
			commit := commitOf(p.Seed, channel, number)
			image := imageOf(commit)
			if dice.IntN(5) == 0 {
				image = missingImage
			}
			p.events = append(p.events, Event{At: at, Kind: Release, Channel: channel, Commit: commit, Image: image})
		})
	}
}

// newest is the newest good release of a channel at a time: what clients then have.
func (p *planner) newest(channel string, at time.Duration) string {
	commit := commitOf(p.Seed, channel, 0)
	for _, e := range p.events {
		if e.Kind == Release && e.Channel == channel && e.At <= at && e.Image != missingImage {
			commit = e.Commit
		}
	}
	return commit
}

// arrivals plans who comes, and how each goes.
func (p *planner) arrivals() {
	dice := p.dice("arrivals")
	number := 0
	for at := time.Duration(0); ; {
		at += time.Duration(dice.ExpFloat64() / p.Rate * float64(time.Second)).Round(time.Millisecond)
		if at >= p.Duration {
			return
		}
		// Now and then several come at once.
		together := 1
		if dice.IntN(20) == 0 {
			together = 2 + dice.IntN(6)
		}
		for range together {
			number++
			p.arrival(dice, at, number)
		}
	}
}

func (p *planner) arrival(dice *rand.Rand, at time.Duration, number int) {
	tenant := tenants[dice.IntN(len(tenants))]
	s := Session{
		Namespace: tenant, Name: fmt.Sprintf("session-%05d", number), User: fmt.Sprintf("user-%03d", dice.IntN(150)),
		Regions: p.proximity(dice), Channel: channelNames[dice.IntN(len(channelNames))],
	}
	if dice.IntN(3) == 0 {
		s.Commit = p.newest(s.Channel, at)
	}
	if dice.IntN(2) == 0 {
		s.TTL = between(dice, time.Second, 10*time.Second)
	}
	end := Event{At: at + between(dice, 3*time.Second, 25*time.Second), Session: Session{Namespace: s.Namespace, Name: s.Name}}
	switch way := dice.IntN(20); {
	case way < 9:
		end.Kind = Exit
	case way < 12:
		end.Kind, end.ExitCode = Exit, 1+dice.IntN(140)
	case way < 17:
		end.Kind = Leave
	case way < 19:
		s.MaxDuration = between(dice, 5*time.Second, 20*time.Second).Round(time.Second)
	default:
		end.Kind, end.At = Leave, at+between(dice, time.Minute, 3*time.Minute)
	}
	p.events = append(p.events, Event{At: at, Kind: Arrive, Session: s})
	if end.Kind != "" && end.At < p.Duration {
		p.events = append(p.events, end)
	}
}

// proximity is an order of some of the regions.
func (p *planner) proximity(dice *rand.Rand) []string {
	names := slices.Clone(p.regionNames())
	dice.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names[:1+dice.IntN(len(names))]
}

// losses plans hosts that die and agents that are cut off.
func (p *planner) losses() {
	dice := p.dice("losses")
	p.every(dice, 4, 45*time.Second, func(at time.Duration) {
		p.events = append(p.events, Event{At: at, Kind: KillHost, Region: p.region(dice), Pick: dice.Float64()})
	})
	dice = p.dice("agents")
	p.every(dice, 4, 40*time.Second, func(at time.Duration) {
		lasts := between(dice, time.Second, 6*time.Second)
		if dice.IntN(4) == 0 {
			lasts = between(dice, 12*time.Second, 20*time.Second)
		}
		p.events = append(p.events, Event{At: at, Kind: CutAgent, Region: p.region(dice), Pick: dice.Float64(), Lasts: lasts})
	})
}

// troubles plans what is wrong with AWS.
func (p *planner) troubles() {
	dice := p.dice("troubles")
	p.every(dice, 10, 20*time.Second, func(at time.Duration) {
		e := Event{At: at, Kind: Trouble, Region: p.region(dice), Lasts: between(dice, 2*time.Second, 6*time.Second)}
		switch dice.IntN(7) {
		case 0:
			e.Fault = awsemu.Fault{Service: oneOf(dice, "ec2", "ecs"), Action: awsemu.ActionThrottle, Probability: 0.2 + dice.Float64()*0.7}
		case 1:
			latency := between(dice, 100*time.Millisecond, time.Second)
			e.Fault = awsemu.Fault{Service: oneOf(dice, "ec2", "ecs"), Action: awsemu.ActionLatency, Latency: awsemu.Duration{Duration: latency}, Probability: 0.5}
		case 2, 3:
			operation := oneOf(dice, "RunInstances", "RunTask", "StopTask", "TerminateInstances")
			e.Fault = awsemu.Fault{Operation: operation, Phase: awsemu.PhaseAfter, Action: awsemu.ActionDrop, Count: 1 + dice.IntN(8)}
		case 4:
			e.Fault = awsemu.Fault{Service: oneOf(dice, "ec2", "ecs"), Phase: oneOf(dice, awsemu.PhaseBefore, awsemu.PhaseAfter), Action: awsemu.ActionError, Probability: 0.3}
		case 5:
			e.Kind, e.Lasts = NoCapacity, between(dice, 4*time.Second, 12*time.Second)
		case 6:
			e.Kind, e.Region = Lag, ""
		}
		p.events = append(p.events, e)
	})
}

func oneOf(dice *rand.Rand, words ...string) string { return words[dice.IntN(len(words))] }

// managers plans how the manager is killed, restarted and doubled.
func (p *planner) managers() {
	dice := p.dice("managers")
	p.every(dice, 3, 50*time.Second, func(at time.Duration) {
		e := Event{At: at, Kind: KillManager, Lasts: between(dice, 100*time.Millisecond, 3*time.Second)}
		switch dice.IntN(4) {
		case 0:
			e.Kind = RestartManager
		case 1:
			e.Kind, e.Lasts = Rival, between(dice, 4*time.Second, 10*time.Second)
		}
		p.events = append(p.events, e)
	})
}
