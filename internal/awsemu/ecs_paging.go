package awsemu

import (
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
)

// page is one page of a listing, in the order of age.
type page struct {
	after int64 // list what is younger than this
	limit int
	query string // fingerprint of the listing's other parameters
	items []string
	last  int64
	more  bool
}

// newPage reads maxResults and nextToken. A token continues the listing that
// issued it and no other. Listings of ECS give 100 results at most, and by default.
func newPage(maxResults *int, nextToken string, parameters ...string) (*page, error) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(strings.Join(parameters, "\x00"))) // a hash's Write never fails
	p := &page{limit: 100, query: strconv.FormatUint(h.Sum64(), 36)}
	if maxResults != nil {
		if *maxResults < 1 || *maxResults > 100 {
			return nil, invalidParameter("maxResults must be between 1 and 100.")
		}
		p.limit = *maxResults
	}
	if nextToken == "" {
		return p, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(nextToken)
	if err == nil {
		var query string
		if _, err = fmt.Sscanf(string(raw), "%d %s", &p.after, &query); err == nil && query == p.query {
			return p, nil
		}
	}
	return nil, invalidParameter("Invalid token. Please submit the request again without a token.")
}

// add takes the next item of the listing and reports whether to go on.
func (p *page) add(sequence int64, item string) bool {
	if len(p.items) == p.limit {
		p.more = true
		return false
	}
	p.items = append(p.items, item)
	p.last = sequence
	return true
}

// names are the items, never nil: AWS renders an empty list.
func (p *page) names() []string {
	if p.items == nil {
		return []string{}
	}
	return p.items
}

// token continues the listing, or is empty at its end.
func (p *page) token() string {
	if !p.more {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", p.last, p.query))
}
