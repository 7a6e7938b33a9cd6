package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// summary describes the packages of npm and PyPI.
const summary = "Server for multi-factor authentication over the WorkOS MFA API: authenticator apps, passkeys, text messages, recovery codes"

// npmArch has npm's names of architectures, and wheelTags the platforms of wheels. The
// program is static, so it needs no C library. Go 1.26 needs macOS 12.
var (
	npmArch   = map[string]string{"amd64": "x64", "arm64": "arm64"}
	wheelTags = map[platform]string{
		{"linux", "amd64", false}:  "manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64",
		{"linux", "arm64", false}:  "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
		{"darwin", "amd64", false}: "macosx_12_0_x86_64",
		{"darwin", "arm64", false}: "macosx_12_0_arm64",
	}
)

// npmName is the npm package with the program for p.
func npmName(p platform) string { return "@countersign-mfa/" + p.os + "-" + npmArch[p.arch] }

// writeNPM writes the npm package with the program for p.
func writeNPM(opts options, p platform, binary string) error {
	data, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	license, err := os.ReadFile(filepath.Join(opts.source, "LICENSE"))
	if err != nil {
		return err
	}
	manifest := npmManifest(npmName(p))
	manifest["description"] = "The program of the package countersign for " + p.os + " on " + npmArch[p.arch]
	manifest["os"], manifest["cpu"] = []string{p.os}, []string{npmArch[p.arch]}
	return writeTarball(opts, fmt.Sprintf("countersign-mfa-%s-%s-%s.tgz", p.os, npmArch[p.arch], version), manifest,
		file{"bin/countersign", data, 0o755}, file{"LICENSE", license, 0o644})
}

// writeNPMLauncher writes the npm package that installs the one of its platform.
func writeNPMLauncher(opts options) error {
	manifest := npmManifest(program)
	manifest["bin"] = map[string]string{program: "countersign.js"}
	manifest["engines"] = map[string]string{"node": ">=18"}
	optional := make(map[string]string)
	for p := range wheelTags {
		optional[npmName(p)] = version
	}
	manifest["optionalDependencies"] = optional
	var files []file
	for _, f := range []struct {
		from, to string
		mode     int64
	}{{"packaging/npm/countersign.js", "countersign.js", 0o755}, {"packaging/npm/README.md", "README.md", 0o644}, {"LICENSE", "LICENSE", 0o644}} {
		data, err := os.ReadFile(filepath.Join(opts.source, f.from))
		if err != nil {
			return err
		}
		files = append(files, file{f.to, data, f.mode})
	}
	return writeTarball(opts, fmt.Sprintf("%s-%s.tgz", program, version), manifest, files...)
}

func npmManifest(name string) map[string]any {
	return map[string]any{
		"name": name, "version": version, "description": summary, "license": "Apache-2.0",
		"homepage":   "https://github.com/countersign-mfa/countersign",
		"repository": map[string]string{"type": "git", "url": "git+https://github.com/countersign-mfa/countersign.git"},
	}
}

func writeTarball(opts options, name string, manifest map[string]any, files ...file) error {
	text, err := json.MarshalIndent(manifest, "", "  ") // sorted by key
	if err != nil {
		return err
	}
	return create(opts, name, func(w io.Writer) error {
		packed := gzip.NewWriter(w)
		archive := tar.NewWriter(packed)
		for _, f := range append([]file{{"package.json", append(text, '\n'), 0o644}}, files...) {
			header := &tar.Header{Name: "package/" + f.path, Mode: f.mode, Size: int64(len(f.data)), ModTime: opts.time, Format: tar.FormatUSTAR}
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
		return packed.Close()
	})
}

// writeWheel writes the Python package with the program for p, which pip installs as a script.
func writeWheel(opts options, p platform, binary string) error {
	tag := wheelTags[p]
	data, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	stem := program + "-" + version
	files := []file{{stem + ".data/scripts/" + program, data, 0o755}}
	texts := make(map[string][]byte)
	for _, name := range []string{"packaging/pypi/countersign/__init__.py", "packaging/pypi/countersign/__main__.py", "packaging/pypi/README.md", "LICENSE"} {
		if texts[name], err = os.ReadFile(filepath.Join(opts.source, name)); err != nil {
			return err
		}
		if strings.HasSuffix(name, ".py") {
			files = append(files, file{strings.TrimPrefix(name, "packaging/pypi/"), texts[name], 0o644})
		}
	}
	info := stem + ".dist-info/"
	metadata := "Metadata-Version: 2.1\nName: " + program + "\nVersion: " + version + "\nSummary: " + summary +
		"\nHome-page: https://github.com/countersign-mfa/countersign\nLicense: Apache-2.0\nRequires-Python: >=3.10\n" +
		"Description-Content-Type: text/markdown\n\n" + string(texts["packaging/pypi/README.md"])
	wheel := "Wheel-Version: 1.0\nGenerator: countersign\nRoot-Is-Purelib: false\n"
	for _, one := range strings.Split(tag, ".") {
		wheel += "Tag: py3-none-" + one + "\n"
	}
	files = append(files, file{info + "METADATA", []byte(metadata), 0o644}, file{info + "WHEEL", []byte(wheel), 0o644}, file{info + "LICENSE", texts["LICENSE"], 0o644})
	var record strings.Builder
	for _, f := range files {
		sum := sha256.Sum256(f.data)
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", f.path, base64.RawURLEncoding.EncodeToString(sum[:]), len(f.data))
	}
	record.WriteString(info + "RECORD,,\n")
	files = append(files, file{info + "RECORD", []byte(record.String()), 0o644})
	return create(opts, stem+"-py3-none-"+tag+".whl", func(w io.Writer) error {
		archive := zip.NewWriter(w)
		for _, f := range files {
			header := &zip.FileHeader{Name: f.path, Method: zip.Deflate, Modified: opts.time.UTC()}
			header.SetMode(os.FileMode(f.mode))
			to, err := archive.CreateHeader(header)
			if err != nil {
				return err
			}
			if _, err := to.Write(f.data); err != nil {
				return err
			}
		}
		return archive.Close()
	})
}
