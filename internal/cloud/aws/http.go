// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

const (
	// callTimeout bounds one attempt of a call.
	callTimeout = 30 * time.Second
	// idleConnections is how many connections to one endpoint are kept.
	idleConnections = 64
)

// httpClient sets timeouts and connections on the SDK's own client; a client of
// somebody else's making is left as it is.
func httpClient(given awssdk.HTTPClient) awssdk.HTTPClient {
	client, ok := given.(*awshttp.BuildableClient)
	if given == nil {
		client = awshttp.NewBuildableClient()
	} else if !ok {
		return given
	}
	return wholeBodies{client.WithTimeout(callTimeout).WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost = idleConnections
	})}
}

// wholeBodies gives the transport a copy of the request's body. The SDK closes
// the body as soon as the answer's headers are there. If the answer came faster
// than the transport looked for the body's end, the transport takes that for a
// failed request and closes the connection under the answer, which then ends with
// "use of closed network connection". Requests to EC2 and ECS are small.
// See https://github.com/aws/aws-sdk-go-v2/issues/2737.
type wholeBodies struct {
	client awssdk.HTTPClient
}

// Do sends the request.
func (w wholeBodies) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return w.client.Do(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the body of a request: %w", err)
	}
	// The SDK still holds the request, and closes the body that it finds in it.
	sent := r.Clone(r.Context())
	sent.Body = io.NopCloser(bytes.NewReader(body))
	sent.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	return w.client.Do(sent)
}
