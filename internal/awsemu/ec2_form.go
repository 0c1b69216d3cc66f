// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// form reads the flattened parameters of EC2's Query protocol, in which lists
// are numbered from one and members are joined by dots:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Query-Requests.html
type form url.Values

// get returns a parameter, or the empty string.
func (f form) get(key string) string { return url.Values(f).Get(key) }

// has says whether a parameter, or a member of it, is present.
func (f form) has(key string) bool {
	if url.Values(f).Has(key) {
		return true
	}
	for k := range f {
		if strings.HasPrefix(k, key+".") {
			return true
		}
	}
	return false
}

// list returns the values of key.1, key.2 and so on.
func (f form) list(key string) []string {
	var values []string
	for i := 1; ; i++ {
		k := key + "." + strconv.Itoa(i)
		if !url.Values(f).Has(k) {
			return values
		}
		values = append(values, f.get(k))
	}
}

// each returns the structures key.1, key.2 and so on, each as a form of its own.
func (f form) each(key string) []form {
	var members []form
	for i := 1; ; i++ {
		member := f.under(key + "." + strconv.Itoa(i))
		if len(member) == 0 {
			return members
		}
		members = append(members, member)
	}
}

// under returns the members of the structure at key.
func (f form) under(key string) form {
	members := form{}
	for k, v := range f {
		if rest, ok := strings.CutPrefix(k, key+"."); ok {
			members[rest] = v
		}
	}
	return members
}

// integer returns a whole number, or fallback when the parameter is absent.
func (f form) integer(key string, fallback int) (int, error) {
	raw := f.get(key)
	if raw == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(raw)
	if err != nil {
		return 0, refuse("InvalidParameterValue", "Value (%s) for parameter %s is invalid. Expecting an integer.", raw, key)
	}
	return n, nil
}

// boolean returns a truth value, or fallback when the parameter is absent.
func (f form) boolean(key string, fallback bool) (bool, error) {
	raw := f.get(key)
	if raw == "" {
		return fallback, nil
	}
	b, err := strconv.ParseBool(raw)
	if err != nil {
		return false, refuse("InvalidParameterValue", "Value (%s) for parameter %s is invalid. Expecting a boolean.", raw, key)
	}
	return b, nil
}

// tags returns the tags at key ("Tag.1.Key" and so on), checked.
func (f form) tags(key string) (map[string]string, error) {
	tags := map[string]string{}
	for _, t := range f.each(key) {
		name := t.get("Key")
		switch {
		case name == "":
			return nil, refuse("MissingParameter", "Tag key is missing.")
		case strings.HasPrefix(strings.ToLower(name), "aws:"):
			return nil, refuse("InvalidParameterValue",
				"Value ( %s ) for parameter key is invalid. Tag keys starting with 'aws:' are reserved for internal use", name)
		case len([]rune(name)) > 127 || len([]rune(t.get("Value"))) > 255:
			return nil, refuse("InvalidParameterValue", "Tag %s is longer than allowed.", name)
		}
		tags[name] = t.get("Value")
	}
	return tags, nil
}

// tagSpecifications returns the tags asked for at creation, by resource type.
func (f form) tagSpecifications() (map[string]map[string]string, error) {
	byType := map[string]map[string]string{}
	for _, spec := range f.each("TagSpecification") {
		tags, err := spec.tags("Tag")
		if err != nil {
			return nil, err
		}
		byType[spec.get("ResourceType")] = tags
	}
	return byType, nil
}

func (c *call) params() form             { return form(c.form) }
func (c *call) list(key string) []string { return c.params().list(key) }
func (c *call) tokens() (size int, next string, err error) {
	size, err = c.params().integer("MaxResults", 0)
	return size, c.form.Get("NextToken"), err
}

// filter is one condition of a describe call: the field has one of the values.
type filter struct {
	name  string
	exact map[string]bool
	globs []*regexp.Regexp
}

// filters must all match: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html
type filters []filter

// filters reads Filter.N.Name and Filter.N.Value.M; * and ? are wildcards in values.
func (c *call) filters() (filters, error) {
	var all filters
	for _, member := range c.params().each("Filter") {
		f := filter{name: member.get("Name"), exact: map[string]bool{}}
		if f.name == "" {
			return nil, refuse("MissingParameter", "The request must contain the parameter Filter.Name")
		}
		for _, value := range member.list("Value") {
			if !strings.ContainsAny(value, `*?\`) {
				f.exact[value] = true
				continue
			}
			f.globs = append(f.globs, wildcard(value))
		}
		all = append(all, f)
	}
	return all, nil
}

// wildcard turns EC2's pattern into a regular expression; a backslash takes the
// meaning from the character after it.
func wildcard(pattern string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`(?s)^`)
	escaped := false
	for _, r := range pattern {
		switch {
		case escaped:
			b.WriteString(regexp.QuoteMeta(string(r)))
			escaped = false
		case r == '\\':
			escaped = true
		case r == '*':
			b.WriteString(`.*`)
		case r == '?':
			b.WriteString(`.`)
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	b.WriteString(`$`)
	return regexp.MustCompile(b.String())
}

// match asks the resource for the values of each field named; a field it doesn't
// know is AWS's refusal.
func (all filters) match(values func(name string) ([]string, bool)) (bool, error) {
	for i := range all {
		have, known := values(all[i].name)
		if !known {
			return false, refuse("InvalidParameterValue", "The filter '%s' is invalid", all[i].name)
		}
		if !all[i].accepts(have) {
			return false, nil
		}
	}
	return true, nil
}

func (f *filter) accepts(values []string) bool {
	for _, v := range values {
		if f.exact[v] {
			return true
		}
		for _, g := range f.globs {
			if g.MatchString(v) {
				return true
			}
		}
	}
	return false
}

// tagValues answers the filters tag:<key> and tag-key for a resource's tags.
func tagValues(tags map[string]string, name string) ([]string, bool) {
	if key, ok := strings.CutPrefix(name, "tag:"); ok {
		if v, has := tags[key]; has {
			return []string{v}, true
		}
		return nil, true
	}
	switch name {
	case "tag-key":
		return mapKeys(tags), true
	case "tag-value":
		values := make([]string, 0, len(tags))
		for _, v := range tags {
			values = append(values, v)
		}
		return values, true
	default:
		return nil, false
	}
}

func mapKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}

// paginate returns the page asked for and the token of the next one. Without
// MaxResults everything is one page.
func paginate[T any](c *call, items []T, smallest, largest int) (page []T, next string, err error) {
	size, token, err := c.pageSize(smallest, largest)
	if err != nil {
		return nil, "", err
	}
	if token > len(items) {
		token = len(items)
	}
	items = items[token:]
	if size == 0 || size >= len(items) {
		return items, "", nil
	}
	return items[:size], encodeToken(token + size), nil
}

// pageSize reads MaxResults, zero for none, and where the page starts.
func (c *call) pageSize(smallest, largest int) (size, start int, err error) {
	size, raw, err := c.tokens()
	if err != nil {
		return 0, 0, err
	}
	if c.form.Has("MaxResults") && (size < smallest || size > largest) {
		return 0, 0, refuse("InvalidParameterValue",
			"Value ( %d ) for parameter maxResults is invalid. Expecting a value between %d and %d.", size, smallest, largest)
	}
	if raw == "" {
		return size, 0, nil
	}
	start, err = decodeToken(raw)
	return size, start, err
}

func encodeToken(n int) string {
	return base64.StdEncoding.EncodeToString([]byte(strconv.Itoa(n)))
}

func decodeToken(token string) (int, error) {
	raw, err := base64.StdEncoding.DecodeString(token)
	if err == nil {
		var n int
		if n, err = strconv.Atoi(string(raw)); err == nil && n >= 0 {
			return n, nil
		}
	}
	return 0, refuse("InvalidNextToken", "The token '%s' is invalid", token)
}
