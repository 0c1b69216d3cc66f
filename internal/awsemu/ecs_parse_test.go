package awsemu

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestExpressions(t *testing.T) {
	ci := &containerInstance{
		ec2ID: "i-1", connected: true, registeredAt: ecsStart,
		attributes: map[string]string{"ecs.instance-type": "g4dn.xlarge", "stack": "prod"},
		tasks:      map[string]*task{"a": {group: "family:web", last: taskRunning, desired: taskRunning}},
	}
	tests := map[string]bool{
		"ec2InstanceId == i-1":                                 true,
		"ec2InstanceId==i-1":                                   true,
		"ec2InstanceId == 'i-1'":                               true,
		"ec2InstanceId == i-2":                                 false,
		"ec2InstanceId != i-2":                                 true,
		"ec2InstanceId in [i-2, i-1]":                          true,
		"ec2InstanceId in ['i-2','i-3']":                       false,
		"ec2InstanceId !in [i-2]":                              true,
		"ec2InstanceId not_in ['i-1']":                         false,
		"attribute:stack exists":                               true,
		"attribute:nope exists":                                false,
		"attribute:nope !exists":                               true,
		"attribute:nope == x":                                  false,
		"attribute:nope != x":                                  true,
		"attribute:ecs.instance-type =~ g4dn.*":                true,
		"attribute:ecs.instance-type =~ g4":                    false,
		"attribute:ecs.instance-type !~ g5\\..*":               true,
		"attribute:stack == prod and ec2InstanceId == i-2":     false,
		"attribute:stack == prod && ec2InstanceId == i-1":      true,
		"ec2InstanceId == i-2 or attribute:stack == prod":      true,
		"not (ec2InstanceId == i-2 || attribute:stack == dev)": true,
		"!(ec2InstanceId == i-1)":                              false,
		"ec2InstanceId == i-2 and ec2InstanceId == i-2 or " + "agentConnected == true": true,
		"ec2InstanceId == i-2 and (ec2InstanceId == i-2 or agentConnected == true)":    false,
		"task:group == family:web":      true,
		"runningTasksCount >= 1":        true,
		"runningTasksCount less_than 1": false,
		"agentVersion >= 1.9.0":         true,
		"registeredAt < 2027-01-01":     true,
	}
	for text, want := range tests {
		holds, err := parseExpression(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := holds(ci); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{
		"", "ec2InstanceId", "ec2InstanceId ==", "ec2InstanceId = i-1", "nope == 1", "(ec2InstanceId == i-1", "ec2InstanceId in i-1",
		"ec2InstanceId in [i-1", "ec2InstanceId == i-1 i-2", "ec2InstanceId == 'i-1", "ec2InstanceId =~", "ec2InstanceId =~ '('", "and",
	} {
		if _, err := parseExpression(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestAgentConfig(t *testing.T) {
	tests := map[string]struct {
		userData string
		want     agentConfig
		wrong    bool
	}{
		"nothing": {want: agentConfig{cluster: "default"}},
		"echo":    {userData: "#!/bin/bash\necho ECS_CLUSTER=c1 >> /etc/ecs/ecs.config\n", want: agentConfig{cluster: "c1"}},
		"echo with quotes": {
			userData: `echo "ECS_CLUSTER=c1" | tee -a /etc/ecs/ecs.config`, want: agentConfig{cluster: "c1"},
		},
		"echo of JSON": {
			userData: `echo 'ECS_INSTANCE_ATTRIBUTES={"a":"b"}' >> /etc/ecs/ecs.config`,
			want:     agentConfig{cluster: "default", attributes: map[string]string{"a": "b"}},
		},
		"echo of escaped JSON": {
			userData: `echo "ECS_INSTANCE_ATTRIBUTES={\"a\":\"b\"}" >> /etc/ecs/ecs.config`,
			want:     agentConfig{cluster: "default", attributes: map[string]string{"a": "b"}},
		},
		"echo of JSON that the shell unquotes": {userData: `echo ECS_INSTANCE_ATTRIBUTES={"a":"b"} >> /etc/ecs/ecs.config`, wrong: true},
		"here-document": {
			userData: "cat >> /etc/ecs/ecs.config <<EOF\nECS_CLUSTER=c1\nECS_RESERVED_MEMORY=256\nECS_ENABLE_GPU_SUPPORT=false\nEOF\n",
			want:     agentConfig{cluster: "c1", reservedMemoryMiB: 256, noGPUs: true},
		},
		"MIME": {
			userData: "Content-Type: multipart/mixed; boundary=\"==B==\"\n\n--==B==\nContent-Type: text/x-shellscript\n\n" +
				"#!/bin/bash\necho ECS_CLUSTER=c1 >> /etc/ecs/ecs.config\n--==B==--\n",
			want: agentConfig{cluster: "c1"},
		},
		"the last one wins": {userData: "ECS_CLUSTER=c1\nECS_CLUSTER='c2'\n", want: agentConfig{cluster: "c2"}},
		"tags": {
			userData: "ECS_CONTAINER_INSTANCE_TAGS={\"k\":\"v\"}\nECS_CONTAINER_INSTANCE_PROPAGATE_TAGS_FROM=ec2_instance\n",
			want:     agentConfig{cluster: "default", tags: map[string]string{"k": "v"}, tagsFromEC2: true},
		},
		"not a number": {userData: "ECS_RESERVED_MEMORY=some\n", wrong: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseAgentConfig(tc.userData)
			if (err != nil) != tc.wrong {
				t.Fatal(err)
			}
			if tc.wrong {
				return
			}
			for _, m := range []*map[string]string{&tc.want.attributes, &tc.want.tags} {
				if *m == nil {
					*m = map[string]string{}
				}
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(agentConfig{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCommands(t *testing.T) {
	tests := map[string]struct {
		command []string
		exits   bool
		after   time.Duration
		code    int
	}{
		"none":              {},
		"server":            {command: []string{"/usr/bin/server", "--port", "80"}},
		"true":              {command: []string{"/bin/true"}, exits: true},
		"false":             {command: []string{"false"}, exits: true, code: 1},
		"sleep":             {command: []string{"sleep", "1.5"}, exits: true, after: 1500 * time.Millisecond},
		"script":            {command: []string{"sh", "-c", "sleep 2 && sleep 3; exit 4"}, exits: true, after: 5 * time.Second, code: 4},
		"script that exits": {command: []string{"bash", "-c", "exit 2; sleep 9"}, exits: true, code: 2},
		"unknown script":    {command: []string{"sh", "-c", "sleep 2; serve"}},
		"sleep for ever":    {command: []string{"sleep", "infinity"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b, err := newBehaviour(nil, tc.command, 0)
			if err != nil {
				t.Fatal(err)
			}
			if b.exits != tc.exits || b.exitAfter != tc.after || b.exitCode != tc.code {
				t.Errorf("exits %v after %s with %d", b.exits, b.exitAfter, b.exitCode)
			}
		})
	}
}

func TestDemand(t *testing.T) {
	container := containerSpec{CPU: 100, Memory: 200, Ports: []portMapping{{ContainerPort: 80}, {ContainerPort: 53, HostPort: 5353, Protocol: "udp"}}}
	tests := map[string]struct {
		spec taskSpec
		want demand
	}{
		"sum of containers": {
			taskSpec{NetworkMode: "bridge", Containers: []containerSpec{container, {CPU: 1, Memory: 9, MemoryReservation: 2}}},
			demand{cpu: 101, memory: 202, ports: []string{"5353/udp"}},
		},
		"of the task": {
			taskSpec{NetworkMode: "none", CPU: "2 vCPU", Memory: "1.5GB", Containers: []containerSpec{container}},
			demand{cpu: 2048, memory: 1536},
		},
		"host network": {
			taskSpec{NetworkMode: "host", Containers: []containerSpec{container}},
			demand{cpu: 100, memory: 200, ports: []string{"80/tcp", "53/udp"}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.spec.demand(), cmp.AllowUnexported(demand{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}
