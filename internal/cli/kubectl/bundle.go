// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package kubectl

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"time"

	"sigs.k8s.io/yaml"
)

// bundle is a .tar.gz that is being written. After an error it writes nothing
// more, and close returns it.
type bundle struct {
	zip    *gzip.Writer
	tar    *tar.Writer
	folder string
	at     time.Time
	err    error
}

func newBundle(out io.Writer, folder string, at time.Time) *bundle {
	zip := gzip.NewWriter(out)
	return &bundle{zip: zip, tar: tar.NewWriter(zip), folder: folder, at: at}
}

// text adds a file.
func (b *bundle) text(name, content string) {
	if b.err != nil {
		return
	}
	err := b.tar.WriteHeader(&tar.Header{Name: b.folder + "/" + name, Mode: 0o600, Size: int64(len(content)), ModTime: b.at})
	if err == nil {
		_, err = io.WriteString(b.tar, content)
	}
	if err != nil {
		b.err = fmt.Errorf("writing %s into the report: %w", name, err)
	}
}

// yaml adds a file of a value.
func (b *bundle) yaml(name string, value any) {
	content, err := yaml.Marshal(value)
	if err != nil {
		b.err = errors.Join(b.err, fmt.Errorf("writing %s into the report: %w", name, err))
		return
	}
	b.text(name, string(content))
}

// close ends the bundle.
func (b *bundle) close() error {
	return errors.Join(b.err, b.tar.Close(), b.zip.Close())
}
