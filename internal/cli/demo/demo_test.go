// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/mandelbox/mandelbox-operator/internal/awsemu"
	"github.com/mandelbox/mandelbox-operator/internal/controlplane"
	"github.com/mandelbox/mandelbox-operator/internal/freeport"
)

// serviceAccount is who the manager is in a cluster, by config/manager.
const serviceAccount = "system:serviceaccount:mandelbox-system:mandelbox-operator"

// asServiceAccount gives the manager the rights that config/rbac gives it, and no more.
func asServiceAccount(ctx context.Context, plane *controlplane.ControlPlane) (*rest.Config, error) {
	apply := exec.CommandContext(ctx, plane.KubectlPath(), "--kubeconfig", plane.KubeconfigPath(),
		"apply", "--server-side", "-k", filepath.Join("..", "..", "..", "config", "rbac"))
	if output, err := apply.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("applying config/rbac: %w: %s", err, output)
	}
	return plane.AddUser(serviceAccount, "system:serviceaccounts", "system:serviceaccounts:mandelbox-system")
}

// emptyTemp has everything in this test make its files where nobody else does.
func emptyTemp(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return dir
}

// expectNothingLeft fails if a file or the local AWS is still there.
func expectNothingLeft(t *testing.T, temp, address string) {
	t.Helper()
	left, err := os.ReadDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("the demo left %v behind", left)
	}
	if connection, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", address); err == nil {
		t.Errorf("the local AWS still listens on %s", address)
		_ = connection.Close() // Nothing was written to it.
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := freeport.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

func TestOnce(t *testing.T) {
	temp, address, delays := emptyTemp(t), freeAddress(t), awsemu.FastDelays()
	var out bytes.Buffer
	err := Run(t.Context(), Options{
		Out: &out, Once: true, AWSListen: address, Delays: &delays, managerConfig: asServiceAccount,
		pace: pace{interval: 200 * time.Millisecond, stay: 500 * time.Millisecond},
	})
	if err != nil {
		t.Fatalf("the demo failed: %v\n%s", err, &out)
	}
	for _, expected := range []string{
		`host     us-east-1-\S+ .*Active: us-east-1, g4dn\.12xlarge, ░{8} 0/8`,
		`session  team-a/ada .*Running: Running, us-east-1-\S+ slot \d, \S+:\d+`,
		`All sessions run`,
		`Deleted team-a/alan: task \S+ is STOPPED \(.+\), slot \d of us-east-1-\S+ is free`,
		`All hosts active +\S+s +\S+s`,
		`hosts +us-east-1 +(\d+) +\d+ +yes`,
		`sessions +us-east-1 +\d+ +\d+ +yes`,
		`hosts +eu-central-1 +\d+ +\d+ +yes`,
		`sessions +eu-central-1 +\d+ +\d+ +yes`,
		`release  stable 8b1e6f0d2c47 RollingOut: eu-central-1 0/\d+ warm, us-east-1 0/\d+ warm`,
		`release  stable 8b1e6f0d2c47 RolledOut: eu-central-1 done, us-east-1 done`,
		`host     us-east-1-\S+ Active → Draining: us-east-1, g4dn\.12xlarge, \S+ \d/8`,
		`act one +11 +1 +10 +0 +0 +-`,
		`guests +(\d+) +0 +\d+ +0 +0 +\d+\.\ds`,
		`4f2d9c1a7b3e +\d+ +\d+ +1\n8b1e6f0d2c47 +\d+ +\d+ +[1-9]\d*\n`,
		`Release 8b1e6f0d2c47 took over \S+s after it was applied; \d+ of \d+ old hosts left, the rest stay for team-a/ada\. 0 sessions refused, 0 lost\.`,
		`Stopped etcd and kube-apiserver`,
	} {
		if !regexp.MustCompile(expected).Match(out.Bytes()) {
			t.Errorf("the output has nothing like %s", expected)
		}
	}
	if t.Failed() {
		t.Logf("the output:\n%s", &out)
	}
	expectNothingLeft(t, temp, address)
}

func TestOnceSaysWhatIsMissing(t *testing.T) {
	temp, address, delays := emptyTemp(t), freeAddress(t), awsemu.FastDelays()
	delays.AgentBoot = time.Hour
	var out bytes.Buffer
	err := Run(t.Context(), Options{Out: &out, Once: true, Acts: 1, Timeout: 45 * time.Second, AWSListen: address, Delays: &delays})
	if err == nil {
		t.Fatalf("the demo succeeded without any host:\n%s", &out)
	}
	for _, expected := range []string{"not done after 45s", "session team-a/ada is Pending: NoInstanceAvailable", "is PreConnection: Registering"} {
		if !strings.Contains(err.Error(), expected) {
			t.Errorf("the error does not say %q: %v", expected, err)
		}
	}
	expectNothingLeft(t, temp, address)
}

func TestMissingProgramsAreNamed(t *testing.T) {
	temp, empty := emptyTemp(t), t.TempDir()
	err := Run(t.Context(), Options{Out: &bytes.Buffer{}, AssetsDir: empty})
	missing, ok := errors.AsType[*controlplane.MissingBinaryError](err)
	if !ok || filepath.Dir(missing.Path) != empty {
		t.Errorf("got the error %v", err)
	}
	expectNothingLeft(t, temp, freeAddress(t))
}
