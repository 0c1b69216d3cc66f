// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strconv"
)

// LaunchToken makes the client token of a launch from the parts that tell it
// apart from every other: the same parts give the same token, always, and parts
// that differ only in where one ends give different ones. It has 64 characters,
// which is as many as EC2 takes.
// See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html.
func LaunchToken(parts ...string) string {
	return digest("launch", parts)
}

// TaskToken makes the client token of a session's task: one for each attempt. It
// has 64 characters, which is as many as ECS takes.
// See https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html.
func TaskToken(uid string, attempt int32) string {
	return digest("task", []string{uid, strconv.Itoa(int(attempt))})
}

func digest(purpose string, parts []string) string {
	h := sha256.New()
	for _, part := range append([]string{purpose}, parts...) {
		// The length in front keeps ("ab", "c") and ("a", "bc") apart. A hash
		// never fails to be written to.
		_, _ = h.Write([]byte(strconv.Itoa(len(part)) + ":" + part))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// startedBy is the shape of StartedBy's answer.
var startedBy = regexp.MustCompile(`^mbx/([A-Za-z0-9-]{1,64})/([1-9][0-9]{0,9}|0)$`)

// StartedBy makes the startedBy of a session's task, from which the session and
// the attempt can be read back when everything else is lost. ECS takes up to 128
// letters, digits, hyphens, slashes and underscores.
// See https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html.
func StartedBy(uid string, attempt int32) string {
	return "mbx/" + uid + "/" + strconv.Itoa(int(attempt))
}

// ParseStartedBy reads what StartedBy made; ok is false for anything else.
func ParseStartedBy(s string) (uid string, attempt int32, ok bool) {
	match := startedBy.FindStringSubmatch(s)
	if match == nil {
		return "", 0, false
	}
	n, err := strconv.ParseInt(match[2], 10, 32)
	if err != nil {
		return "", 0, false
	}
	return match[1], int32(n), true
}
