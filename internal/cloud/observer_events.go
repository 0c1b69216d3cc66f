// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// eventWait is how long a receive waits for a message: the most that SQS does.
	// See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html.
	eventWait = 20 * time.Second
	// eventPause is the time between two rounds. It gathers what comes meanwhile, and
	// bounds the looks that events cause: a session that starts makes a dozen events.
	eventPause = 200 * time.Millisecond
	// eventBatch is about how many messages one round takes.
	eventBatch = 200
	// eventTimeout bounds the looks of one round. It is less than the queue's
	// visibility timeout should be, or messages come again while they are acted on.
	eventTimeout = 15 * time.Second
)

// eventState is how the queue stands.
type eventState struct {
	// received says whether a round ever succeeded, and err is what was wrong with
	// the last one.
	received bool
	err      error
}

// Events says how the region's event queue stands: received is false until messages,
// or none, could be received from it and acted on. Err is what went wrong in the
// last round; nil once one succeeds again, and for a region without a queue.
func (o *Observer) Events() (received bool, err error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.events.received && o.events.err == nil, o.events.err
}

// eventLoop receives events and looks at what they tell of, until the context
// ends. Whatever is wrong with the queue, the listings go on as they are.
func (o *Observer) eventLoop(ctx context.Context) {
	var wait time.Duration // The first receive only says whether there is a queue.
	retry := retryInterval
	for {
		err := o.eventRound(ctx, wait)
		if ctx.Err() != nil {
			return
		}
		pause := eventPause
		if err == nil {
			wait, retry = eventWait, retryInterval
		} else {
			wait, pause = 0, jittered(retry)
			retry = min(2*retry, maxHotInterval)
			o.opts.Log.Error(err, "Taking in events failed; trying again", "after", pause)
		}
		o.setEvents(err)
		if !o.pause(ctx, pause) {
			return
		}
	}
}

// setEvents takes in how a round went, and tells of it if that is news.
func (o *Observer) setEvents(err error) {
	o.mu.Lock()
	before := o.events
	o.events = eventState{received: before.received || err == nil, err: err}
	news := o.events.received != before.received || fmt.Sprint(o.events.err) != fmt.Sprint(before.err)
	o.mu.Unlock()
	if news {
		o.emit([]Change{{Kind: SyncedChanged}})
	}
}

// eventRound receives what there is, looks at it, and only then deletes the
// messages whose looks succeeded.
func (o *Observer) eventRound(ctx context.Context, wait time.Duration) error {
	batch, err := o.receiveEvents(ctx, wait)
	if err != nil {
		return fmt.Errorf("receiving events: %w", err)
	}
	if len(batch) == 0 {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	settled, err := o.actOn(limited, batch)
	if len(settled) == 0 {
		return err
	}
	if deleteErr := o.opts.Queue.Delete(limited, settled); deleteErr != nil {
		// They will come again, and tell of nothing new then.
		err = errors.Join(err, fmt.Errorf("deleting events: %w", deleteErr))
	}
	return err
}

// receiveEvents waits for the first messages, and takes all that are there with
// them, so that one look serves many.
func (o *Observer) receiveEvents(ctx context.Context, wait time.Duration) ([]EventMessage, error) {
	var batch []EventMessage
	for len(batch) < eventBatch {
		some, err := o.opts.Queue.Receive(ctx, wait)
		if err != nil {
			// Those received already come again.
			return nil, err
		}
		batch = append(batch, some...)
		if len(some) < ReceiveBatch {
			break
		}
		wait = 0
	}
	return batch, nil
}
