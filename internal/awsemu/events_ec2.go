// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"maps"
	"time"
)

// publishInstance tells of an instance in one of EC2's events, whose details are
// all of one kind:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-instance-state-changes.html
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html
func (r *region) publishInstance(i *instance, detailType string, more map[string]string) {
	detail := map[string]string{"instance-id": i.id}
	maps.Copy(detail, more)
	arn := "arn:aws:ec2:" + r.name + ":" + r.account + ":instance/" + i.id
	if detailType == "EC2 Spot Instance Interruption Warning" {
		arn = "arn:aws:ec2:" + i.zone + ":instance/" + i.id
	}
	r.publish("aws.ec2", detailType, arn, detail)
}

// healthCodes are AWS Health's names of scheduled events by EC2's.
// See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-instances-status-check_sched.html.
var healthCodes = map[string]string{
	"instance-retirement": "AWS_EC2_PERSISTENT_INSTANCE_RETIREMENT_SCHEDULED",
	"instance-stop":       "AWS_EC2_INSTANCE_STOP_SCHEDULED",
	"instance-reboot":     "AWS_EC2_INSTANCE_REBOOT_MAINTENANCE_SCHEDULED",
	"system-reboot":       "AWS_EC2_SYSTEM_REBOOT_MAINTENANCE_SCHEDULED",
	"system-maintenance":  "AWS_EC2_SYSTEM_MAINTENANCE_SCHEDULED",
}

// publishHealth tells of maintenance that is scheduled for an instance:
// https://docs.aws.amazon.com/health/latest/ug/aws-health-events-eventbridge-schema.html
func (r *region) publishHealth(i *instance, event ScheduledEvent) {
	code, known := healthCodes[event.Code]
	if !known {
		code = "AWS_EC2_OPERATIONAL_NOTIFICATION"
	}
	r.publish("aws.health", "AWS Health Event", i.id, map[string]any{
		"eventArn":          "arn:aws:health:" + r.name + "::event/EC2/" + code + "/" + event.ID,
		"service":           "EC2",
		"eventTypeCode":     code,
		"eventTypeCategory": "scheduledChange",
		"eventScopeCode":    "ACCOUNT_SPECIFIC",
		"communicationId":   r.srv.dice.hex(32),
		"startTime":         event.NotBefore.UTC().Format(time.RFC1123),
		"lastUpdatedTime":   r.now().UTC().Format(time.RFC1123),
		"statusCode":        "upcoming",
		"eventRegion":       r.name,
		"eventDescription":  []map[string]string{{"language": "en_US", "latestDescription": event.Description}},
		"affectedEntities":  []map[string]string{{"entityValue": i.id}},
		"affectedAccount":   r.account,
		"page":              "1",
		"totalPages":        "1",
	})
}
