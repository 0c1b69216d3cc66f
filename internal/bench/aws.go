// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	configaws "github.com/mandelbox/mandelbox-operator/config/aws"
	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/cloud"
)

// credential is the access key and the secret of the manager, who may do what its
// policy says.
const credential = "bench"

// localAWS is a process that serves a local AWS.
type localAWS struct {
	*process
	endpoint string
}

// startAWS starts a local AWS in which things take little time, but for the delays
// that are given by name. policy is the file of what the manager of a cluster may do.
func startAWS(ctx context.Context, program string, log io.Writer, delays map[string]string, policy, clusterID string) (_ *localAWS, err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe for the local AWS: %w", err)
	}
	p, err := startProcess("the local AWS", program, nil, write, "aws", "--listen=127.0.0.1:0", "--fast",
		"--iam-policy="+policy, "--iam-principal-tag="+cloud.TagCluster+"="+clusterID,
		"--network-tag="+configaws.NetworkTag+"="+configaws.NetworkValue)
	err = errors.Join(err, write.Close())
	if err != nil {
		return nil, errors.Join(err, read.Close())
	}
	a := &localAWS{process: p}
	lines := bufio.NewReader(read)
	first, err := lines.ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading where the local AWS is: %w", err), p.failure())
	}
	go func() {
		// The rest is for people; that it can't be read is that it has ended.
		_, _ = io.Copy(log, lines)
		_ = read.Close()
	}()
	fields := strings.Fields(first)
	a.endpoint = fields[len(fields)-1]
	if len(delays) > 0 {
		if err := a.admin(ctx, http.MethodPut, "delays", delays, nil); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// env has a process use the local AWS.
func (a *localAWS) env() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + a.endpoint, "AWS_REGION=" + regionNames[0],
		"AWS_ACCESS_KEY_ID=" + credential, "AWS_SECRET_ACCESS_KEY=" + credential, "AWS_EC2_METADATA_DISABLED=true",
	}
}

// config has an AWS client of this process use the local AWS, as the account's owner.
func (a *localAWS) config(region string) awssdk.Config {
	return awssdk.Config{
		Region: region, BaseEndpoint: awssdk.String(a.endpoint),
		Credentials: credentials.NewStaticCredentialsProvider(awsemu.RootAccessKey, credential, ""),
	}
}

// limit turns the published limits on or off, with full buckets.
func (a *localAWS) limit(ctx context.Context, on bool) error {
	return a.admin(ctx, http.MethodPut, "limits", map[string]bool{"enabled": on}, nil)
}

// awsRequest is a line of the local AWS's log.
type awsRequest struct {
	Time      time.Time `json:"time"`
	Service   string    `json:"service"`
	Operation string    `json:"operation"`
	Region    string    `json:"region"`
	Outcome   string    `json:"outcome"`
}

// denied is an error that names what the policy did not allow the manager.
func (a *localAWS) denied(ctx context.Context) error {
	var denials []awsemu.Denial
	err := a.admin(ctx, http.MethodGet, "denials", nil, &denials)
	for _, denial := range denials {
		err = errors.Join(err, fmt.Errorf("the policy of the manager's role does not allow %s", denial))
	}
	return err
}

// requests returns what was asked of the local AWS since forget.
func (a *localAWS) requests(ctx context.Context) ([]awsRequest, error) {
	var requests []awsRequest
	err := a.admin(ctx, http.MethodGet, "requests", nil, &requests)
	return requests, err
}

// forget empties the log of requests.
func (a *localAWS) forget(ctx context.Context) error {
	return a.admin(ctx, http.MethodDelete, "requests", nil, nil)
}

// admin calls the admin API of the local AWS.
func (a *localAWS) admin(ctx context.Context, method, path string, body, into any) (err error) {
	sent, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("writing to the local AWS: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, method, a.endpoint+"/_admin/"+path, bytes.NewReader(sent))
	if err != nil {
		return fmt.Errorf("asking the local AWS: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("asking the local AWS: %w", err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s of the local AWS: %s", method, path, response.Status)
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("reading the local AWS's answer: %w", err)
	}
	return nil
}
