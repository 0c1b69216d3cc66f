// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package dashboard

import (
	"crypto/subtle"
	"embed"
	"io/fs"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync/atomic"
)

//go:embed assets
var assets embed.FS

// contentSecurityPolicy lets the page load its own files, talk to its own origin,
// and nothing else; nor may it make markup of text. See https://www.w3.org/TR/CSP3/
// and https://www.w3.org/TR/trusted-types/.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// pages are the page's files, and its events.
func pages(feed *Feed) http.Handler {
	files, err := fs.Sub(assets, "assets")
	if err != nil {
		panic(err) // The folder is in the binary.
	}
	mux := http.NewServeMux()
	mux.Handle("/", typed(http.FileServerFS(files)))
	mux.Handle("/events", feed)
	return mux
}

// contentTypes are those of the page's files. A machine may believe something else
// of a file's ending, and a browser then refuses the file.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".html": "text/html; charset=utf-8",
}

func typed(files http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if of, ok := contentTypes[path.Ext(r.URL.Path)]; ok {
			w.Header().Set("Content-Type", of)
		}
		files.ServeHTTP(w, r)
	})
}

// guard refuses everything but reading by a page of this very server, asked for by
// somebody who knows its address:
//
//   - A connection from elsewhere never gets here, unless something forwards it.
//   - A name other than this machine's in Host is somebody else's name that was
//     made to lead here (DNS rebinding).
//   - Origin and Sec-Fetch-Site tell of another site's page that asks.
//     See https://www.w3.org/TR/fetch-metadata/.
//   - Other users of this machine can connect, and don't know the token.
//   - There is nothing to write.
type guard struct {
	pages http.Handler
	port  string
	// token is the first part of the path of all there is.
	token string
	// ticket is a path that leads to the page once, until it is used.
	ticket string
	used   atomic.Bool
}

// hosts are the names by which the server may be asked, the usual one first.
func (g *guard) hosts() []string {
	return []string{net.JoinHostPort("127.0.0.1", g.port), net.JoinHostPort("localhost", g.port)}
}

func (g *guard) origin() string { return "http://" + g.hosts()[0] }

// ServeHTTP answers a request, or says why not.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setHeaders(w.Header())
	switch {
	case !local(r.RemoteAddr):
		http.Error(w, "The dashboard answers this machine alone.", http.StatusForbidden)
	case !slices.Contains(g.hosts(), r.Host):
		http.Error(w, "The dashboard answers to "+g.origin()+" alone.", http.StatusForbidden)
	case !g.sameOrigin(r):
		http.Error(w, "The dashboard answers no other site.", http.StatusForbidden)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "The dashboard is for reading.", http.StatusMethodNotAllowed)
	default:
		g.admit(w, r)
	}
}

// admit answers those who know the token, or have the ticket.
func (g *guard) admit(w http.ResponseWriter, r *http.Request) {
	first, _, deeper := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case deeper && same(first, g.token):
		http.StripPrefix("/"+g.token, g.pages).ServeHTTP(w, r)
	case same(first, g.token), same(first, g.ticket) && r.Method == http.MethodGet && g.used.CompareAndSwap(false, true):
		http.Redirect(w, r, "/"+g.token+"/", http.StatusSeeOther) //nolint:gosec // The path is this server's own, and none of the request's.
	default:
		http.Error(w, "There is nothing here. Use the address that kubectl mandelbox dashboard printed.", http.StatusNotFound)
	}
}

// sameOrigin says whether a request is by a page of this server, or by no page.
func (g *guard) sameOrigin(r *http.Request) bool {
	origins := []string{""}
	for _, host := range g.hosts() {
		origins = append(origins, "http://"+host)
	}
	sites := []string{"", "none", "same-origin"}
	return slices.Contains(origins, r.Header.Get("Origin")) && slices.Contains(sites, r.Header.Get("Sec-Fetch-Site"))
}

func setHeaders(header http.Header) {
	header.Set("Content-Security-Policy", contentSecurityPolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
}

// same compares secrets in a time that doesn't tell where they differ.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// local says whether the other end of a connection is this machine.
func local(remote string) bool {
	host, _, err := net.SplitHostPort(remote)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}
