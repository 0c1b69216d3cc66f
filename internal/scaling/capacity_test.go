// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package scaling

import "testing"

// TestSlotsPerHost holds the sizes of g4dn, with 4 vCPUs to a Mandelbox and two
// Mandelboxes to a GPU, and the edges. The types' vCPUs and GPUs are those of
// https://docs.aws.amazon.com/ec2/latest/instancetypes/ac.html.
func TestSlotsPerHost(t *testing.T) {
	for name, tc := range map[string]struct {
		vcpus, gpus, perMandelbox, perGPU int32
		want                              int32
	}{
		"g4dn.xlarge":                         {4, 1, 4, 2, 1},
		"g4dn.2xlarge":                        {8, 1, 4, 2, 2},
		"g4dn.4xlarge":                        {16, 1, 4, 2, 2},
		"g4dn.8xlarge":                        {32, 1, 4, 2, 2},
		"g4dn.16xlarge":                       {64, 1, 4, 2, 2},
		"g4dn.12xlarge":                       {48, 4, 4, 2, 8},
		"GPUs don't count":                    {64, 1, 4, 0, 16},
		"no GPU where GPUs count":             {64, 0, 4, 2, 0},
		"no GPU where none counts":            {64, 0, 4, 0, 16},
		"fewer vCPUs than a Mandelbox takes":  {2, 1, 4, 2, 0},
		"what is left of the vCPUs is unused": {7, 4, 4, 2, 1},
		"vCPUs per Mandelbox not known":       {64, 4, 0, 2, 0},
		"as many as a claim can number":       {448, 0, 1, 0, 128},
	} {
		t.Run(name, func(t *testing.T) {
			if got := SlotsPerHost(tc.vcpus, tc.gpus, tc.perMandelbox, tc.perGPU); got != tc.want {
				t.Errorf("slots = %d, want %d", got, tc.want)
			}
		})
	}
}

func TestSlotsRegistered(t *testing.T) {
	g4dn := Resources{CPU: 49152, MemoryMiB: 189_000, GPUs: 4}
	for name, tc := range map[string]struct {
		registered, needed Resources
		planned            int32
		want               int32
	}{
		"as planned":               {g4dn, Resources{CPU: 4096, MemoryMiB: 16_384}, 8, 8},
		"never more than planned":  {g4dn, Resources{CPU: 1024, MemoryMiB: 1024}, 8, 8},
		"CPU is short":             {g4dn, Resources{CPU: 16_384, MemoryMiB: 1024}, 8, 3},
		"memory is short":          {g4dn, Resources{CPU: 4096, MemoryMiB: 32_768}, 8, 5},
		"GPUs are short":           {g4dn, Resources{CPU: 4096, MemoryMiB: 16_384, GPUs: 1}, 8, 4},
		"GPUs don't count":         {Resources{CPU: 4096, MemoryMiB: 4096}, Resources{CPU: 1024, MemoryMiB: 1024}, 4, 4},
		"no GPU where one is due":  {Resources{CPU: 4096, MemoryMiB: 4096}, Resources{GPUs: 1}, 4, 0},
		"nothing registered":       {Resources{}, Resources{CPU: 1024}, 4, 0},
		"nothing needed":           {Resources{}, Resources{}, 4, 4},
		"nothing planned":          {g4dn, Resources{CPU: 1024}, 0, 0},
		"planned more than can be": {g4dn, Resources{CPU: 1}, 4000, 128},
	} {
		t.Run(name, func(t *testing.T) {
			if got := SlotsRegistered(tc.registered, tc.needed, tc.planned); got != tc.want {
				t.Errorf("slots = %d, want %d", got, tc.want)
			}
		})
	}
}
