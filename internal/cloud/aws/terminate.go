// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

const (
	// terminateWindow is how long a call waits for others to share its request.
	terminateWindow = 50 * time.Millisecond
	// terminateBatch is how many ids one request takes at most.
	// See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateInstances.html.
	terminateBatch = 1000
	// terminateTimeout bounds one request with all its repetitions.
	terminateTimeout = time.Minute
	// terminateRounds is how often a request is repeated without the ids that were
	// refused. EC2 names all of a kind at once, so that few rounds do.
	terminateRounds = 8
)

// TerminateHost terminates a host together with what others terminate within the
// same moment.
func (c *client) TerminateHost(ctx context.Context, instanceID string) error {
	return c.terminator.terminate(ctx, instanceID)
}

// terminateAPI is what the terminator needs of EC2.
type terminateAPI interface {
	TerminateInstances(ctx context.Context, in *ec2.TerminateInstancesInput, opts ...func(*ec2.Options)) (*ec2.TerminateInstancesOutput, error)
}

// terminator merges concurrent terminations into few requests. Requests run on a
// context of their own: the batch must not die with whichever caller happened to
// be the first.
type terminator struct {
	api terminateAPI

	mu      sync.Mutex
	waiting map[string][]chan<- error
}

func newTerminator(api terminateAPI) *terminator {
	return &terminator{api: api, waiting: map[string][]chan<- error{}}
}

// terminate joins the batch that is gathering and waits for its outcome. If the
// caller's context ends first, the host is terminated all the same.
func (t *terminator) terminate(ctx context.Context, id string) error {
	done := make(chan error, 1)
	t.mu.Lock()
	if len(t.waiting) == 0 {
		time.AfterFunc(terminateWindow, t.send)
	}
	t.waiting[id] = append(t.waiting[id], done)
	t.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return wrap("TerminateInstances", ctx.Err())
	}
}

// send terminates all that has gathered.
func (t *terminator) send() {
	t.mu.Lock()
	gathered := t.waiting
	t.waiting = map[string][]chan<- error{}
	t.mu.Unlock()

	ids := make([]string, 0, len(gathered))
	for id := range gathered {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for batch := range slices.Chunk(ids, terminateBatch) {
		ctx, cancel := context.WithTimeout(context.Background(), terminateTimeout)
		outcome := t.terminateBatch(ctx, batch)
		cancel()
		for _, id := range batch {
			for _, done := range gathered[id] {
				done <- outcome[id]
			}
		}
	}
}

// terminateBatch terminates the ids and returns the errors of those that could
// not be. EC2 terminates all or none: the ids that its error names are dropped,
// and the rest is sent again. An error that names none is the error of all that
// are left; they are never sent one by one.
func (t *terminator) terminateBatch(ctx context.Context, ids []string) map[string]error {
	failed := map[string]error{}
	ids = slices.Clone(ids)
	var err error
	for range terminateRounds {
		if len(ids) == 0 {
			return failed
		}
		_, err = t.api.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids})
		if err == nil {
			return failed
		}
		err = wrap("TerminateInstances", err)
		named := namedIDs(err)
		before := len(ids)
		ids = slices.DeleteFunc(ids, func(id string) bool {
			if !named[id] {
				return false
			}
			if cloud.KindOf(err) != cloud.KindNotFound {
				failed[id] = err
			}
			return true
		})
		if len(ids) == before {
			break
		}
	}
	for _, id := range ids {
		failed[id] = err
	}
	return failed
}

// word is anything in a message that may be an id.
var word = regexp.MustCompile(`[A-Za-z0-9_-]+`)

// namedIDs are the words of AWS's message, the ids that it refuses among them.
func namedIDs(err error) map[string]bool {
	named := map[string]bool{}
	if apiErr, ok := errors.AsType[smithy.APIError](err); ok {
		for _, w := range word.FindAllString(apiErr.ErrorMessage(), -1) {
			named[w] = true
		}
	}
	return named
}
