// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	. "github.com/onsi/gomega"
)

// underPolicy is a fixture whose callers have a policy of these statements.
func underPolicy(t *testing.T, principal IAMPrincipal, statements string) (*ec2Fixture, *IAM) {
	t.Helper()
	role, err := NewIAM([]byte(`{"Version": "2012-10-17", "Statement": [`+statements+`]}`), principal)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return newEC2Fixture(t, func(o *Options) { o.IAM = role }), role
}

const (
	mayLook      = `{"Sid": "Look", "Effect": "Allow", "Action": ["ec2:DescribeInstances", "ec2:DescribeSubnets"], "Resource": "*"}`
	mayTerminate = `{"Sid": "Terminate", "Effect": "Allow", "Action": "ec2:TerminateInstances", "Resource": "*",
		"Condition": {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}}}`
	mayNotStop = `{"Sid": "Never", "Effect": "Deny", "Action": "ec2:StopInstances", "Resource": "*"}`
)

// inTeam tags what a launch makes.
func inTeam(team string) func(*ec2.RunInstancesInput) {
	return func(in *ec2.RunInstancesInput) {
		in.TagSpecifications = []types.TagSpecification{{
			ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("team"), Value: &team}},
		}}
	}
}

// said is AWS's code and message.
func said(err error) []string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return []string{e.ErrorCode(), e.ErrorMessage()}
	}
	return nil
}

func TestDenialsReadAsThoseOfEachService(t *testing.T) {
	f, role := underPolicy(t, IAMPrincipal{}, mayLook+","+mayNotStop)
	const who = "User: arn:aws:sts::000000000000:assumed-role/policy/test is not authorized to perform: "

	_, err := f.ec2.TerminateInstances(f.ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{"i-0123456789abcdef0"}})
	f.Expect(httpStatus(err)).To(Equal(403))
	f.Expect(said(err)).To(HaveExactElements(Equal("UnauthorizedOperation"), MatchRegexp(
		`^You are not authorized to perform this operation\. `+who+`ec2:TerminateInstances on resource: `+
			`arn:aws:ec2:eu-central-1:000000000000:instance/i-0123456789abcdef0 because no identity-based policy allows the `+
			`ec2:TerminateInstances action\. Encoded authorization failure message: [0-9a-f]{64}$`)))

	_, err = f.ec2.StopInstances(f.ctx, &ec2.StopInstancesInput{InstanceIds: []string{"i-0123456789abcdef0"}})
	f.Expect(said(err)).To(HaveExactElements(Equal("UnauthorizedOperation"), ContainSubstring("with an explicit deny in an identity-based policy")))

	config := aws.Config{
		Region: testRegion, BaseEndpoint: aws.String(f.endpoint), Credentials: credentialsOf("test"), HTTPClient: steadyClient{},
	}
	_, err = ecs.NewFromConfig(config).ListTasks(f.ctx, &ecs.ListTasksInput{Cluster: aws.String("web")})
	f.Expect(httpStatus(err)).To(Equal(400))
	f.Expect(said(err)).To(Equal([]string{"AccessDeniedException", who + "ecs:ListTasks on resource: " +
		"arn:aws:ecs:eu-central-1:000000000000:container-instance/web/* because no identity-based policy allows the ecs:ListTasks action"}))

	_, err = sqs.NewFromConfig(config).ReceiveMessage(f.ctx, &sqs.ReceiveMessageInput{QueueUrl: aws.String(f.endpoint + "/000000000000/q")})
	f.Expect(httpStatus(err)).To(Equal(403))
	f.Expect(said(err)).To(Equal([]string{"AccessDenied", who + "sqs:receivemessage on resource: " +
		"arn:aws:sqs:eu-central-1:000000000000:q because no identity-based policy allows the sqs:receivemessage action"}))

	_, err = sts.NewFromConfig(config).GetCallerIdentity(f.ctx, &sts.GetCallerIdentityInput{})
	f.Expect(err).NotTo(HaveOccurred())
	_, err = f.client(RootAccessKey, testRegion).DescribeImages(f.ctx, &ec2.DescribeImagesInput{})
	f.Expect(err).NotTo(HaveOccurred())

	var actions []string
	for _, denial := range role.Denials() {
		actions = append(actions, denial.Action)
	}
	f.Expect(actions).To(Equal([]string{"ec2:TerminateInstances", "ec2:StopInstances", "ecs:ListTasks", "sqs:ReceiveMessage"}))
}

func TestUnusedActionsAreTold(t *testing.T) {
	f, role := underPolicy(t, IAMPrincipal{}, mayLook+","+mayTerminate+","+mayNotStop)
	f.Expect(role.Unused()).To(Equal([]string{"ec2:DescribeInstances in Look", "ec2:DescribeSubnets in Look", "ec2:TerminateInstances in Terminate"}))
	f.describe()
	f.Expect(role.Unused()).To(Equal([]string{"ec2:DescribeSubnets in Look", "ec2:TerminateInstances in Terminate"}))
}

func TestTagsDecideWhatMayBeTerminated(t *testing.T) {
	f, _ := underPolicy(t, IAMPrincipal{Tags: map[string]string{"team": "a"}}, mayLook+","+mayTerminate)
	owner := f.client(RootAccessKey, testRegion)
	launch := func(token, team string) string {
		out, err := owner.RunInstances(f.ctx, launchInput(1, token, inTeam(team)))
		f.Expect(err).NotTo(HaveOccurred())
		return *out.Instances[0].InstanceId
	}
	ours, theirs := launch("1", "a"), launch("2", "b")
	terminate := func(ids ...string) string {
		_, err := f.ec2.TerminateInstances(f.ctx, &ec2.TerminateInstancesInput{InstanceIds: ids})
		return refusal(err)
	}
	f.Expect(terminate(ours, theirs)).To(Equal("UnauthorizedOperation"))
	f.Expect(f.one(ours).State.Name).NotTo(Equal(types.InstanceStateNameShuttingDown), "all or none are terminated")
	// What isn't there has no tags: EC2 doesn't say that it isn't there.
	f.Expect(terminate("i-0123456789abcdef0")).To(Equal("UnauthorizedOperation"))
	f.Expect(terminate(ours)).To(BeEmpty())
}

func TestPoliciesThatNothingMatchesAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ statement, says string }{
		"an action that nothing checks": {
			`{"Sid": "s", "Effect": "Allow", "Action": "ec2:TerminateInstance", "Resource": "*"}`, "nothing here checks the action ec2:TerminateInstance",
		},
		"a key that an action hasn't": {
			`{"Sid": "s", "Effect": "Allow", "Action": "ecs:StopTask", "Resource": "*", "Condition": {"Null": {"aws:RequestTag/a": "false"}}}`,
			"ecs:StopTask has no condition key aws:RequestTag/a",
		},
		"a key that one of its actions hasn't": {
			`{"Sid": "s", "Effect": "Allow", "Action": "ecs:*", "Resource": "*", "Condition": {"Null": {"ecs:cluster": "false"}}}`, "has no condition key",
		},
		"what the language hasn't": {`{"Sid": "s", "Effect": "Allow", "NotAction": "ecs:*", "Resource": "*"}`, "NotAction"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewIAM([]byte(`{"Version": "2012-10-17", "Statement": [`+c.statement+`]}`), IAMPrincipal{})
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(c.says)))
		})
	}
}

// TestEveryOperationHasItsAction has the table of actions be that of operations.
func TestEveryOperationHasItsAction(t *testing.T) {
	g := NewWithT(t)
	named := map[string]bool{"iam:PassRole": true, "iam:CreateServiceLinkedRole": true}
	for key := range newOperationTable() {
		if key.service != serviceSTS && key.name != "DeleteMessageBatch" {
			named[key.service+":"+key.name] = true
		}
	}
	for action := range actions {
		g.Expect(named).To(HaveKey(action))
		delete(named, action)
	}
	g.Expect(named).To(BeEmpty())
}
