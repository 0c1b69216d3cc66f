// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/placement"
)

// Explanation is why a session is where it is.
type Explanation struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	User      string    `json:"user"`
	Wants     string    `json:"wants"`
	Phase     string    `json:"phase"`
	Since     time.Time `json:"since"`
	// Told is what the operator says in the session's status.
	Told Verdict `json:"told"`
	// Found is what placement says of the same objects now, where the session waits.
	Found *Verdict `json:"found,omitempty"`
	// Holds is how many other sessions of the user in the namespace count for the
	// limit of a user.
	Holds int `json:"holds"`
	// Place is the session's place in the queue of Queued sessions, from 1; 0 when it
	// doesn't wait. The manager remembers whose turn it is, and may differ by a round.
	Place  int `json:"place,omitempty"`
	Queued int `json:"queued,omitempty"`
	// Regions are those that the session may go to, in order, where it waits.
	Regions []RegionConsidered `json:"regions,omitempty"`
	// Hosts are all hosts of the fleet and what speaks against each, where it waits:
	// first those that come closest.
	Hosts []HostConsidered `json:"hosts,omitempty"`
}

// Verdict is an answer to a session's request.
type Verdict struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// RegionConsidered is a region that a session asks for, or that one of those falls back on.
type RegionConsidered struct {
	Name string `json:"name"`
	// Fallback says that it was not asked for itself.
	Fallback bool `json:"fallback,omitempty"`
	// Says is what its hosts of the fitting release come to, and what the Region says.
	Says string `json:"says"`
}

// HostConsidered is a host and what speaks against it.
type HostConsidered struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	// Objection is empty for a host that the session could have now.
	Objection placement.Objection `json:"objection,omitempty"`
	// Against says the objection in words.
	Against string `json:"against"`
}

// closeness orders objections by how near the host came to being given.
var closeness = []placement.Objection{
	placement.NoObjection, placement.HostAvoided, placement.HostFull, placement.HostClosed, placement.ReleaseNotActive,
	placement.ReleaseReplaced, placement.OtherRelease, placement.RegionOff, placement.RegionNotAsked,
}

// Explain says why a session of the snapshot waits: what placement decides of the
// objects as they are, and what it has against each host.
func Explain(s Snapshot, m *v1alpha1.Mandelbox) *Explanation {
	e := &Explanation{
		Namespace: m.Namespace, Name: m.Name, User: m.Spec.UserID, Wants: wants(m),
		Phase: phaseOfSession(m), Since: m.CreationTimestamp.Time,
		Told:  told(m),
		Holds: holds(s, m),
	}
	if !waits(m) {
		return e
	}
	request := placement.RequestOf(m)
	catalog := placement.CatalogOf(s.Regions, s.AMIs)
	e.Place, e.Queued = placeOf(s, m)
	e.Hosts = consideredOf(s, request, catalog)
	e.Regions = regionsConsidered(s, m, e.Hosts)
	e.Found = verdictOf(s, request, catalog)
	return e
}

// told is what the operator says of a session.
func told(m *v1alpha1.Mandelbox) Verdict {
	why := condition(m.Status.Conditions, v1alpha1.ConditionFinished)
	if stalled := readyOrStalled(m.Status.Conditions); stalled.Type == v1alpha1.ConditionStalled {
		why = stalled
	}
	if why.Reason == "" {
		return Verdict{Reason: notSeen, Message: "The operator has not said anything of it yet."}
	}
	return Verdict{Reason: why.Reason, Message: why.Message}
}

func verdictOf(s Snapshot, request placement.Request, catalog placement.Catalog) *Verdict {
	fleet := placement.NewFleet()
	for i := range s.Instances {
		fleet.Set(placement.HostOf(&s.Instances[i]))
	}
	decided := placement.Decide(request, catalog, fleet)
	if decided.Assigned {
		return &Verdict{Reason: decided.Reason, Message: fmt.Sprintf(
			"There is room: slot %d of Instance %s in %s. The manager assigns it at its next pass over the queue, unless the "+
				"session's last attempt failed there, its user is at the limit, or no manager is running.",
			decided.Slot, decided.Host, decided.Key.Region)}
	}
	return &Verdict{Reason: decided.Reason, Message: decided.Message}
}

// holds counts the user's other sessions in the namespace that aren't over.
func holds(s Snapshot, m *v1alpha1.Mandelbox) int {
	count := 0
	for i := range s.Mandelboxes {
		o := &s.Mandelboxes[i]
		if o.UID != m.UID && o.Namespace == m.Namespace && o.Spec.UserID == m.Spec.UserID && !o.Finished() && o.DeletionTimestamp.IsZero() {
			count++
		}
	}
	return count
}

// placeOf puts all waiting sessions into a queue as the manager's is.
func placeOf(s Snapshot, m *v1alpha1.Mandelbox) (place, queued int) {
	queue := placement.NewQueue()
	for i := range s.Mandelboxes {
		if waits(&s.Mandelboxes[i]) {
			queue.Push(placement.RequestOf(&s.Mandelboxes[i]))
		}
	}
	ordered := queue.Ordered(queue.Len())
	at := slices.IndexFunc(ordered, func(r placement.Request) bool { return r.UID == string(m.UID) })
	return at + 1, len(ordered)
}

func consideredOf(s Snapshot, request placement.Request, catalog placement.Catalog) []HostConsidered {
	considered := make([]HostConsidered, 0, len(s.Instances))
	for i := range s.Instances {
		host := &s.Instances[i]
		objection := placement.Against(request, catalog, placement.HostOf(host))
		considered = append(considered, HostConsidered{
			Name: host.Name, Region: host.Spec.RegionName, Objection: objection, Against: inWords(objection, host, request),
		})
	}
	slices.SortFunc(considered, func(a, b HostConsidered) int {
		return cmp.Or(
			cmp.Compare(slices.Index(closeness, a.Objection), slices.Index(closeness, b.Objection)),
			cmp.Compare(a.Region, b.Region), cmp.Compare(a.Name, b.Name),
		)
	})
	return considered
}

// inWords says what speaks against a host.
func inWords(o placement.Objection, host *v1alpha1.Instance, request placement.Request) string {
	switch o {
	case placement.RegionNotAsked:
		return "it is in " + host.Spec.RegionName + ", which the session does not ask for"
	case placement.RegionOff:
		return host.Spec.RegionName + " is not enabled, or only a region that is not falls back on it"
	case placement.OtherRelease:
		if request.AMIName != "" {
			return fmt.Sprintf("it is of channel %s, not of %s", host.Spec.AMIName, request.AMIName)
		}
		return fmt.Sprintf("it runs commit hash %s, not %s", host.Spec.ClientCommitHash, request.ClientCommitHash)
	case placement.ReleaseReplaced:
		return fmt.Sprintf("its release, commit hash %s, was replaced", host.Spec.ClientCommitHash)
	case placement.ReleaseNotActive:
		return fmt.Sprintf("its release, commit hash %s, is not active yet", host.Spec.ClientCommitHash)
	case placement.HostClosed:
		return closedBecause(host)
	case placement.HostFull:
		return fmt.Sprintf("all of its %d slots are claimed", host.Slots())
	case placement.HostAvoided:
		return "the session's last attempt failed there"
	}
	return fmt.Sprintf("nothing: %d of its %d slots are free", host.FreeSlots(), host.Slots())
}

func closedBecause(host *v1alpha1.Instance) string {
	phase := phaseOf(host)
	why := readyOrStalled(host.Status.Conditions)
	if why.Message == "" || host.Status.Phase != v1alpha1.InstancePhase(phase) {
		return "it is " + phase
	}
	return fmt.Sprintf("it is %s: %s", phase, why.Message)
}

// regionsConsidered are the regions asked for, each followed by what it falls back on.
func regionsConsidered(s Snapshot, m *v1alpha1.Mandelbox, hosts []HostConsidered) []RegionConsidered {
	var all []RegionConsidered
	add := func(name string, fallback bool) {
		if !slices.ContainsFunc(all, func(r RegionConsidered) bool { return r.Name == name }) {
			all = append(all, RegionConsidered{Name: name, Fallback: fallback, Says: regionSays(s, name, hosts)})
		}
	}
	for _, name := range m.Spec.Regions {
		add(name, false)
		for i := range s.Regions {
			if s.Regions[i].Name != name || !s.Regions[i].Enabled() {
				continue
			}
			for _, fallback := range s.Regions[i].Spec.FallbackRegions {
				add(fallback, !slices.Contains(m.Spec.Regions, fallback))
			}
		}
	}
	return all
}

// regionSays is how many hosts of a region would fit, and what the Region says of itself.
func regionSays(s Snapshot, name string, hosts []HostConsidered) string {
	at := slices.IndexFunc(s.Regions, func(r v1alpha1.Region) bool { return r.Name == name })
	if at < 0 {
		return "there is no Region of this name"
	}
	region := &s.Regions[at]
	if !region.Enabled() {
		return "disabled: spec.enabled is false"
	}
	var full, closed, open int
	for _, h := range hosts {
		if h.Region != name {
			continue
		}
		switch h.Objection {
		case placement.NoObjection, placement.HostAvoided:
			open++
		case placement.HostFull:
			full++
		case placement.HostClosed:
			closed++
		}
	}
	says := "no host of a release that fits"
	if open+full+closed > 0 {
		says = fmt.Sprintf("of the hosts of a release that fits, %d have room, %d are full and %d take no session", open, full, closed)
	}
	if why := readyOrStalled(region.Status.Conditions); why.Reason != "" {
		says += fmt.Sprintf("; the Region says %s: %s", why.Reason, why.Message)
	}
	return says
}
