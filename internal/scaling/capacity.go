// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package scaling

// MaxSlots is the greatest number of slots that a host can have; the API bounds
// a claim's slot, which is numbered from 0, by it.
const MaxSlots = 128

// Resources are what a host registered with ECS, or what a task needs of it.
type Resources struct {
	// CPU is the CPU share, 1024 to a vCPU.
	CPU int32
	// MemoryMiB is the memory in MiB.
	MemoryMiB int32
	// GPUs is the number of GPUs that ECS pins; 0 if the task pins none.
	GPUs int32
}

// SlotsPerHost is the number of slots that a host of an instance type is planned
// to have: its GPUs times mandelboxesPerGPU or its vCPUs divided by
// vcpusPerMandelbox, whichever is less, and at most MaxSlots. A mandelboxesPerGPU
// of 0 leaves GPUs out of the reckoning; where they count, a host without any has
// no slot. A vcpusPerMandelbox of 0 or less gives none.
func SlotsPerHost(vcpus, gpus, vcpusPerMandelbox, mandelboxesPerGPU int32) int32 {
	if vcpusPerMandelbox <= 0 {
		return 0
	}
	slots := vcpus / vcpusPerMandelbox
	if mandelboxesPerGPU > 0 {
		slots = min(slots, gpus*mandelboxesPerGPU)
	}
	return max(0, min(slots, MaxSlots))
}

// SlotsRegistered is the number of slots that a host really has: how often what a
// task needs fits into what the host registered with ECS, at most planned. A
// resource of which the task needs nothing doesn't count.
func SlotsRegistered(registered, needed Resources, planned int32) int32 {
	slots := min(planned, MaxSlots)
	for _, r := range []struct{ has, needs int32 }{
		{registered.CPU, needed.CPU},
		{registered.MemoryMiB, needed.MemoryMiB},
		{registered.GPUs, needed.GPUs},
	} {
		if r.needs > 0 {
			slots = min(slots, r.has/r.needs)
		}
	}
	return max(0, slots)
}
