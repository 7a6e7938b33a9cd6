package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// fipsModule is the version of Go's cryptographic module with a FIPS 140-3 certificate. The
// go command has it, so it needs no other source.
const fipsModule = "v1.0.0"

// build compiles the program for p to path: static, without symbols, paths of this
// machine or the state of a repository, so the same source gives the same bytes.
func build(ctx context.Context, opts options, p platform, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X github.com/countersign-mfa/countersign/internal/cli.Commit="+opts.commit,
		"-o", path, "./cmd/countersign")
	cmd.Dir = opts.source
	cmd.Env = append(buildEnvironment(), "GOOS="+p.os, "GOARCH="+p.arch)
	if p.fips {
		cmd.Env = append(cmd.Env, "GOFIPS140="+fipsModule)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build for %s: %w\n%s", p.name(), err, out)
	}
	return nil
}

// buildEnvironment returns the environment without variables that change the program.
func buildEnvironment() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasPrefix(name, "CGO_") || strings.HasPrefix(name, "GOAMD") || strings.HasPrefix(name, "GOARM") ||
			slices.Contains([]string{"GOFLAGS", "GOEXPERIMENT", "GOFIPS140", "GOWORK", "GODEBUG"}, name)
	})
	return append(env, "CGO_ENABLED=0", "GOWORK=off", "GOAMD64=v1", "GOARM64=v8.0", "GOFIPS140=off")
}

// describe reports the size of a binary and how many modules are in it.
func describe(w io.Writer, p platform, path string) error {
	size, modules, err := weigh(path)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: %.1f MB, %d modules of others\n", p.name(), float64(size)/1e6, modules)
	return nil
}

// weigh returns the size of a binary in bytes, and how many modules other than Countersign
// are in it.
func weigh(path string) (size int64, modules int, err error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	file, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	return file.Size(), len(info.Deps), nil
}

// A file is a file of every archive or package.
type file struct {
	path string // in the file system of a package
	data []byte
	mode int64
}

// sharedFiles returns the files that do not depend on the platform: man pages, completions
// and the license.
func sharedFiles(source string, at time.Time) ([]file, error) {
	files := manPages(at)
	for _, f := range []struct{ from, to string }{
		{"internal/cli/completion/bash", "/usr/share/bash-completion/completions/countersign"},
		{"internal/cli/completion/zsh", "/usr/share/zsh/vendor-completions/_countersign"},
		{"internal/cli/completion/fish", "/usr/share/fish/vendor_completions.d/countersign.fish"},
		{"LICENSE", "/usr/share/doc/countersign/copyright"},
	} {
		data, err := os.ReadFile(filepath.Join(source, f.from))
		if err != nil {
			return nil, err
		}
		files = append(files, file{f.to, data, 0o644})
	}
	return files, nil
}

// writeArchive writes the program, its man pages and its completions.
func writeArchive(opts options, p platform, binary string, shared []file) error {
	data, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	dir := fmt.Sprintf("%s_%s_%s", program, version, p.name())
	return create(opts, dir+".tar.gz", func(w io.Writer) error {
		zip := gzip.NewWriter(w)
		archive := tar.NewWriter(zip)
		for _, f := range append([]file{{"/" + program, data, 0o755}}, shared...) {
			name := strings.TrimPrefix(f.path, "/usr/share")
			if f.path == "/usr/share/doc/countersign/copyright" {
				name = "/LICENSE"
			}
			header := &tar.Header{Name: dir + name, Mode: f.mode, Size: int64(len(f.data)), ModTime: opts.time, Format: tar.FormatPAX}
			if err := archive.WriteHeader(header); err != nil {
				return err
			}
			if _, err := archive.Write(f.data); err != nil {
				return err
			}
		}
		if err := archive.Close(); err != nil {
			return err
		}
		return zip.Close()
	})
}
