// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package freeport finds ports for servers that others must know the port of before
// they listen.
package freeport

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

const (
	// first and count are the ports that are tried: none that systems give to outgoing
	// connections, one of which would have it before the server does. Linux begins
	// those at 32768, others later.
	// See https://docs.kernel.org/networking/ip-sysctl.html#ip-variables.
	first, count = 20000, 12000
	tries        = 100
)

// Find returns a port of the loopback interface that nobody listens on.
func Find(ctx context.Context) (int, error) {
	var err error
	for n := 0; n < tries && ctx.Err() == nil; n++ {
		port := first + rand.N(count) //nolint:gosec // Which of them is no secret.
		var listener net.Listener
		listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("localhost", strconv.Itoa(port)))
		if err == nil {
			err = listener.Close()
		}
		if err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("looking for a free port: %w", errors.Join(ctx.Err(), err))
}
