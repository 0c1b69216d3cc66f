// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

func TestUserDataECS(t *testing.T) {
	t.Parallel()
	got := cloud.UserData(cloud.UserDataECS, "mandelbox", map[string]string{"b": "it's", "a": "$HOME"}, "#!/bin/sh\necho mine\n")
	want := `#!/bin/bash
mkdir -p /etc/ecs
cat >> /etc/ecs/ecs.config <<'END_OF_MANDELBOX'
ECS_CLUSTER=mandelbox
ECS_INSTANCE_ATTRIBUTES={"a":"$HOME","b":"it's"}
ECS_IMAGE_PULL_BEHAVIOR=prefer-cached
ECS_ENABLE_SPOT_INSTANCE_DRAINING=true
ECS_CONTAINER_STOP_TIMEOUT=30s
ECS_ENABLE_TASK_IAM_ROLE=true
END_OF_MANDELBOX
echo mine
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("user data (-want +got):\n%s", diff)
	}
}

func TestUserDataVariants(t *testing.T) {
	t.Parallel()
	exclusive := map[string]string{cloud.AttributeGPU: cloud.GPUExclusive}
	for name, tc := range map[string]struct {
		format, script string
		attributes     map[string]string
		contains       []string
		lacks          []string
	}{
		"custom is left alone":   {format: cloud.UserDataCustom, script: "#cloud-config\n", contains: []string{"#cloud-config\n"}, lacks: []string{"ECS_CLUSTER"}},
		"no script":              {contains: []string{"ECS_CLUSTER=c\n"}, lacks: []string{"user-data", "ECS_INSTANCE_ATTRIBUTES", "GPU"}},
		"no first line":          {script: "touch /x", contains: []string{"\ntouch /x\n"}},
		"env bash":               {script: "#!/usr/bin/env bash\ntouch /x", contains: []string{"\ntouch /x\n"}, lacks: []string{"env bash"}},
		"bash with flags":        {script: "#!/bin/bash -ex\ntouch /x", contains: []string{"#!/bin/bash -ex\ntouch /x\n", "chmod 700"}},
		"another interpreter":    {script: "#!/usr/bin/python3\nprint('x')", contains: []string{"#!/usr/bin/python3\nprint('x')\n", "chmod 700"}},
		"the end mark inside":    {script: "#!/usr/bin/perl\nEND_OF_MANDELBOX\n", contains: []string{"<<'END_OF_MANDELBOX_'"}},
		"exclusive GPUs":         {attributes: exclusive, contains: []string{"ECS_ENABLE_GPU_SUPPORT=true\n"}},
		"shared GPUs":            {attributes: map[string]string{cloud.AttributeGPU: "Shared"}, lacks: []string{"ECS_ENABLE_GPU_SUPPORT"}},
		"the default is for ECS": {format: "", contains: []string{"ECS_CLUSTER=c\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := cloud.UserData(tc.format, "c", tc.attributes, tc.script)
			for _, part := range tc.contains {
				if !strings.Contains(got, part) {
					t.Errorf("lacks %q:\n%s", part, got)
				}
			}
			for _, part := range tc.lacks {
				if strings.Contains(got, part) {
					t.Errorf("has %q:\n%s", part, got)
				}
			}
			if tc.format == cloud.UserDataCustom {
				return
			}
			check := exec.CommandContext(t.Context(), "bash", "-n")
			check.Stdin = strings.NewReader(got)
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("bash doesn't read it: %v\n%s\n%s", err, out, got)
			}
		})
	}
}
