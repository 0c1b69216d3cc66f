// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package instance

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// buyer asks a Launcher for choices of two types in two zones, at times of its own.
type buyer struct {
	*Launcher
	t    *testing.T
	host *v1alpha1.Instance
	spot bool
	now  time.Time
}

func newBuyer(t *testing.T, spot bool) *buyer {
	return &buyer{
		Launcher: NewLauncher(nil, nil, nil), t: t, spot: spot, now: time.Unix(1000, 0),
		host: &v1alpha1.Instance{
			ObjectMeta: metav1.ObjectMeta{Name: "host-0"},
			Spec:       v1alpha1.InstanceSpec{InstanceTypes: []string{"small", "large"}},
		},
	}
}

func (b *buyer) choice() (choice, time.Duration) {
	return b.choose(b.host, []cloud.Subnet{{ID: "s-b", Zone: "b"}, {ID: "s-a", Zone: "a"}}, b.spot, b.now)
}

// refuse has what is chosen be refused, again and again, and names it.
func (b *buyer) refuse(times int) string {
	var refused []string
	for range times {
		pick, wait := b.choice()
		if wait > 0 {
			b.t.Fatalf("after %v there is nothing to ask for, for %s", refused, wait)
		}
		market := ""
		if pick.spot {
			market = " spot"
		}
		refused = append(refused, pick.instanceType+" "+pick.subnet+market)
		b.shortage.note(cloud.Launch{InstanceType: pick.instanceType, SubnetID: pick.subnet, Spot: pick.spot}, b.now)
	}
	return strings.Join(refused, ", ")
}

func TestChoiceGoesByTypeThenZone(t *testing.T) {
	b := newBuyer(t, false)
	if got, want := b.refuse(4), "small s-a, small s-b, large s-a, large s-b"; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
	if _, wait := b.choice(); wait != 3*time.Minute {
		t.Errorf("waits %s when nothing is to be had, want 3m", wait)
	}
}

func TestOnDemandFollowsWhenSpotHasNone(t *testing.T) {
	b := newBuyer(t, true)
	if got, want := b.refuse(5), "small s-a spot, small s-b spot, large s-a spot, large s-b spot, small s-a"; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
	b.now = b.now.Add(3 * time.Minute)
	if pick, _ := b.choice(); !pick.spot {
		t.Errorf("after the shortage, asks for %+v, want spot again", pick)
	}
}

func TestShortageBacksOff(t *testing.T) {
	b := newBuyer(t, false)
	b.host.Spec.InstanceTypes = []string{"small"}
	for _, want := range []time.Duration{3, 6, 12, 24, 24} {
		b.refuse(2)
		_, wait := b.choice()
		if wait != want*time.Minute {
			t.Fatalf("waits %s, want %dm", wait, want)
		}
		b.now = b.now.Add(wait)
	}
	pick, _ := b.choice()
	b.shortage.had(cloud.Launch{InstanceType: pick.instanceType, SubnetID: pick.subnet})
	b.refuse(2)
	if _, wait := b.choice(); wait != 3*time.Minute {
		t.Errorf("after a success, waits %s, want 3m again", wait)
	}
	b.now = b.now.Add(time.Hour)
	b.refuse(2)
	if _, wait := b.choice(); wait != 3*time.Minute {
		t.Errorf("an hour after the last shortage, waits %s, want 3m again", wait)
	}
}

func TestQuotaIsNamed(t *testing.T) {
	for instanceType, want := range map[string][2]string{
		"g4dn.12xlarge":  {"Running On-Demand G and VT instances", "All G and VT Spot Instance Requests"},
		"gr6.4xlarge":    {"Running On-Demand G and VT instances", "All G and VT Spot Instance Requests"},
		"vt1.3xlarge":    {"Running On-Demand G and VT instances", "All G and VT Spot Instance Requests"},
		"p3.2xlarge":     {"Running On-Demand P instances", "All P4, P3 and P2 Spot Instance Requests"},
		"p5.48xlarge":    {"Running On-Demand P instances", "All P5 Spot Instance Requests"},
		"trn1.2xlarge":   {"Running On-Demand Trn instances", "All Trn Spot Instance Requests"},
		"dl1.24xlarge":   {"Running On-Demand DL instances", "All DL Spot Instance Requests"},
		"x2idn.16xlarge": {"Running On-Demand X instances", "All X Spot Instance Requests"},
		"m5.large": {
			"Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
			"All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests",
		},
	} {
		if got := [2]string{quotaOf(instanceType, false), quotaOf(instanceType, true)}; got != want {
			t.Errorf("%s counts against %q, want %q", instanceType, got, want)
		}
	}
	launch := cloud.Launch{InstanceType: "g4dn.xlarge"}
	refused := &cloud.Error{Op: "RunInstances", Kind: cloud.KindQuota, Code: "VcpuLimitExceeded", Err: errors.New("no more")}
	if err := nameQuota(refused, launch); cloud.KindOf(err) != cloud.KindQuota || !strings.Contains(err.Error(), `no more; raise the quota "Running On-Demand G and VT instances"`) {
		t.Errorf("got %v", err)
	}
	other := &cloud.Error{Op: "RunInstances", Kind: cloud.KindQuota, Code: "VolumeLimitExceeded", Err: errors.New("no more")}
	if err := nameQuota(other, launch); !errors.Is(err, other) {
		t.Errorf("another error became %v", err)
	}
}
