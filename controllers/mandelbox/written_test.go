// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package mandelbox

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mandelbox/mandelbox-operator/api/v1alpha1"
)

func TestVersionThatTheCacheLags(t *testing.T) {
	session := func(uid, version string) *v1alpha1.Mandelbox {
		return &v1alpha1.Mandelbox{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "s", UID: types.UID(uid), ResourceVersion: version}}
	}
	for name, c := range map[string]struct {
		noted []*v1alpha1.Mandelbox
		seen  *v1alpha1.Mandelbox
		want  bool
	}{
		"nothing was written":                    {seen: session("1", "9")},
		"the cache is behind":                    {noted: []*v1alpha1.Mandelbox{session("1", "10")}, seen: session("1", "9"), want: true},
		"the cache has it":                       {noted: []*v1alpha1.Mandelbox{session("1", "10")}, seen: session("1", "10")},
		"the cache has a newer one":              {noted: []*v1alpha1.Mandelbox{session("1", "10")}, seen: session("1", "11")},
		"an older write is noted later":          {noted: []*v1alpha1.Mandelbox{session("1", "10"), session("1", "9")}, seen: session("1", "9"), want: true},
		"another object of the same name":        {noted: []*v1alpha1.Mandelbox{session("1", "10")}, seen: session("2", "9")},
		"another object of the name was written": {noted: []*v1alpha1.Mandelbox{session("1", "10"), session("2", "9")}, seen: session("2", "8"), want: true},
	} {
		t.Run(name, func(t *testing.T) {
			var w written
			for _, m := range c.noted {
				w.note(m)
			}
			if got := w.ahead(c.seen); got != c.want {
				t.Errorf("ahead is %t, want %t", got, c.want)
			}
			if w.ahead(c.seen) != c.want {
				t.Error("asked again, it answers otherwise")
			}
		})
	}
}
