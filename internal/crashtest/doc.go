// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package crashtest kills the operator at every write that it makes, to Kubernetes
// and to AWS, and sees whether it comes through.
//
// The operator runs as a process of its own between two proxies: one before a real
// API server, one before the local AWS. A reference story is played once
// undisturbed, and each of the operator's mutating calls in it gets a name. Then,
// by one plan after the other, the story is played again and something happens at a
// call: the process gets a SIGKILL before the call is passed on, or after it took
// effect and before it is answered, or right after; the API server or AWS refuses
// it, or loses the answer; reads are stale; watch events are missed. A fresh manager
// must bring everything to the same end, in which each thing is there exactly once
// and nothing is written any more, and then let go of all of it.
//
// The package knows nothing of how the operator works: only what its calls look
// like from outside, and what must be true in the end.
package crashtest
