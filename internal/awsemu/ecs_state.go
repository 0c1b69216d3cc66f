package awsemu

import "strings"

// ecsState is everything of ECS in one region.
type ecsState struct {
	clusters map[string]*cluster
	families map[string]*taskFamily
	// agents are the hosts' ECS agents by EC2 instance id, as they last registered.
	agents map[string]*containerInstance
	// sequence orders clusters, hosts and tasks by age: it is what pages continue from.
	sequence int64
}

func newECSState(*region) ecsState {
	return ecsState{
		clusters: map[string]*cluster{},
		families: map[string]*taskFamily{},
		agents:   map[string]*containerInstance{},
	}
}

// next returns the place of something new in the order of age.
func (s *ecsState) next() int64 {
	s.sequence++
	return s.sequence
}

// ecsARN names a resource of ECS in this region. Clusters, hosts and tasks use
// the long format:
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-account-settings.html#ecs-resource-ids
func (r *region) ecsARN(resource string) string {
	return "arn:aws:ecs:" + r.name + ":" + r.account + ":" + resource
}

// newECSID returns an identifier of 32 hexadecimal digits.
func (r *region) newECSID() string { return r.srv.dice.hex(32) }

// ecsResourceName takes a short name or an ARN of one kind ("cluster", "task",
// ...) and returns the last part of it. An ARN of another kind, account or region
// names nothing here: ok is false.
func (r *region) ecsResourceName(kind, ref string) (name string, ok bool) {
	if !strings.HasPrefix(ref, "arn:") {
		return ref, ref != ""
	}
	rest, ok := strings.CutPrefix(ref, r.ecsARN(kind+"/"))
	if !ok {
		return "", false
	}
	if i := strings.LastIndexByte(rest, '/'); i >= 0 {
		rest = rest[i+1:]
	}
	return rest, rest != ""
}
