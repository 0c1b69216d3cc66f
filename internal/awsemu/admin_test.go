// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	. "github.com/onsi/gomega"
)

// admin calls the admin API and reads the answer into a value, if there is one.
func (f *ec2Fixture) admin(method, path, body string, into any) int {
	request, err := http.NewRequestWithContext(f.ctx, method, f.endpoint+"/_admin/"+path, strings.NewReader(body))
	f.Expect(err).NotTo(HaveOccurred())
	response, err := http.DefaultClient.Do(request)
	f.Expect(err).NotTo(HaveOccurred())
	raw, err := io.ReadAll(response.Body)
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(response.Body.Close()).To(Succeed())
	if into != nil {
		f.Expect(json.Unmarshal(raw, into)).To(Succeed(), string(raw))
	}
	return response.StatusCode
}

func TestAdminFaultsAndRequests(t *testing.T) {
	f := newEC2Fixture(t)
	var added struct{ ID string }
	f.Expect(f.admin("POST", "faults", `{"operation": "Run*", "action": "error", "code": "Unsupported", "latency": "0s"}`, &added)).To(Equal(200))
	_, err := f.ec2.RunInstances(f.ctx, launchInput(1, "token"))
	f.Expect(refusal(err)).To(Equal("Unsupported"))
	var faults []Fault
	f.Expect(f.admin("GET", "faults", "", &faults)).To(Equal(200))
	f.Expect(faults).To(HaveLen(1))
	f.Expect(faults[0].Hits).To(Equal(1))
	f.Expect(f.admin("DELETE", "faults/"+added.ID, "", nil)).To(Equal(204))
	f.Expect(f.admin("DELETE", "faults/"+added.ID, "", nil)).To(Equal(404))
	f.Expect(f.admin("POST", "faults", `{"action": "explode"}`, nil)).To(Equal(400))
	f.Expect(f.admin("POST", "faults", `{"acton": "drop"}`, nil)).To(Equal(400), "a misspelt member is a mistake")
	f.Expect(f.admin("DELETE", "faults", "", nil)).To(Equal(204))

	f.launch(1, "token")
	var requests []Request
	f.Expect(f.admin("GET", "requests?operation=RunInstances&outcome=error&code=Unsupported", "", &requests)).To(Equal(200))
	f.Expect(requests).To(HaveLen(1))
	f.Expect(requests[0].Region).To(Equal(testRegion))
	f.Expect(f.admin("DELETE", "requests", "", nil)).To(Equal(204))
	f.Expect(f.admin("GET", "requests", "", &requests)).To(Equal(200))
	f.Expect(requests).To(BeEmpty())
}

func TestAdminSettings(t *testing.T) {
	f := newEC2Fixture(t)
	var delays Delays
	f.Expect(f.admin("PUT", "delays", `{"instancePending": "1m30s"}`, &delays)).To(Equal(200))
	f.Expect(delays.InstancePending).To(Equal(90 * time.Second))
	f.Expect(delays.AgentBoot).To(Equal(DefaultDelays().AgentBoot), "the others stay")
	f.Expect(f.admin("GET", "delays", "", &delays)).To(Equal(200))
	f.Expect(delays).To(Equal(f.server.Delays()))
	f.Expect(f.admin("PUT", "delays", `{"coffee": "1m"}`, nil)).To(Equal(400))

	f.Expect(f.admin("POST", "images", `{"id": "ami-0123456789abcdef0", "region": "`+testRegion+`"}`, nil)).To(Equal(204))
	_, err := f.ec2.DescribeImages(f.ctx, &ec2.DescribeImagesInput{ImageIds: []string{"ami-0123456789abcdef0"}})
	f.Expect(err).NotTo(HaveOccurred())

	f.Expect(f.admin("POST", "capacity", `{"region": "`+testRegion+`", "available": 0}`, nil)).To(Equal(204))
	f.Expect(f.admin("POST", "capacity", `{"available": 0}`, nil)).To(Equal(400))
	_, err = f.ec2.RunInstances(f.ctx, launchInput(1, "token"))
	f.Expect(refusal(err)).To(Equal("InsufficientInstanceCapacity"))

	f.Expect(f.admin("PUT", "limits", `{"enabled": true, "buckets": {"ec2-read": {"burst": 0, "refill": 0}}}`, nil)).To(Equal(204))
	_, err = f.ec2.DescribeInstances(f.ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{by("instance-id", "x")}})
	f.Expect(refusal(err)).To(Equal("RequestLimitExceeded"))
}

func TestAdminInstances(t *testing.T) {
	f := newEC2Fixture(t)
	hosts := idsOf(f.launch(2, "token", func(in *ec2.RunInstancesInput) {
		in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot}
	}))
	f.clock.Step(f.server.Delays().InstancePending)
	_, err := f.ecsClient().ListClusters(f.ctx, nil)
	f.Expect(err).NotTo(HaveOccurred())

	for _, verb := range []string{"impair", "schedule-event", "interrupt"} {
		f.Expect(f.admin("POST", "instances/"+hosts[0]+"/"+verb, "", nil)).To(Equal(204), verb)
	}
	status, err := f.ec2.DescribeInstanceStatus(f.ctx, &ec2.DescribeInstanceStatusInput{InstanceIds: hosts[:1]})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(status.InstanceStatuses[0].InstanceStatus.Status).To(Equal(types.SummaryStatusImpaired))
	f.Expect(status.InstanceStatuses[0].Events).To(HaveLen(1))
	f.Expect(f.admin("POST", "instances/"+hosts[0]+"/heal", "", nil)).To(Equal(204))
	f.Expect(f.admin("POST", "instances/"+hosts[1]+"/kill?region="+testRegion, "", nil)).To(Equal(204))
	f.Expect(f.one(hosts[1]).State.Name).To(Equal(types.InstanceStateNameTerminated))
	f.Expect(f.admin("POST", "instances/"+hosts[0]+"/stop", "", nil)).To(Equal(204))
	f.Expect(f.one(hosts[0]).State.Name).To(Equal(types.InstanceStateNameStopping))

	f.Expect(f.admin("POST", "instances/"+hosts[0]+"/explode", "", nil)).To(Equal(404))
	f.Expect(f.admin("POST", "instances/i-none/kill", "", nil)).To(Equal(404))
	f.Expect(f.admin("POST", "instances/"+hosts[0]+"/disconnect-agent", "", nil)).To(Equal(404), "no agent ever registered")
	f.Expect(f.admin("POST", "tasks/none/crash", "", nil)).To(Equal(404))

	var states []RegionState
	f.Expect(f.admin("GET", "state", "", &states)).To(Equal(200))
	f.Expect(states).To(Equal([]RegionState{{
		Account: DefaultAccount, Region: testRegion, Instances: map[string]int{"terminated": 1, "stopping": 1}, Tasks: map[string]int{},
	}}))
	f.Expect(f.admin("POST", "reset", "", nil)).To(Equal(204))
	f.Expect(f.describe()).To(BeEmpty())
}

func TestTimePassesInOrder(t *testing.T) {
	f := newEC2Fixture(t)
	id := *f.launch(1, "token")[0].InstanceId
	f.clock.Step(time.Hour)
	status, err := f.ec2.DescribeInstanceStatus(f.ctx, &ec2.DescribeInstanceStatusInput{InstanceIds: []string{id}})
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(status.InstanceStatuses[0].InstanceStatus.Status).To(Equal(types.SummaryStatusOk),
		"the host became running long ago, although nobody looked")
}
