// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"net/http"
	"strings"
)

// defaultRegion serves requests that carry no signature, such as a bare curl.
const defaultRegion = "us-east-1"

// credentials are what a request says of its sender: nothing in it is verified.
type credentials struct {
	accessKey, region, service string
}

// readCredentials takes the credential scope from the Authorization header, or
// from the query of a presigned request. Its form is
// <access key>/<date>/<region>/<service>/aws4_request, see
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
func readCredentials(r *http.Request) credentials {
	raw := r.URL.Query().Get("X-Amz-Credential")
	if header := r.Header.Get("Authorization"); header != "" {
		_, after, found := strings.Cut(header, "Credential=")
		if found {
			raw, _, _ = strings.Cut(after, ",")
		}
	}
	parts := strings.Split(strings.TrimSpace(raw), "/")
	if len(parts) < 5 {
		return credentials{region: defaultRegion}
	}
	// An access key never holds a slash, but nothing is lost by reading from the end.
	n := len(parts)
	return credentials{
		accessKey: strings.Join(parts[:n-4], "/"),
		region:    parts[n-3],
		service:   parts[n-2],
	}
}

// scope is the state that these credentials lead to.
func (c credentials) scope() scope {
	return scope{account: accountOf(c.accessKey), region: c.region}
}

// accountOf returns the account an access key belongs to: itself when it is an
// account number, else the default account.
func accountOf(accessKey string) string {
	if isAccount(accessKey) {
		return accessKey
	}
	return DefaultAccount
}

func isAccount(s string) bool {
	if len(s) != 12 {
		return false
	}
	for _, r := range s {
		if r < '0' || r > '9' {
			return false
		}
	}
	return true
}
