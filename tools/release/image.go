package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// imageUser is the account of the server in an image. The number is outside of the range
// that systems give to people.
const imageUser = 65532

const imageHome = "/var/lib/countersign"

// image returns the container image of a binary: the program, the certificates of the
// authorities that browsers trust, and the directory of the store. There is no shell.
func image(opts options, p platform, binary string) (v1.Image, error) {
	layers := [][]file{
		{
			{"/etc/passwd", fmt.Appendf(nil, "countersign:x:%d:%[1]d::%s:/sbin/nologin\n", imageUser, imageHome), 0o644},
			{"/etc/group", fmt.Appendf(nil, "countersign:x:%d:\n", imageUser), 0o644},
			{"/etc/ssl/certs/ca-certificates.crt", authorities(), 0o644},
			{imageHome + "/", nil, 0o700},
		},
		{{"/usr/bin/" + program, nil, 0o755}},
	}
	var err error
	if layers[1][0].data, err = os.ReadFile(binary); err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, files := range layers {
		data, err := layer(opts.time, files)
		if err != nil {
			return nil, err
		}
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
			tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, err
		}
		img, err = mutate.Append(img, mutate.Addendum{Layer: l, History: v1.History{Created: v1.Time{Time: opts.time}, CreatedBy: "make release"}})
		if err != nil {
			return nil, err
		}
	}
	config := &v1.ConfigFile{}
	if config, err = img.ConfigFile(); err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = p.os, p.arch
	config.Created = v1.Time{Time: opts.time}
	config.Config = v1.Config{
		User:         fmt.Sprintf("%d:%[1]d", imageUser),
		Entrypoint:   []string{"/usr/bin/" + program},
		Cmd:          []string{"serve"},
		Env:          []string{"PATH=/usr/bin", "COUNTERSIGN_STORE=sqlite:" + imageHome + "/countersign.db"},
		WorkingDir:   imageHome,
		ExposedPorts: map[string]struct{}{"4100/tcp": {}},
		Volumes:      map[string]struct{}{imageHome: {}},
		StopSignal:   "SIGTERM",
		Healthcheck:  &v1.HealthConfig{Test: []string{"CMD", "/usr/bin/" + program, "health"}, Interval: 10 * time.Second, Timeout: 6 * time.Second, StartPeriod: time.Minute, Retries: 3},
		Labels:       labels(opts),
	}
	return mutate.ConfigFile(img, config)
}

func labels(opts options) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":    program,
		"org.opencontainers.image.version":  version,
		"org.opencontainers.image.revision": opts.commit,
		"org.opencontainers.image.created":  opts.time.Format(time.RFC3339),
		"org.opencontainers.image.licenses": "Apache-2.0",
		"org.opencontainers.image.source":   "https://github.com/countersign-mfa/countersign",
	}
}

// authorities returns the certificates of the authorities of Mozilla's list, in PEM. Their
// module is pinned, so the image does not depend on this machine. Authorities whose trust Mozilla
// limits are left out, because a file of certificates cannot have limits.
func authorities() []byte {
	var all bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			pem.Encode(&all, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a bytes.Buffer accepts all writes
		}
	}
	return all.Bytes()
}

// layer returns an archive of files with their directories. Paths that end in a slash are
// directories of the server.
func layer(at time.Time, files []file) ([]byte, error) {
	var data bytes.Buffer
	archive := tar.NewWriter(&data)
	written := map[string]bool{"/": true}
	var parents func(dir string) error
	parents = func(dir string) error {
		if written[dir] {
			return nil
		}
		if err := parents(filepath.Dir(dir)); err != nil {
			return err
		}
		written[dir] = true
		return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir[1:] + "/", Mode: 0o755, ModTime: at})
	}
	for _, f := range files {
		if err := parents(filepath.Dir(filepath.Clean(f.path))); err != nil {
			return nil, err
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.path[1:], Mode: f.mode, Size: int64(len(f.data)), ModTime: at}
		if f.path[len(f.path)-1] == '/' {
			header.Typeflag, header.Uid, header.Gid = tar.TypeDir, imageUser, imageUser
		}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(f.data); err != nil {
			return nil, err
		}
	}
	err := archive.Close()
	return data.Bytes(), err
}

// writeImage writes one image for several architectures: an image layout of the Open Container
// Initiative in an archive.
func writeImage(opts options, images map[platform]v1.Image, dir string) error {
	var index v1.ImageIndex = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range opts.platforms {
		if img, ok := images[p]; ok {
			index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: p.os, Architecture: p.arch}}})
		}
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	name := map[string]string{"org.opencontainers.image.ref.name": version}
	if err := path.AppendIndex(index, layout.WithAnnotations(name)); err != nil {
		return err
	}
	return create(opts, fmt.Sprintf("%s_%s_oci.tar", program, version), func(w io.Writer) error {
		archive := tar.NewWriter(w)
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error { // in the order of names
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			name, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: opts.time}); err != nil {
				return err
			}
			_, err = archive.Write(data)
			return err
		})
		if err != nil {
			return err
		}
		return archive.Close()
	})
}
