// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package checker

import (
	"fmt"
	"slices"
	"time"
)

// LeftBehind is what is still there of objects and in the cloud, in words; it is
// empty once everything that was made is gone.
func (c *Checker) LeftBehind() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var left []string
	for _, s := range c.sessions {
		if !s.gone {
			left = append(left, s.name)
		}
	}
	for name := range c.hosts {
		left = append(left, "Instance "+name)
	}
	for name := range c.channels {
		left = append(left, "AMI "+name)
	}
	for name := range c.regions {
		left = append(left, "Region "+name)
	}
	for _, h := range c.cloud.hosts {
		if h.Live && h.Cluster == c.options.ClusterID {
			left = append(left, "host "+h.ID)
		}
	}
	for _, t := range c.cloud.tasks {
		if t.live() && !c.cloud.lost[t.InstanceID] {
			left = append(left, fmt.Sprintf("task %s of %s", t.ARN, c.sessionName(t.uid)))
		}
	}
	slices.Sort(left)
	return left
}

// Gone judges that everything was to be gone by now.
func (c *Checker) Gone(now time.Time) {
	for _, what := range c.LeftBehind() {
		c.Report(now, ExactlyOnce, RuleLeftBehind, what, "it is still there although everything was deleted")
	}
}
