// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

// TestTheManagerMayWhatItsPolicySays compares the template's policy with the one
// that is compared with the code.
func TestTheManagerMayWhatItsPolicySays(t *testing.T) {
	g := NewWithT(t)
	tpl := readTemplate(g)
	content, err := os.ReadFile("iam-policy.json")
	g.Expect(err).NotTo(HaveOccurred())
	var policy any
	g.Expect(json.Unmarshal(content, &policy)).To(Succeed())
	g.Expect(at(g, tpl.properties(g, "ManagerPolicy"), "PolicyDocument")).To(Equal(policy))
	g.Expect(at(g, tpl.properties(g, "ManagerRole"), "ManagedPolicyArns")).To(Equal([]any{map[string]any{"Ref": "ManagerPolicy"}}))
	g.Expect(string(content)).To(ContainSubstring(`"arn:aws:sqs:*:*:%s"`, at(g, tpl.properties(g, "EventQueue"), "QueueName")))
	g.Expect(string(content)).To(ContainSubstring(`"arn:aws:ecs:*:*:cluster/%s"`, at(g, tpl.properties(g, "Cluster"), "ClusterName")))
}

// TestTheSamplesFindTheNetwork has what the sample Regions select be what the
// template makes.
func TestTheSamplesFindTheNetwork(t *testing.T) {
	g := NewWithT(t)
	tpl := readTemplate(g)
	tagged := func(resource string) map[string]any {
		tags := map[string]any{}
		list, _ := at(g, tpl.properties(g, resource), "Tags").([]any)
		for _, tag := range list {
			key, _ := at(g, tag, "Key").(string)
			tags[key] = at(g, tag, "Value")
		}
		return tags
	}
	content, err := os.ReadFile(filepath.Join("..", "samples", "regions.yaml"))
	g.Expect(err).NotTo(HaveOccurred())
	samples := strings.Split(string(content), "\n---\n")
	g.Expect(samples).NotTo(BeEmpty())
	zones := map[any]bool{}
	subnets := tpl.ofType(g, "AWS::EC2::Subnet")
	for _, sample := range samples {
		var r v1alpha1.Region
		g.Expect(yaml.UnmarshalStrict([]byte(sample), &r)).To(Succeed())
		g.Expect(r.Spec.ECSCluster).To(Equal(at(g, tpl.properties(g, "Cluster"), "ClusterName")))
		for _, tag := range r.Spec.SecurityGroups.Tags {
			g.Expect(tagged("HostSecurityGroup")).To(HaveKeyWithValue(tag.Key, *tag.Value))
		}
		for _, subnet := range subnets {
			for _, tag := range r.Spec.Subnets.Tags {
				g.Expect(tagged(subnet)).To(HaveKeyWithValue(tag.Key, *tag.Value))
			}
		}
	}
	for _, subnet := range subnets {
		zones[at(g, at(g, tpl.properties(g, subnet), "AvailabilityZone"), "Fn::Select").([]any)[0]] = true
		g.Expect(at(g, tpl.properties(g, subnet), "MapPublicIpOnLaunch")).To(BeTrue(), subnet)
	}
	g.Expect(zones).To(HaveLen(3))
	for _, association := range tpl.ofType(g, "AWS::EC2::SubnetRouteTableAssociation") {
		g.Expect(at(g, tpl.properties(g, association), "RouteTableId", "Ref")).To(Equal("RouteTable"))
	}
	g.Expect(tpl.ofType(g, "AWS::EC2::SubnetRouteTableAssociation")).To(HaveLen(len(subnets)))
}

// TestUsersReachTheEphemeralPorts finds the ports open that ECS takes host ports from.
// See https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PortMapping.html.
func TestUsersReachTheEphemeralPorts(t *testing.T) {
	g := NewWithT(t)
	tpl := readTemplate(g)
	ingress, _ := at(g, tpl.properties(g, "HostSecurityGroup"), "SecurityGroupIngress").([]any)
	open := map[any]bool{}
	for _, rule := range ingress {
		g.Expect(at(g, rule, "FromPort")).To(Equal(32768))
		g.Expect(at(g, rule, "ToPort")).To(Equal(65535))
		g.Expect(at(g, rule, "CidrIp", "Ref")).To(Equal("UserCidr"))
		open[at(g, rule, "IpProtocol")] = true
	}
	g.Expect(open).To(Equal(map[any]bool{"tcp": true, "udp": true}))
}
