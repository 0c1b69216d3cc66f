// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	for name, tc := range map[string]struct {
		view    view
		colours bool
		want    string
	}{
		"nothing yet": {
			want: `
HOST  REGION  PHASE  TYPE  SLOTS  REASON  ELAPSED

SESSION  PHASE  REASON  INSTANCE  ADDRESS  ELAPSED

0 of 0 hosts active, 0 of 0 sessions running, 0 slots free`,
		},
		"hosts and sessions in every state": {
			view: view{
				hosts: []hostRow{
					{name: "eu-1", region: "eu-central-1", phase: "Active", reason: "Ready", instanceType: "g4dn.2xlarge", claimed: 1, capacity: 2, elapsed: 13940 * time.Millisecond},
					{name: "us-1", region: "us-east-1", phase: "PreConnection", elapsed: 300 * time.Millisecond},
					{name: "us-2", region: "us-east-1", phase: "Active", reason: "Ready", instanceType: "g5.48xlarge", claimed: 3, capacity: 32, elapsed: 95 * time.Second},
				},
				sessions: []sessionRow{
					{name: "team-a/ada", phase: "Running", reason: "Running", host: "eu-1", address: "3.8.0.1:32768", elapsed: 14 * time.Second},
					{name: "team-b/alan", phase: "Pending", reason: "NoInstanceAvailable", elapsed: 2 * time.Second},
				},
			},
			want: `
HOST  REGION        PHASE          TYPE          SLOTS   REASON  ELAPSED
eu-1  eu-central-1  Active         g4dn.2xlarge  ▓░ 1/2  Ready   13.9s
us-1  us-east-1     PreConnection  -             -       -       0.3s
us-2  us-east-1     Active         g5.48xlarge   3/32    Ready   1m35s

SESSION      PHASE    REASON               INSTANCE  ADDRESS        ELAPSED
team-a/ada   Running  Running              eu-1      3.8.0.1:32768  14.0s
team-b/alan  Pending  NoInstanceAvailable  -         -              2.0s

2 of 3 hosts active, 1 of 2 sessions running, 30 slots free`,
		},
		"colours do not move columns": {
			view:    view{sessions: []sessionRow{{name: "a/b", phase: "Running", reason: "Running"}, {name: "a/c", phase: "Finished", reason: "Crashed"}}},
			colours: true,
			want: "\n" +
				"\x1b[1mHOST\x1b[0m  \x1b[1mREGION\x1b[0m  \x1b[1mPHASE\x1b[0m  \x1b[1mTYPE\x1b[0m  \x1b[1mSLOTS\x1b[0m  \x1b[1mREASON\x1b[0m  \x1b[1mELAPSED\x1b[0m\n\n" +
				"\x1b[1mSESSION\x1b[0m  \x1b[1mPHASE\x1b[0m     \x1b[1mREASON\x1b[0m   \x1b[1mINSTANCE\x1b[0m  \x1b[1mADDRESS\x1b[0m  \x1b[1mELAPSED\x1b[0m\n" +
				"a/b      \x1b[32mRunning\x1b[0m   Running  -         -        0.0s\n" +
				"a/c      \x1b[31mFinished\x1b[0m  Crashed  -         -        0.0s\n\n" +
				"0 of 0 hosts active, 1 of 2 sessions running, 0 slots free",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, strings.Join(tc.view.lines(tc.colours), "\n")); diff != "" {
				t.Errorf("the table differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSummaries(t *testing.T) {
	var steps timings
	began := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	steps.add("Control plane", 4*time.Second, 4*time.Second)
	steps.addMilestones(milestones{
		firstHost: began.Add(17 * time.Second), lastHost: began.Add(80 * time.Second),
		firstSession: began.Add(18 * time.Second), lastSession: began.Add(20 * time.Second),
	}, began.Add(5*time.Second), began)
	want := `
STEP                   TOOK   DONE AFTER
Control plane          4.0s   4.0s
First host active      12.0s  17.0s
First session running  13.0s  18.0s
All sessions running   15.0s  20.0s
All hosts active       1m15s  1m20s`
	if diff := cmp.Diff(want, strings.Join(steps.table(), "\n")); diff != "" {
		t.Errorf("the steps differ (-want +got):\n%s", diff)
	}

	sides := comparison{
		{what: "hosts", region: "us-east-1", kubernetes: []string{"i-1"}, aws: []string{"i-1"}},
		{what: "sessions", region: "us-east-1", kubernetes: []string{"task/1"}, aws: []string{"task/1", "task/2"}},
	}
	want = `
WHAT      REGION     KUBERNETES  AWS  THE SAME
hosts     us-east-1  1           1    yes
sessions  us-east-1  1           2    no
`
	if diff := cmp.Diff(want, strings.Join(sides.table(), "\n")); diff != "" {
		t.Errorf("the comparison differs (-want +got):\n%s", diff)
	}
	const difference = "the sessions in us-east-1 differ: Kubernetes has [task/1], AWS has [task/1 task/2]"
	if err := sides.err(); err == nil || err.Error() != difference {
		t.Errorf("got the error %v, want %s", err, difference)
	}
	if err := sides[:1].err(); err != nil {
		t.Errorf("two equal sides gave the error %v", err)
	}
}
