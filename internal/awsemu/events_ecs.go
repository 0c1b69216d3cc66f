// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// eventful is what ECS tells of when it has changed: a task or a container instance.
type eventful interface {
	// event is the kind of the event, whose it is and its detail, as of now.
	event() (detailType, arn string, detail any)
}

// taskChanged and memberChanged raise the version of what changed and have an
// event tell of it once all that belongs to the change is done.
func (r *region) taskChanged(t *task) {
	t.version++
	r.tell(t)
}

func (r *region) memberChanged(ci *containerInstance) {
	ci.version++
	r.tell(ci)
}

func (r *region) tell(what eventful) {
	if len(r.sqs.takers) > 0 && !slices.Contains(r.untold, what) {
		r.untold = append(r.untold, what)
	}
}

// tellAll publishes the events of all that changed, each as it is by now.
func (r *region) tellAll() {
	untold := r.untold
	r.untold = nil
	for _, what := range untold {
		detailType, arn, detail := what.event()
		r.publish("aws.ecs", detailType, arn, r.inEvents(detail))
	}
}

// event is https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_task_events.html.
func (t *task) event() (detailType, arn string, detail any) {
	return "ECS Task State Change", t.arn, t.view(false)
}

// event is https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_container_instance_events.html.
func (ci *containerInstance) event() (detailType, arn string, detail any) {
	return "ECS Container Instance State Change", ci.arn, struct {
		ecsContainerInstance
		ClusterARN string `json:"clusterArn"`
	}{ci.view(false), ci.cluster.arn}
}

// inEvents is an answer of the API as events show it: moments are text in them, and
// there are no tags.
func (r *region) inEvents(detail any) map[string]any {
	text, err := json.Marshal(detail)
	if err != nil {
		panic(fmt.Sprintf("rendering a detail: %v", err)) // Answers of the API are JSON.
	}
	var shown map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // Versions stay the whole numbers that they are.
	if err := decoder.Decode(&shown); err != nil {
		panic(fmt.Sprintf("reading a detail: %v", err))
	}
	for name, value := range shown {
		number, ok := value.(json.Number)
		if !ok || !strings.HasSuffix(name, "At") {
			continue
		}
		if seconds, err := number.Float64(); err == nil {
			shown[name] = inText(time.UnixMilli(int64(seconds * 1000)))
		}
	}
	delete(shown, "tags")
	shown["updatedAt"] = inText(r.now())
	return shown
}

func inText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
