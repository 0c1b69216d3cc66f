// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// ListHostHealth pages through the checks of all hosts that run in the region: they
// can't be asked for by tag, and by id no more than 100 at a time.
// See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceStatus.html.
func (c *client) ListHostHealth(ctx context.Context) ([]cloud.HostHealth, error) {
	var list []cloud.HostHealth
	pages := ec2.NewDescribeInstanceStatusPaginator(c.ec2, &ec2.DescribeInstanceStatusInput{
		MaxResults: awssdk.Int32(ec2PageSize),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, wrap("DescribeInstanceStatus", err)
		}
		for _, s := range page.InstanceStatuses {
			if h := hostHealth(s); h.Impaired || len(h.Events) > 0 {
				list = append(list, h)
			}
		}
	}
	return list, nil
}

func hostHealth(s types.InstanceStatus) cloud.HostHealth {
	h := cloud.HostHealth{InstanceID: awssdk.ToString(s.InstanceId)}
	for _, check := range []*types.InstanceStatusSummary{s.InstanceStatus, s.SystemStatus} {
		if check == nil || check.Status != types.SummaryStatusImpaired {
			continue
		}
		h.Impaired = true
		for _, detail := range check.Details {
			since := awssdk.ToTime(detail.ImpairedSince)
			if !since.IsZero() && (h.ImpairedSince.IsZero() || since.Before(h.ImpairedSince)) {
				h.ImpairedSince = since
			}
		}
	}
	for _, e := range s.Events {
		h.Events = append(h.Events, cloud.HostEvent{
			Code: string(e.Code), Description: awssdk.ToString(e.Description), NotBefore: awssdk.ToTime(e.NotBefore),
		})
	}
	return h
}
