// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	. "github.com/onsi/gomega"
)

// request is one that the guard admits, but for what a test changes of it.
func request(how func(*http.Request)) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/token/", nil)
	r.Host, r.RemoteAddr = "127.0.0.1:8443", "127.0.0.1:50000"
	if how != nil {
		how(r)
	}
	return r
}

func newGuard() *guard {
	return &guard{
		pages: pages(NewFeed(remember(busyFleet()), "test")),
		port:  "8443", token: "token", ticket: "ticket",
	}
}

func TestGuard(t *testing.T) {
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	path := func(path string) func(*http.Request) { return func(r *http.Request) { r.URL.Path = path } }
	method := func(method string) func(*http.Request) { return func(r *http.Request) { r.Method = method } }
	host := func(host string) func(*http.Request) { return func(r *http.Request) { r.Host = host } }
	from := func(address string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = address } }
	tests := map[string]struct {
		how  func(*http.Request)
		want int
	}{
		"who knows the address":                         {nil, http.StatusOK},
		"a file of the page":                            {path("/token/map.js"), http.StatusOK},
		"by the name localhost":                         {host("localhost:8443"), http.StatusOK},
		"the headers alone":                             {method(http.MethodHead), http.StatusOK},
		"the page's own script":                         {header("Origin", "http://127.0.0.1:8443"), http.StatusOK},
		"an address that was typed":                     {header("Sec-Fetch-Site", "none"), http.StatusOK},
		"without the last slash":                        {path("/token"), http.StatusSeeOther},
		"who doesn't know the token":                    {path("/"), http.StatusNotFound},
		"who guesses":                                   {path("/tokem/"), http.StatusNotFound},
		"a file without the token":                      {path("/map.js"), http.StatusNotFound},
		"events without the token":                      {path("/events"), http.StatusNotFound},
		"out of the folder":                             {path("/token/../guard.go"), http.StatusTemporaryRedirect},
		"a file that isn't the page's":                  {path("/token/guard.go"), http.StatusNotFound},
		"a name that was made to lead here":             {host("rebound.example:8443"), http.StatusForbidden},
		"such a name without a port":                    {host("rebound.example"), http.StatusForbidden},
		"another port's name":                           {host("127.0.0.1:80"), http.StatusForbidden},
		"no name":                                       {host(""), http.StatusForbidden},
		"a script of another site":                      {header("Origin", "https://evil.example"), http.StatusForbidden},
		"a script of another port":                      {header("Origin", "http://127.0.0.1:8080"), http.StatusForbidden},
		"a page without an origin":                      {header("Origin", "null"), http.StatusForbidden},
		"a link on another site":                        {header("Sec-Fetch-Site", "cross-site"), http.StatusForbidden},
		"a page at another port of this machine":        {header("Sec-Fetch-Site", "same-site"), http.StatusForbidden},
		"another machine":                               {from("203.0.113.9:50000"), http.StatusForbidden},
		"another machine of this network":               {from("[fe80::1]:50000"), http.StatusForbidden},
		"somebody who can't be told from any":           {from("@"), http.StatusForbidden},
		"who would write":                               {method(http.MethodPost), http.StatusMethodNotAllowed},
		"who would delete":                              {method(http.MethodDelete), http.StatusMethodNotAllowed},
		"who asks what other sites may":                 {method(http.MethodOptions), http.StatusMethodNotAllowed},
		"who would have this server ask another for it": {method(http.MethodConnect), http.StatusMethodNotAllowed},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			answer := httptest.NewRecorder()
			newGuard().ServeHTTP(answer, request(test.how))
			g.Expect(answer.Code).To(Equal(test.want))
			g.Expect(answer.Header().Get("Content-Security-Policy")).To(HavePrefix("default-src 'none'"))
			g.Expect(answer.Header().Get("Access-Control-Allow-Origin")).To(BeEmpty())
			g.Expect(answer.Header()).To(And(HaveKey("Cross-Origin-Resource-Policy"), HaveKey("Referrer-Policy"), HaveKey("X-Content-Type-Options")))
		})
	}
}

func TestTicketLeadsToThePageOnce(t *testing.T) {
	g := NewWithT(t)
	guard := newGuard()
	ticket := func(method string) *httptest.ResponseRecorder {
		answer := httptest.NewRecorder()
		guard.ServeHTTP(answer, request(func(r *http.Request) { r.URL.Path, r.Method = "/ticket", method }))
		return answer
	}
	g.Expect(ticket(http.MethodHead).Code).To(Equal(http.StatusNotFound), "a look doesn't use it")
	first := ticket(http.MethodGet)
	g.Expect(first.Code).To(Equal(http.StatusSeeOther))
	g.Expect(first.Header().Get("Location")).To(Equal("/token/"))
	second := ticket(http.MethodGet)
	g.Expect(second.Code).To(Equal(http.StatusNotFound))
	g.Expect(second.Header()).NotTo(HaveKey("Location"))
}

func TestServesThisMachineAlone(t *testing.T) {
	g := NewWithT(t)
	open, err := net.Listen("tcp", "0.0.0.0:0") //nolint:gosec // It is to be refused, and answers nothing.
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { g.Expect(open.Close()).To(Succeed()) }()
	_, err = New(Options{Source: remember(busyFleet()), Listener: open})
	g.Expect(err).To(MatchError(ContainSubstring("for this machine alone")))
}

func TestEachDashboardHasAnAddressOfItsOwn(t *testing.T) {
	g := NewWithT(t)
	seen := map[string]bool{}
	for range 10 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		g.Expect(err).NotTo(HaveOccurred())
		d, err := New(Options{Source: remember(busyFleet()), Listener: listener})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(listener.Close()).To(Succeed())
		for _, secret := range []string{d.guard.token, d.guard.ticket} {
			g.Expect(len(secret)).To(BeNumerically(">=", 26), "128 bits in base32")
			g.Expect(seen).NotTo(HaveKey(secret))
			seen[secret] = true
		}
		g.Expect(d.TicketURL()).NotTo(ContainSubstring(d.guard.token))
	}
}
