// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package freeport

import (
	"context"
	"errors"
	"net"
	"strconv"
	"testing"
)

func TestAFoundPortCanBeListenedOnAndIsNoneOfOutgoingConnections(t *testing.T) {
	port, err := Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if port >= 32768 {
		t.Errorf("%d may be taken by an outgoing connection", port)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort("localhost", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Find(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("looking on after the end: %v", err)
	}
}
