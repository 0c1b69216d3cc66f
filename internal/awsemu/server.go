// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
)

// Server is the local AWS. It is an http.Handler: serve it on any listener and
// point the SDK's endpoint there. All methods may be called at any time.
type Server struct {
	clock      clock.WithDelayedExecution
	logger     logr.Logger
	operations operationTable
	admin      http.Handler
	dice       *dice
	faults     *faultSet
	limiter    *limiter
	log        *requestLog
	iam        *IAM
	// networkTags are those of what a region's network has from the start.
	networkTags map[string]string
	closed      chan struct{}
	closeOnce   sync.Once

	mu      sync.Mutex // guards the fields below; taken after region.mu, never before
	delayed Delays
	images  []Image
	regions map[scope]*region
	// linkedRoles are the service-linked roles that there are, by account and service.
	linkedRoles map[string]bool
}

// New returns a server that is ready to be served.
func New(opts Options) *Server {
	opts = opts.withDefaults()
	d := newDice(opts.Seed)
	s := &Server{
		clock:      opts.Clock,
		logger:     opts.Logger,
		operations: newOperationTable(),
		dice:       d,
		faults:     newFaultSet(d),
		limiter:    newLimiter(opts.Limits),
		log:        newRequestLog(opts.RequestLogSize),
		iam:        opts.IAM,

		networkTags: opts.NetworkTags,
		closed:      make(chan struct{}),
		delayed:     *opts.Delays,
		images:      opts.Images,
		regions:     map[scope]*region{},

		linkedRoles: map[string]bool{},
	}
	s.admin = s.adminMux()
	return s
}

// Close ends every wait that a latency fault has begun. The listener is the
// caller's to close.
func (s *Server) Close() {
	s.closeOnce.Do(func() { close(s.closed) })
}

// ServeHTTP answers the admin API under /_admin/ and the AWS protocols elsewhere.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, adminPrefix) {
		s.admin.ServeHTTP(w, r)
		return
	}
	s.dispatch(w, r)
}

// SetDelays changes how long things take from now on.
func (s *Server) SetDelays(d Delays) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delayed = d
}

// Delays returns how long things take at present.
func (s *Server) Delays() Delays {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.delayed
}

// Reset forgets all state, faults and logged requests. Delays and limits stay,
// with full buckets.
func (s *Server) Reset() {
	s.mu.Lock()
	s.regions = map[scope]*region{}
	s.linkedRoles = map[string]bool{}
	s.mu.Unlock()
	s.faults.clear()
	s.limiter.refill()
	s.log.reset()
}

// AddImage has an image exist from now on, also in regions in use already.
func (s *Server) AddImage(image Image) error {
	if image.ID == "" {
		return errors.New("the image's id is missing")
	}
	s.mu.Lock()
	s.images = append(s.images, image)
	s.mu.Unlock()
	for _, r := range s.allRegions() {
		r.lock()
		r.ec2.addImage(r, image)
		r.unlock()
	}
	return nil
}

// region returns the state of one account's region, made on first use. No account
// means the default one.
func (s *Server) region(sc scope) *region {
	if sc.account == "" {
		sc.account = DefaultAccount
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.regions[sc]
	if !ok {
		r = newRegion(s, sc, s.images)
		s.regions[sc] = r
	}
	return r
}

// allRegions returns every region in use, ordered by account and name.
func (s *Server) allRegions() []*region {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*region, 0, len(s.regions))
	for _, r := range s.regions {
		all = append(all, r)
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].account != all[j].account {
			return all[i].account < all[j].account
		}
		return all[i].name < all[j].name
	})
	return all
}

// dice is the one source of randomness: identifiers, dynamic ports, faults.
type dice struct {
	mu  sync.Mutex
	rnd *rand.Rand
}

func newDice(seed int64) *dice {
	// Nothing secret is made of these numbers, and a test wants them repeatable.
	return &dice{rnd: rand.New(rand.NewPCG(uint64(seed), 0x6d616e64656c))}
}

// hex returns n random lower-case hexadecimal digits.
func (d *dice) hex(n int) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%016x", d.rnd.Uint64())
	}
	return b.String()[:n]
}

// uuid returns a random identifier in the shape of AWS's request ids.
func (d *dice) uuid() string {
	h := d.hex(32)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

// float returns a number in [0, 1).
func (d *dice) float() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rnd.Float64()
}

// intN returns a number in [0, n).
func (d *dice) intN(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rnd.IntN(n)
}

// wait returns after d on the server's clock, or early when cancelled or closed.
func (s *Server) wait(cancelled <-chan struct{}, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := s.clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-cancelled:
	case <-s.closed:
	}
}
