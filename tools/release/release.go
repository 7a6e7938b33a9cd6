package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	countersign "github.com/countersign-mfa/countersign"
)

// program is the name of the program and of its packages.
const program = "countersign"

// version is the version of every file of the release.
const version = countersign.Version

type options struct {
	source    string // the repository
	out       string // where the files are written
	commit    string
	time      time.Time // of every file
	platforms []platform
	log       io.Writer // one line for each file
}

// A platform is an operating system and an architecture, by Go's names, and whether the
// program uses only the certified cryptographic module.
type platform struct {
	os, arch string
	fips     bool
}

var allPlatforms = []platform{
	{"linux", "amd64", false}, {"linux", "arm64", false}, {"darwin", "amd64", false}, {"darwin", "arm64", false},
	{"linux", "amd64", true}, {"linux", "arm64", true},
}

// name is the platform in the name of a file.
func (p platform) name() string {
	if p.fips {
		return p.os + "_" + p.arch + "_fips"
	}
	return p.os + "_" + p.arch
}

// parsePlatforms reads linux/amd64,darwin/arm64,linux/amd64/fips.
func parsePlatforms(list string) (platforms []platform, err error) {
	for _, text := range strings.Split(list, ",") {
		text, fips := strings.CutSuffix(text, "/fips")
		goos, arch, _ := strings.Cut(text, "/")
		p := platform{goos, arch, fips}
		if !slices.Contains(allPlatforms, p) {
			return nil, fmt.Errorf("-platforms: there are no releases for %q", text)
		}
		platforms = append(platforms, p)
	}
	return platforms, nil
}

// release writes all files into opts.out.
func release(ctx context.Context, opts options) error {
	if err := os.RemoveAll(opts.out); err != nil {
		return err
	}
	if err := os.MkdirAll(opts.out, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "countersign-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	shared, err := sharedFiles(opts.source, opts.time)
	if err != nil {
		return err
	}
	images := make(map[platform]v1.Image)
	for _, p := range opts.platforms {
		binary := filepath.Join(work, p.name(), program)
		if err := build(ctx, opts, p, binary); err != nil {
			return err
		}
		if err := describe(opts.log, p, binary); err != nil {
			return err
		}
		if err := writeArchive(opts, p, binary, shared); err != nil {
			return err
		}
		if err := writeBill(opts, p, binary); err != nil {
			return err
		}
		if p.fips {
			continue // packages and images have the default variant
		}
		if err := writeNPM(opts, p, binary); err != nil {
			return err
		}
		if err := writeWheel(opts, p, binary); err != nil {
			return err
		}
		if p.os != "linux" {
			continue
		}
		if err := writePackages(opts, p, binary, shared, filepath.Join(work, p.name())); err != nil {
			return err
		}
		if images[p], err = image(opts, p, binary); err != nil {
			return err
		}
	}
	if len(images) > 0 {
		if err := writeImage(opts, images, filepath.Join(work, "image")); err != nil {
			return err
		}
	}
	if err := writeNPMLauncher(opts); err != nil {
		return err
	}
	return writeSums(opts)
}

// create writes a file of the release, and reports it.
func create(opts options, name string, write func(io.Writer) error) error {
	f, err := os.OpenFile(filepath.Join(opts.out, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := write(f); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Fprintln(opts.log, filepath.Join(opts.out, name))
	return f.Close()
}

// writeSums writes SHA256SUMS, for sha256sum --check.
func writeSums(opts options) error {
	entries, err := os.ReadDir(opts.out) // sorted by name
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		sum, err := sumOf(filepath.Join(opts.out, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, e.Name())
	}
	return create(opts, "SHA256SUMS", func(w io.Writer) error {
		_, err := io.WriteString(w, sums.String())
		return err
	})
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
