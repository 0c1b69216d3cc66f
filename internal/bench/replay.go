// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"regexp"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/controllers"
)

const apiPath = "/apis/cloud.mandelbox.dev/v1alpha1"

// replay issues the writes that the manager was seen to make, with the same bodies,
// on copies of the objects that it made them on. Of each object they come in the
// order in which they were made; between objects nothing waits for anything.
type replay struct {
	config  *rest.Config
	rest    *rest.RESTClient
	create  client.Client
	objects map[string]*copied
	steps   []*step
}

// copied is an object that writes are replayed on.
type copied struct {
	path string
	// version is the newest resourceVersion; whoever has the turn writes it.
	version string
	// last is closed when the last step so far is done.
	last chan struct{}
}

// step is one write to be made.
type step struct {
	write  auditWrite
	object *copied
	// after is closed when the write before it on the same object is done.
	after <-chan struct{}
	done  chan struct{}
}

// newReplay makes the bare client. It isn't held back, as the manager isn't.
func newReplay(config *rest.Config) (*replay, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1
	created, err := client.New(config, client.Options{Scheme: controllers.NewScheme()})
	if err != nil {
		return nil, fmt.Errorf("making a bare client: %w", err)
	}
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a bare client: %w", err)
	}
	p := &replay{config: rest.CopyConfig(config), create: created, objects: map[string]*copied{}}
	config.GroupVersion = &v1alpha1.GroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(controllers.NewScheme()).WithoutConversion()
	if p.rest, err = rest.UnversionedRESTClientForConfigAndClient(config, httpClient); err != nil {
		return nil, fmt.Errorf("making a bare client: %w", err)
	}
	return p, nil
}

// copyName is the name of the copy of an object, as long as the name itself.
func copyName(name string) string { return "x" + name[1:] }

// objectPath is where the API server serves an object.
func objectPath(resource, namespace, name string) string {
	if namespace == "" {
		return path.Join(apiPath, resource, name)
	}
	return path.Join(apiPath, "namespaces", namespace, resource, name)
}

// object returns what the writes on that object are replayed on.
func (p *replay) object(resource, namespace, name string) *copied {
	if resource == "mandelboxes" || resource == "instances" {
		name = copyName(name)
	}
	at := objectPath(resource, namespace, name)
	o := p.objects[at]
	if o == nil {
		o = &copied{path: at}
		p.objects[at] = o
	}
	return o
}

// add plans a write, and says what keeps it from being replayed.
func (p *replay) add(w auditWrite) (*step, error) {
	s := &step{write: w, done: make(chan struct{})}
	switch {
	case w.Verb == "create" && w.Object.Resource == "events":
		s.object = &copied{path: path.Join("/apis/events.k8s.io/v1/namespaces", w.Object.Namespace, "events")}
	case w.Verb == "patch" && w.Object.Resource != "events":
		s.object = p.object(w.Object.Resource, w.Object.Namespace, w.Object.Name)
		if s.object.last != nil {
			s.after = s.object.last
		}
		s.object.last = s.done
	default:
		return nil, fmt.Errorf("the manager made a write that is not replayed: %s", w.kind())
	}
	p.steps = append(p.steps, s)
	return s, nil
}

// prepare reads the versions of the objects that are not copied, such as regions.
func (p *replay) prepare(ctx context.Context) error {
	for _, s := range p.steps {
		if s.write.Verb != "patch" || s.object.version != "" || s.write.Object.Resource == "mandelboxes" {
			continue
		}
		answer, err := p.rest.Get().AbsPath(s.object.path).DoRaw(ctx)
		if err != nil {
			return fmt.Errorf("reading %s: %w", s.object.path, err)
		}
		if s.object.version, err = versionOf(answer); err != nil {
			return err
		}
	}
	return nil
}

// versionOf is the resourceVersion of an object as it was answered.
func versionOf(answer []byte) (string, error) {
	var object metav1.PartialObjectMetadata
	if err := json.Unmarshal(answer, &object); err != nil {
		return "", fmt.Errorf("reading an answer: %w", err)
	}
	return object.ResourceVersion, nil
}

// copyHosts makes a copy of each host, with its status as it was.
func (p *replay) copyHosts(ctx context.Context, hosts []v1alpha1.Instance) error {
	objects := make([]*copied, len(hosts))
	for i := range hosts {
		objects[i] = p.object("instances", "", hosts[i].Name)
	}
	return inParallel(ctx, clients, len(hosts), func(ctx context.Context, i int) error {
		copy := &v1alpha1.Instance{ObjectMeta: metav1.ObjectMeta{Name: copyName(hosts[i].Name), Finalizers: hosts[i].Finalizers}, Spec: hosts[i].Spec}
		if err := p.create.Create(ctx, copy); err != nil {
			return fmt.Errorf("copying Instance %s: %w", hosts[i].Name, err)
		}
		copy.Status = hosts[i].Status
		if err := p.create.Status().Update(ctx, copy); err != nil {
			return fmt.Errorf("copying the status of Instance %s: %w", hosts[i].Name, err)
		}
		objects[i].version = copy.ResourceVersion
		return nil
	})
}

// copySessions makes a copy of each session, with its status as it was.
func (p *replay) copySessions(ctx context.Context, sessions []v1alpha1.Mandelbox) error {
	objects := make([]*copied, len(sessions))
	for i := range sessions {
		objects[i] = p.object("mandelboxes", sessions[i].Namespace, sessions[i].Name)
	}
	return inParallel(ctx, clients, len(sessions), func(ctx context.Context, i int) error {
		copy := sessionCopy(&sessions[i])
		if err := p.create.Create(ctx, copy); err != nil {
			return fmt.Errorf("copying Mandelbox %s: %w", sessions[i].Name, err)
		}
		copy.Status = sessions[i].Status
		if err := p.create.Status().Update(ctx, copy); err != nil {
			return fmt.Errorf("copying the status of Mandelbox %s: %w", sessions[i].Name, err)
		}
		objects[i].version = copy.ResourceVersion
		return nil
	})
}

// sessionCopy is a session as the copy of another is created.
func sessionCopy(m *v1alpha1.Mandelbox) *v1alpha1.Mandelbox {
	return &v1alpha1.Mandelbox{ObjectMeta: metav1.ObjectMeta{Namespace: m.Namespace, Name: copyName(m.Name), Finalizers: m.Finalizers}, Spec: m.Spec}
}

// versionField is where a merge patch says which version it is meant for.
var versionField = regexp.MustCompile(`"resourceVersion":"[0-9]*"`)

// do makes one write, once those before it on the same object are made.
func (p *replay) do(ctx context.Context, s *step) error {
	if s.after != nil {
		select {
		case <-s.after:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer close(s.done)
	if s.write.Verb == "create" {
		return p.createEvent(ctx, s)
	}
	body := versionField.ReplaceAll(s.write.Body, []byte(`"resourceVersion":"`+s.object.version+`"`))
	answer, err := p.rest.Verb(http.MethodPatch).AbsPath(path.Join(s.object.path, s.write.Object.Subresource)).
		SetHeader("Content-Type", string(types.MergePatchType)).Body(body).DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("replaying %s of %s: %w", s.write.kind(), s.object.path, err)
	}
	s.object.version, err = versionOf(answer)
	return err
}

// createEvent creates an Event like the manager's under another name.
func (p *replay) createEvent(ctx context.Context, s *step) error {
	var event map[string]any
	if err := json.Unmarshal(s.write.Body, &event); err != nil {
		return fmt.Errorf("reading an Event of the manager: %w", err)
	}
	metadata, ok := event["metadata"].(map[string]any)
	if !ok {
		return fmt.Errorf("an Event of the manager has no metadata: %s", s.write.Body)
	}
	metadata["name"] = copyName(s.write.Object.Name)
	body, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("writing an Event: %w", err)
	}
	if _, err := p.rest.Post().AbsPath(s.object.path).SetHeader("Content-Type", "application/json").Body(body).DoRaw(ctx); err != nil {
		return fmt.Errorf("replaying an Event: %w", err)
	}
	return nil
}

// all makes all writes that were planned, in order, by that many clients at once.
func (p *replay) all(ctx context.Context, workers int) error {
	return inParallel(ctx, workers, len(p.steps), func(ctx context.Context, i int) error { return p.do(ctx, p.steps[i]) })
}
