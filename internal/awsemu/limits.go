// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"math"
	"sync"
	"time"
)

// bucketName names a token bucket.
type bucketName string

// The buckets of EC2, one per operation in each of these categories:
// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
const (
	bucketEC2Read           bucketName = "ec2-read"
	bucketEC2ReadUnfiltered bucketName = "ec2-read-unfiltered"
	bucketEC2Mutate         bucketName = "ec2-mutate"
	bucketEC2Run            bucketName = "ec2-run-instances"
	bucketEC2Terminate      bucketName = "ec2-terminate-instances"
	bucketEC2CreateTags     bucketName = "ec2-create-tags"
	bucketEC2RunHosts       bucketName = "ec2-run-instances-resources"
	bucketEC2TerminateHosts bucketName = "ec2-terminate-instances-resources"
)

// The buckets of ECS, each shared by all operations of its group:
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
const (
	bucketECSClusterModify            bucketName = "ecs-cluster-modify"
	bucketECSClusterRead              bucketName = "ecs-cluster-read"
	bucketECSResourceModify           bucketName = "ecs-cluster-resource-modify"
	bucketECSResourceRead             bucketName = "ecs-cluster-resource-read"
	bucketECSAgentModify              bucketName = "ecs-agent-modify"
	bucketECSRegisterTaskDefinition   bucketName = "ecs-task-definition-register"
	bucketECSDeregisterTaskDefinition bucketName = "ecs-task-definition-deregister"
	bucketECSTaskDefinitionRead       bucketName = "ecs-task-definition-read"
	bucketECSTagModify                bucketName = "ecs-tag-modify"
	bucketECSTagRead                  bucketName = "ecs-tag-read"
)

// bucketSTS is generous: its published figure is per account over all regions.
const bucketSTS bucketName = "sts"

// bucketSQS has no bound: a standard queue takes a nearly unlimited number of calls.
// See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html.
const bucketSQS bucketName = "sqs"

// Bucket is a token bucket: it holds Burst tokens at most and gains Refill each second.
type Bucket struct {
	Burst  float64 `json:"burst"`
	Refill float64 `json:"refill"`
}

// Limits say whether requests are throttled, and by which figures.
type Limits struct {
	// Enabled turns throttling on.
	Enabled bool `json:"enabled"`
	// Buckets override published figures by bucket name; see PublishedLimits.
	Buckets map[string]Bucket `json:"buckets,omitempty"`
}

// PublishedLimits returns AWS's figures per account and region, by bucket name.
func PublishedLimits() map[string]Bucket {
	return map[string]Bucket{
		string(bucketEC2Read):           {100, 20},
		string(bucketEC2ReadUnfiltered): {50, 10},
		string(bucketEC2Mutate):         {50, 5},
		string(bucketEC2Run):            {5, 2},
		string(bucketEC2Terminate):      {100, 5},
		string(bucketEC2CreateTags):     {100, 10},
		string(bucketEC2RunHosts):       {1000, 2},
		string(bucketEC2TerminateHosts): {1000, 20},

		string(bucketECSClusterModify):            {20, 1},
		string(bucketECSClusterRead):              {50, 20},
		string(bucketECSResourceModify):           {100, 40},
		string(bucketECSResourceRead):             {100, 20},
		string(bucketECSAgentModify):              {200, 120},
		string(bucketECSRegisterTaskDefinition):   {20, 1},
		string(bucketECSDeregisterTaskDefinition): {20, 1},
		string(bucketECSTaskDefinitionRead):       {50, 20},
		string(bucketECSTagModify):                {20, 10},
		string(bucketECSTagRead):                  {50, 20},

		string(bucketSTS): {600, 600},
	}
}

// limiter holds the buckets of every account and region.
type limiter struct {
	mu      sync.Mutex
	enabled bool
	figures map[bucketName]Bucket
	levels  map[bucketKey]*level
}

// bucketKey finds a bucket; operation is empty for one that a group shares.
type bucketKey struct {
	scope     scope
	bucket    bucketName
	operation string
}

// level is how full a bucket was when last looked at.
type level struct {
	tokens float64
	at     time.Time
}

func newLimiter(limits Limits) *limiter {
	l := &limiter{}
	l.set(limits)
	return l
}

func (l *limiter) set(limits Limits) {
	figures := map[bucketName]Bucket{}
	for name, b := range PublishedLimits() {
		figures[bucketName(name)] = b
	}
	for name, b := range limits.Buckets {
		figures[bucketName(name)] = b
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enabled, l.figures, l.levels = limits.Enabled, figures, map[bucketKey]*level{}
}

func (l *limiter) refill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.levels = map[bucketKey]*level{}
}

// take charges a request and says whether there were tokens enough. A refused
// request takes nothing.
func (l *limiter) take(c *call, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.enabled {
		return true
	}
	sc := scope{account: c.region.account, region: c.region.name}
	request := bucketKey{scope: sc, bucket: c.bucket()}
	if c.operation.service == serviceEC2 {
		request.operation = c.operation.name
	}
	charges := map[bucketKey]float64{request: 1}
	if c.operation.resources != nil {
		name, n := c.operation.resources(c)
		charges[bucketKey{scope: sc, bucket: name}] = float64(n)
	}
	for key, n := range charges {
		if l.level(key, now).tokens < n {
			return false
		}
	}
	for key, n := range charges {
		l.level(key, now).tokens -= n
	}
	return true
}

// level brings a bucket up to date.
func (l *limiter) level(key bucketKey, now time.Time) *level {
	figure, known := l.figures[key.bucket]
	if !known {
		figure = Bucket{Burst: math.Inf(1)}
	}
	v, ok := l.levels[key]
	if !ok {
		v = &level{tokens: figure.Burst, at: now}
		l.levels[key] = v
	}
	if passed := now.Sub(v.at).Seconds(); passed > 0 {
		v.tokens = math.Min(figure.Burst, v.tokens+passed*figure.Refill)
		v.at = now
	}
	return v
}

// bucket is the one a request is charged to. EC2 keeps a smaller one for reads
// with neither filter nor page size; naming ids counts as neither.
func (c *call) bucket() bucketName {
	if c.operation.bucket != bucketEC2Read || c.form.Has("MaxResults") || c.form.Has("Filter.1.Name") {
		return c.operation.bucket
	}
	return bucketEC2ReadUnfiltered
}

// SetLimits turns throttling on or off, with full buckets.
func (s *Server) SetLimits(limits Limits) { s.limiter.set(limits) }
