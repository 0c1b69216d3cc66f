// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"regexp"
	"strconv"
	"time"
)

// stsOperations are the operations of STS that exist here.
func stsOperations() []operation {
	return []operation{
		{service: serviceSTS, name: "GetCallerIdentity", bucket: bucketSTS, handle: getCallerIdentity},
		{service: serviceSTS, name: "AssumeRole", bucket: bucketSTS, handle: assumeRole},
	}
}

type callerIdentityXML struct {
	ARN     string `xml:"Arn"`
	UserID  string `xml:"UserId"`
	Account string `xml:"Account"`
}

// getCallerIdentity says which account the caller's access key leads to.
func getCallerIdentity(c *call) (any, error) {
	return callerIdentityXML{
		ARN: "arn:aws:iam::" + c.region.account + ":root", UserID: c.region.account, Account: c.region.account,
	}, nil
}

type assumeRoleXML struct {
	AccessKeyID     string `xml:"Credentials>AccessKeyId"`
	SecretAccessKey string `xml:"Credentials>SecretAccessKey"`
	SessionToken    string `xml:"Credentials>SessionToken"`
	Expiration      string `xml:"Credentials>Expiration"`
	UserID          string `xml:"AssumedRoleUser>AssumedRoleId"`
	UserARN         string `xml:"AssumedRoleUser>Arn"`
}

var roleARNPattern = regexp.MustCompile(`^arn:aws[a-z-]*:iam::(\d{12}):role/(?:.*/)?([^/]+)$`)

// assumeRole hands out credentials whose access key is the role's account, so
// that what is done with them happens there.
func assumeRole(c *call) (any, error) {
	arn, session := c.form.Get("RoleArn"), c.form.Get("RoleSessionName")
	match := roleARNPattern.FindStringSubmatch(arn)
	if match == nil {
		return nil, refuse("ValidationError", "%s is invalid", arn)
	}
	if session == "" {
		return nil, refuse("ValidationError", "Value at 'roleSessionName' failed to satisfy constraint: Member must not be null")
	}
	seconds := 3600
	if raw := c.form.Get("DurationSeconds"); raw != "" {
		var err error
		// The bounds: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
		if seconds, err = strconv.Atoi(raw); err != nil || seconds < 900 || seconds > 43200 {
			return nil, refuse("ValidationError", "Value '%s' at 'durationSeconds' failed to satisfy constraint", raw)
		}
	}
	account, role := match[1], match[2]
	return assumeRoleXML{
		AccessKeyID: account, SecretAccessKey: "local", SessionToken: "local",
		Expiration: timeXML(c.now.Add(time.Duration(seconds) * time.Second)),
		UserID:     "AROALOCAL:" + session, UserARN: "arn:aws:sts::" + account + ":assumed-role/" + role + "/" + session,
	}, nil
}
