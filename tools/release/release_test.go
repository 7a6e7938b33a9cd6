package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-mfa/countersign/internal/testenv"
)

const repository = "../.."

// The tests make releases of one platform, which takes a third of the time of two.
var platformOfTests = platform{"linux", "amd64", false}

var shared struct {
	once sync.Once
	dir  string
	err  error
}

// released returns the directory of a release that the tests of this package share.
func released(t *testing.T) string {
	t.Helper()
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "countersign-release-test-"); shared.err != nil {
			return
		}
		shared.err = release(t.Context(), optionsOfTests(repository, filepath.Join(shared.dir, "out")))
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return filepath.Join(shared.dir, "out")
}

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(shared.dir)
	os.Exit(code)
}

func optionsOfTests(source, out string) options {
	return options{
		source: source, out: out, commit: "abcdef123456", log: io.Discard,
		time: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), platforms: []platform{platformOfTests},
	}
}

// TestTwoDirectoriesGiveTheSameFiles makes a release of a copy of the repository in another
// directory, with other times and modes of its files, and compares the checksums.
func TestTwoDirectoriesGiveTheSameFiles(t *testing.T) {
	source := copyRepository(t)
	out := filepath.Join(t.TempDir(), "another", "out")
	if err := release(t.Context(), optionsOfTests(source, out)); err != nil {
		t.Fatal(err)
	}
	one, two := readFile(t, filepath.Join(released(t), "SHA256SUMS")), readFile(t, filepath.Join(out, "SHA256SUMS"))
	if !bytes.Equal(one, two) {
		t.Errorf("the checksums differ:\n%s\n%s", one, two)
	}
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(two, []byte("\n")); lines != len(entries)-1 || lines < 5 {
		t.Errorf("SHA256SUMS has %d lines for %d files", lines, len(entries)-1)
	}
}

// copyRepository copies the files of the repository, without ignored ones.
func copyRepository(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", "*.go", "go.mod", "go.sum", "openapi.yaml", "LICENSE", "deploy", "internal", "packaging")
	cmd.Dir = repository
	names, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "a copy")
	for _, name := range strings.Split(strings.TrimRight(string(names), "\x00"), "\x00") {
		if info, err := os.Lstat(filepath.Join(repository, name)); err != nil || !info.Mode().IsRegular() {
			continue // a link of the tests, or a file that was removed
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, readFile(t, filepath.Join(repository, name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// wanted lists files that each package must have.
var wanted = []string{
	"/etc/countersign.yaml",
	"/usr/bin/countersign",
	"/usr/lib/systemd/system/countersign.service",
	"/usr/lib/systemd/system/countersign.socket",
	"/usr/lib/sysusers.d/countersign.conf",
	"/usr/lib/tmpfiles.d/countersign.conf",
	"/usr/share/bash-completion/completions/countersign",
	"/usr/share/countersign/grafana/countersign.json",
	"/usr/share/countersign/prometheus/alerts.yaml",
	"/usr/share/doc/countersign/copyright",
	"/usr/share/fish/vendor_completions.d/countersign.fish",
	"/usr/share/man/man1/countersign-key-create.1.gz",
	"/usr/share/man/man1/countersign.1.gz",
	"/usr/share/man/man5/countersign.yaml.5.gz",
	"/usr/share/zsh/vendor-completions/_countersign",
}

// TestTheProgramStaysSmall holds the program to the limits of ADR 49.
func TestTheProgramStaysSmall(t *testing.T) {
	const mostBytes, mostModules = 40_000_000, 40
	binary := filepath.Join(t.TempDir(), "countersign")
	if err := build(t.Context(), optionsOfTests(repository, ""), platform{"linux", "amd64", false}, binary); err != nil {
		t.Fatal(err)
	}
	size, modules, err := weigh(binary)
	if err != nil {
		t.Fatal(err)
	}
	if size > mostBytes {
		t.Errorf("the program has %d bytes; want at most %d", size, mostBytes)
	}
	if modules > mostModules {
		t.Errorf("the program has %d modules of others; want at most %d", modules, mostModules)
	}
}

func TestPackagesHaveTheFilesOfTheService(t *testing.T) {
	for _, tc := range []struct {
		format string
		list   func(t *testing.T, path string) []string
	}{
		{"deb", func(t *testing.T, path string) []string {
			var names []string
			for _, line := range outputLines(t, "dpkg-deb", "--contents", path) {
				fields := strings.Fields(line)
				names = append(names, strings.TrimPrefix(fields[len(fields)-1], "."))
			}
			return names
		}},
		{"rpm", func(t *testing.T, path string) []string {
			return outputLines(t, "rpm", "--query", "--list", "--package", path)
		}},
		{"apk", listAPK},
	} {
		t.Run(tc.format, func(t *testing.T) {
			found, err := filepath.Glob(filepath.Join(released(t), "*."+tc.format))
			if err != nil || len(found) != 1 {
				t.Fatalf("packages: %v, %v", found, err)
			}
			names := tc.list(t, found[0])
			for _, name := range wanted {
				if !slices.Contains(names, name) {
					t.Errorf("the package has no %s", name)
				}
			}
		})
	}
	t.Run("the default configuration is a configuration file", func(t *testing.T) {
		for _, tc := range []struct{ format, tool, arg string }{{"deb", "dpkg-deb", "--info"}, {"rpm", "rpm", "-qcp"}} {
			found, _ := filepath.Glob(filepath.Join(released(t), "*."+tc.format))
			args := []string{tc.arg, found[0]}
			if tc.format == "deb" {
				args = append(args, "conffiles")
			}
			if lines := outputLines(t, tc.tool, args...); !slices.Equal(lines, []string{"/etc/countersign.yaml"}) {
				t.Errorf("%s: configuration files %q", tc.format, lines)
			}
		}
	})
}

// listAPK lists an .apk: archives of control files and of data, one after the other.
func listAPK(t *testing.T, path string) (names []string) {
	zip, err := gzip.NewReader(bytes.NewReader(readFile(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(zip); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, "/"+header.Name)
	}
}

// TestTheArchiveHasTheProgram takes the program out of the archive and runs it.
func TestTheArchiveHasTheProgram(t *testing.T) {
	dir := t.TempDir()
	name := "countersign_" + version + "_linux_amd64"
	outputLines(t, "tar", "-C", dir, "-xzf", filepath.Join(released(t), name+".tar.gz"))
	if lines := outputLines(t, filepath.Join(dir, name, "countersign"), "version"); !slices.Equal(lines, []string{"countersign " + version + "+abcdef123456"}) {
		t.Errorf("version printed %q", lines)
	}
	for _, f := range []string{"LICENSE", "man/man1/countersign.1.gz", "bash-completion/completions/countersign"} {
		if _, err := os.Stat(filepath.Join(dir, name, f)); err != nil {
			t.Error(err)
		}
	}
}

func TestTheBillNamesEveryModule(t *testing.T) {
	dir := t.TempDir()
	name := "countersign_" + version + "_linux_amd64"
	outputLines(t, "tar", "-C", dir, "-xzf", filepath.Join(released(t), name+".tar.gz"))
	binary := filepath.Join(dir, name, "countersign")
	var bill struct {
		SpecVersion string
		Metadata    struct {
			Timestamp string
			Component struct {
				Version string
				Hashes  []struct{ Content string }
			}
		}
		Components []struct{ PURL string }
	}
	if err := json.Unmarshal(readFile(t, filepath.Join(released(t), name+".cdx.json")), &bill); err != nil {
		t.Fatal(err)
	}
	if bill.SpecVersion != "1.6" || bill.Metadata.Timestamp != "2026-03-04T05:06:07Z" || bill.Metadata.Component.Version != version+"+abcdef123456" {
		t.Errorf("bill of materials: %+v", bill.Metadata)
	}
	sum, err := sumOf(binary)
	if err != nil {
		t.Fatal(err)
	}
	if hashes := bill.Metadata.Component.Hashes; len(hashes) != 1 || hashes[0].Content != sum {
		t.Errorf("hashes %v; want %s", hashes, sum)
	}
	var listed []string
	for _, c := range bill.Components {
		listed = append(listed, c.PURL)
	}
	modules := 0
	for _, line := range outputLines(t, "go", "version", "-m", binary) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "dep" {
			modules++
			if url := "pkg:golang/" + fields[1] + "@" + fields[2]; !slices.Contains(listed, url) {
				t.Errorf("the bill has no %s", url)
			}
		}
	}
	if modules == 0 || len(listed) != modules+1 {
		t.Errorf("%d components for %d modules and the standard library", len(listed), modules)
	}
}

func TestGroffReadsManPagesWithoutWarnings(t *testing.T) {
	groff := testenv.Tool(t, "groff")
	pages := 0
	for _, f := range manPages(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)) {
		zip, err := gzip.NewReader(bytes.NewReader(f.data))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(zip)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), groff, "-man", "-Tutf8", "-ww", "-z")
		cmd.Stdin = bytes.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", f.path, err, out)
		}
		for _, part := range []string{".TH COUNTERSIGN", "Countersign", ".SH NAME", `2026-03-04`} {
			if !bytes.Contains(text, []byte(part)) {
				t.Errorf("%s has no %q", f.path, part)
			}
		}
		pages++
	}
	if pages < 40 {
		t.Errorf("%d man pages; the program has more commands", pages)
	}
}

func TestUnknownPlatformsAreRefused(t *testing.T) {
	if p, err := parsePlatforms("linux/amd64,darwin/arm64,linux/arm64/fips"); err != nil || !slices.Equal(p, []platform{{"linux", "amd64", false}, {"darwin", "arm64", false}, {"linux", "arm64", true}}) {
		t.Errorf("parsePlatforms = %v, %v", p, err)
	}
	for _, text := range []string{"linux", "linux/riscv64", "darwin/arm64/fips", "linux/fips", ",", "linux/amd64,"} {
		if _, err := parsePlatforms(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// outputLines runs a program and returns the lines of its output.
func outputLines(t *testing.T, name string, args ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), testenv.Tool(t, name), args...).Output()
	if err != nil {
		t.Fatalf("%s %q: %v", name, args, err)
	}
	text := strings.TrimRight(string(out), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}
