// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
	cloudaws "github.com/mandelbox/mandelbox-operator/internal/cloud/aws"
)

// populator fills hosts with running sessions while no manager runs, much faster
// than through one: each session is a copy of one that a manager brought to run,
// with a task and a claim of its own. A manager that starts then takes them for its
// own, and finds nothing to write.
type populator struct {
	*world
	model *v1alpha1.Mandelbox
	// rows are what the channel runs, by region.
	rows map[string]*v1alpha1.RevisionRegion
	apis map[string]cloud.API
	// next is the number of the next session.
	next int
}

// newPopulator has the manager bring a session to run, to be the model of others.
func (w *world) newPopulator(ctx context.Context, m *process) (*populator, error) {
	p := &populator{world: w, model: w.session("model", 0), apis: map[string]cloud.API{}, rows: map[string]*v1alpha1.RevisionRegion{}}
	if err := w.people.Create(ctx, p.model); err != nil {
		return nil, fmt.Errorf("creating the model session: %w", err)
	}
	err := w.await(ctx, time.Minute, "the model session to run", func(ctx context.Context) (bool, error) {
		err := w.people.Get(ctx, keyOf(p.model), p.model)
		return p.model.Status.Phase == v1alpha1.MandelboxRunning, cmp.Or(err, m.failure())
	})
	if err != nil {
		return nil, err
	}
	channel := &v1alpha1.AMI{}
	if err := w.people.Get(ctx, types.NamespacedName{Name: channelName}, channel); err != nil {
		return nil, fmt.Errorf("reading the channel: %w", err)
	}
	for _, name := range w.regions {
		if p.rows[name] = channel.ActiveRow(name); p.rows[name] == nil {
			return nil, fmt.Errorf("the channel has no active release in %s", name)
		}
	}
	return p, p.open(ctx)
}

// open makes the clients of the local AWS, as the manager has them.
func (p *populator) open(ctx context.Context) error {
	provider, err := cloudaws.New(ctx, cloudaws.Options{Config: p.aws.config(p.regions[0])})
	if err != nil {
		return fmt.Errorf("preparing for the local AWS: %w", err)
	}
	var regions v1alpha1.RegionList
	if err := p.people.List(ctx, &regions); err != nil {
		return fmt.Errorf("listing Regions: %w", err)
	}
	for i := range regions.Items {
		r := &regions.Items[i]
		p.apis[r.Name], err = provider.Open(ctx, cloud.Target{
			ClusterID: string(p.plane.ClusterUID()), Region: r.Name, AWSRegion: r.AWSRegion(), ECSCluster: r.Spec.ECSCluster,
		})
		if err != nil {
			return fmt.Errorf("opening region %s: %w", r.Name, err)
		}
	}
	return nil
}

// resident is a session that is put on a host.
type resident struct {
	session *v1alpha1.Mandelbox
	host    *v1alpha1.Instance
	slot    int32
	task    cloud.Task
}

// fill puts sessions on the hosts, evenly over the regions, until there are that
// many in all. No manager may run, and the local AWS must have no limits.
func (p *populator) fill(ctx context.Context, sessions int) error {
	residents, err := p.seat(ctx, sessions)
	if err != nil {
		return err
	}
	err = inParallel(ctx, clients, len(residents), func(ctx context.Context, i int) error { return p.create(ctx, residents[i]) })
	if err != nil {
		return err
	}
	if err := p.readTasks(ctx, residents); err != nil {
		return err
	}
	if err := p.claim(ctx, residents); err != nil {
		return err
	}
	return inParallel(ctx, clients, len(residents), func(ctx context.Context, i int) error { return p.settle(ctx, residents[i]) })
}

// seat gives each session a free slot, one host of a region after the other.
func (p *populator) seat(ctx context.Context, sessions int) ([]*resident, error) {
	hosts, err := p.listHosts(ctx)
	if err != nil {
		return nil, err
	}
	byRegion := map[string][]*v1alpha1.Instance{}
	held := 0
	for i := range hosts {
		h := &hosts[i]
		byRegion[h.Spec.RegionName] = append(byRegion[h.Spec.RegionName], h)
		held += len(h.Status.Claims)
	}
	var residents []*resident
	for ; held < sessions; held++ {
		m := p.session("p", p.next)
		region := m.Spec.Regions[0]
		for len(byRegion[region]) > 0 && byRegion[region][0].FreeSlots() == 0 {
			byRegion[region] = byRegion[region][1:]
		}
		if len(byRegion[region]) == 0 {
			return nil, fmt.Errorf("region %s has no room for session %d of %d", region, held, sessions)
		}
		h := byRegion[region][0]
		r := &resident{session: m, host: h, slot: freeSlot(h)}
		h.Status.Claims = append(h.Status.Claims, v1alpha1.Claim{Slot: r.slot, Namespace: m.Namespace, Name: m.Name, Attempt: 1})
		residents = append(residents, r)
		p.next++
	}
	return residents, nil
}

// freeSlot is the lowest free slot.
func freeSlot(h *v1alpha1.Instance) int32 {
	for slot := int32(0); ; slot++ {
		if !slices.ContainsFunc(h.Status.Claims, func(c v1alpha1.Claim) bool { return c.Slot == slot }) {
			return slot
		}
	}
}

// create makes the Mandelbox and its task.
func (p *populator) create(ctx context.Context, r *resident) error {
	m, h := r.session, r.host
	m.Finalizers = p.model.Finalizers
	if err := p.people.Create(ctx, m); err != nil {
		return fmt.Errorf("creating session %s: %w", m.Name, err)
	}
	uid := string(m.UID)
	task, err := p.apis[h.Spec.RegionName].RunTask(ctx, cloud.TaskRun{
		Token: cloud.TaskToken(uid, 1), StartedBy: cloud.StartedBy(uid, 1),
		TaskDefinition: p.rows[h.Spec.RegionName].TaskDefinition, ContainerName: p.rows[h.Spec.RegionName].ContainerName,
		InstanceID: h.Status.InstanceID, ContainerHostARN: h.Status.ContainerInstanceARN,
		Env: map[string]string{"MANDELBOX_NAME": m.Name},
		Tags: map[string]string{
			cloud.TagCluster: string(p.plane.ClusterUID()), cloud.TagRegion: h.Spec.RegionName,
			cloud.TagAMI: h.Spec.AMIName, cloud.TagRevision: h.Spec.Revision, cloud.TagLaunch: h.Status.Launch.Token,
			cloud.TagMandelbox: m.Namespace + "/" + m.Name, cloud.TagSlot: strconv.Itoa(int(r.slot)),
		},
	})
	r.task = task
	if err != nil {
		return fmt.Errorf("starting the task of session %s: %w", m.Name, err)
	}
	return nil
}

// readTasks waits until all tasks run, and notes how.
func (p *populator) readTasks(ctx context.Context, residents []*resident) error {
	running := map[string]cloud.Task{}
	err := p.await(ctx, time.Minute, "the tasks to run", func(ctx context.Context) (bool, error) {
		for _, api := range p.apis {
			listing, err := api.ListTasks(ctx, nil)
			if err != nil {
				return false, err
			}
			for _, t := range listing.Tasks {
				if t.LastStatus == cloud.TaskRunning {
					running[t.ARN] = t
				}
			}
		}
		return !slices.ContainsFunc(residents, func(r *resident) bool { return running[r.task.ARN].ARN == "" }), nil
	})
	for _, r := range residents {
		r.task = running[r.task.ARN]
	}
	return err
}

// claim writes the claims of all hosts, each host's in one write.
func (p *populator) claim(ctx context.Context, residents []*resident) error {
	var hosts []*v1alpha1.Instance
	for _, r := range residents {
		at := slices.IndexFunc(r.host.Status.Claims, func(c v1alpha1.Claim) bool { return c.Slot == r.slot })
		r.host.Status.Claims[at].UID = string(r.session.UID)
		if len(hosts) == 0 || hosts[len(hosts)-1] != r.host {
			hosts = append(hosts, r.host)
		}
	}
	slices.SortFunc(hosts, func(a, b *v1alpha1.Instance) int { return cmp.Compare(a.Name, b.Name) })
	hosts = slices.Compact(hosts)
	return inParallel(ctx, clients, len(hosts), func(ctx context.Context, i int) error {
		hosts[i].Status.Claimed = ptr.To(int32(len(hosts[i].Status.Claims)))
		if err := p.people.Status().Update(ctx, hosts[i]); err != nil {
			return fmt.Errorf("claiming slots of %s: %w", hosts[i].Name, err)
		}
		return nil
	})
}

// settle gives the session the model's status, as of its own slot and task.
func (p *populator) settle(ctx context.Context, r *resident) error {
	m, h := r.session, r.host
	p.model.Status.DeepCopyInto(&m.Status)
	st := &m.Status
	model := fmt.Sprintf("slot %d of Instance %s", *p.model.Status.Slot, p.model.Status.InstanceName)
	for i := range st.Conditions {
		st.Conditions[i].Message = strings.ReplaceAll(st.Conditions[i].Message, model, fmt.Sprintf("slot %d of Instance %s", r.slot, h.Name))
	}
	st.InstanceName, st.Slot, st.Region, st.IP = h.Name, ptr.To(r.slot), h.Spec.RegionName, h.IP()
	st.TaskARN = r.task.ARN
	st.AssignedTime, st.RunningTime = ptr.To(metav1.NewTime(r.task.CreatedAt)), ptr.To(metav1.NewTime(r.task.StartedAt))
	st.Ports[0].HostPort = r.task.Ports[0].HostPort
	if err := p.people.Status().Update(ctx, m); err != nil {
		return fmt.Errorf("writing the status of session %s: %w", m.Name, err)
	}
	return nil
}
