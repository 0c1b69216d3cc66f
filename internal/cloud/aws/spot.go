// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// interruptedCodes are the status codes of spot requests whose host EC2 takes back.
// Where it needs the capacity for others, and the host is to be terminated then, the
// request has its last code from the notice on, while the host still runs for two
// minutes; otherwise it is marked first.
// See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-request-status.html
// and https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instances-request-status-lifecycle.html.
var interruptedCodes = []string{
	"marked-for-termination",
	"marked-for-stop",
	"instance-terminated-no-capacity",
	"instance-terminated-by-price",
	"instance-terminated-by-experiment",
}

// ListSpotInterruptions pages through the spot requests with the target's tags whose
// host is being taken back, or was within the last hours.
// See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSpotInstanceRequests.html.
func (c *client) ListSpotInterruptions(ctx context.Context) ([]cloud.SpotInterruption, error) {
	var list []cloud.SpotInterruption
	pages := ec2.NewDescribeSpotInstanceRequestsPaginator(c.ec2, &ec2.DescribeSpotInstanceRequestsInput{
		Filters:    append(c.tagFilters(), filter("status-code", interruptedCodes...)),
		MaxResults: awssdk.Int32(ec2PageSize),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, wrap("DescribeSpotInstanceRequests", err)
		}
		for _, request := range page.SpotInstanceRequests {
			if request.InstanceId == nil || request.Status == nil {
				continue
			}
			list = append(list, cloud.SpotInterruption{
				InstanceID: *request.InstanceId,
				NoticedAt:  awssdk.ToTime(request.Status.UpdateTime),
				Message:    awssdk.ToString(request.Status.Code) + ": " + awssdk.ToString(request.Status.Message),
			})
		}
	}
	return list, nil
}
