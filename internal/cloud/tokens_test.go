// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"math"
	"regexp"
	"testing"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

func TestTokensTellPartsApart(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for name, token := range map[string]string{
		"one part":        cloud.LaunchToken("ab"),
		"two parts":       cloud.LaunchToken("a", "b"),
		"other boundary":  cloud.LaunchToken("", "ab"),
		"with separator":  cloud.LaunchToken("a:b"),
		"nothing":         cloud.LaunchToken(),
		"an empty part":   cloud.LaunchToken(""),
		"a task":          cloud.TaskToken("a", 1),
		"next attempt":    cloud.TaskToken("a", 2),
		"another task":    cloud.TaskToken("a1", 1),
		"launch as task":  cloud.LaunchToken("a", "1"),
		"the same launch": cloud.LaunchToken("c", "d"),
	} {
		if len(token) != 64 {
			t.Errorf("%s: %d characters, want 64", name, len(token))
		}
		if other, ok := seen[token]; ok {
			t.Errorf("%s has the same token as %s", name, other)
		}
		seen[token] = name
	}
	// The token of a launch that was made must not change with a new version of the
	// operator: it would launch again.
	const want = "9abc19f2b34ee333c352eb1b57badec66c750431fa76c2671c2555452bd53947"
	if got := cloud.LaunchToken("c", "d"); got != want {
		t.Errorf("LaunchToken changed: got %s, want %s", got, want)
	}
}

func TestStartedByRoundTrip(t *testing.T) {
	t.Parallel()
	allowed := regexp.MustCompile(`^[A-Za-z0-9/_-]{1,128}$`)
	for _, attempt := range []int32{0, 1, 17, math.MaxInt32} {
		s := cloud.StartedBy("0b8a6f4e-6d3c-4a1e-9d57-1f2f6c0f9a11", attempt)
		if !allowed.MatchString(s) {
			t.Errorf("ECS would refuse %q", s)
		}
		uid, got, ok := cloud.ParseStartedBy(s)
		if !ok || uid != "0b8a6f4e-6d3c-4a1e-9d57-1f2f6c0f9a11" || got != attempt {
			t.Errorf("%q was read as %q, %d, %t", s, uid, got, ok)
		}
	}
	for _, s := range []string{"", "ecs-svc/1234567890", "mbx//1", "mbx/uid", "mbx/uid/-1", "mbx/uid/01", "mbx/uid/99999999999", "mbx/uid/1/2", "xmbx/uid/1"} {
		if uid, attempt, ok := cloud.ParseStartedBy(s); ok {
			t.Errorf("%q was read as %q, %d", s, uid, attempt)
		}
	}
}
