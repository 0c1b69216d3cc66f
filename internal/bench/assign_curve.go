// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
)

// curveClients are the loads of the curve: how many clients wait for a session each
// at any time.
var curveClients = []int{1, 2, 4, 8, 16, 32, 64}

// benchCurve measures throughput and latency of the closed loop against the number
// of clients, for the plot. It has no bar.
func benchCurve(ctx context.Context, a *assignment) error {
	each := a.sessions / len(curveClients)
	for i, clients := range curveClients {
		who := fmt.Sprintf("the manager, with %d clients,", clients)
		w, samples, err := a.closedLoop(ctx, who, clients, i*each, (i+1)*each, a.createSession)
		if err != nil {
			return err
		}
		rate := perSecond(each, w.end.Sub(w.begin))
		a.table.add(fmt.Sprintf("%d clients, sessions/s; p50, p99 ms", clients), fmt.Sprintf("%.0f; %s, %s", rate, millis(samples.at(0.5)), millis(samples.at(0.99))), "", "", "")
		a.result.set(fmt.Sprintf("curve_%d_per_s", clients), "%.1f", rate)
		a.result.set(fmt.Sprintf("curve_%d_p50_ms", clients), "%s", millis(samples.at(0.5)))
		a.result.set(fmt.Sprintf("curve_%d_p99_ms", clients), "%s", millis(samples.at(0.99)))
	}
	return nil
}
