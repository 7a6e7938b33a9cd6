// Package doctest_test checks the documents as a whole.
package doctest_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

const root = "../.."

// documents returns the Markdown files of the repository, without the files of libraries.
// The build of the site checks its own pages.
func documents(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "libraries" || d.Name() == "bin" || path == filepath.Join(root, "tools", "site") || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != root):
			return filepath.SkipDir
		case d.Type().IsRegular() && strings.HasSuffix(path, ".md"):
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < 50 {
		t.Fatalf("only %d documents were found", len(paths))
	}
	return paths
}

var (
	link    = regexp.MustCompile(`!?\[[^\]]*\]\(([^)\s]+)\)`)
	code    = regexp.MustCompile("`[^`]*`")
	heading = regexp.MustCompile(`^#{1,6} +(.*?) *$`)
	label   = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
)

// lines returns the lines of a document outside blocks of code.
func lines(text string) (all []string) {
	fence := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		trimmed := strings.TrimSpace(line)
		switch {
		case fence != "":
			if strings.HasPrefix(trimmed, fence) {
				fence = ""
			}
		case strings.HasPrefix(trimmed, "```"):
			fence = "```"
		case strings.HasPrefix(line, "    ") && !strings.HasPrefix(trimmed, "*") && !strings.HasPrefix(trimmed, "-"):
		default:
			all = append(all, line)
		}
	}
	return all
}

// anchors returns the anchors that GitHub gives the headings of a document.
func anchors(text string) map[string]bool {
	all, count := make(map[string]bool), make(map[string]int)
	for _, line := range lines(text) {
		m := heading.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		title := strings.ToLower(label.ReplaceAllString(m[1], "$1"))
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return r
			}
			return -1
		}, title)
		if n := count[slug]; n > 0 {
			all[slug+"-"+strconv.Itoa(n)] = true
		} else {
			all[slug] = true
		}
		count[slug]++
	}
	return all
}

func TestNoLinkIsDead(t *testing.T) {
	known := make(map[string]map[string]bool)
	links := 0
	for _, path := range documents(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines(string(text)) {
			for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(line, ""), -1) {
				target, anchor, _ := strings.Cut(m[1], "#")
				if strings.Contains(target, ":") || strings.HasPrefix(target, "<") {
					continue // another site
				}
				links++
				file := path
				if target != "" {
					file = filepath.Join(filepath.Dir(path), target)
				}
				if _, err := os.Stat(file); err != nil {
					t.Errorf("%s: %s leads nowhere", path, m[1])
					continue
				}
				if anchor == "" || !strings.HasSuffix(file, ".md") {
					continue
				}
				if known[file] == nil {
					text, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					known[file] = anchors(string(text))
				}
				if !known[file][anchor] {
					t.Errorf("%s: %s: the page has no heading with this anchor", path, m[1])
				}
			}
		}
	}
	if links < 200 {
		t.Errorf("only %d links were checked", links)
	}
}

func TestDeadLinksAreFound(t *testing.T) {
	got := anchors("# A `code` title\n\n## The end\n## The end\n```\n# not one\n```\n### [A link](x.md), and *more*\n")
	for _, want := range []string{"a-code-title", "the-end", "the-end-1", "a-link-and-more"} {
		if !got[want] {
			t.Errorf("no anchor %q in %v", want, got)
		}
	}
	if len(got) != 4 {
		t.Errorf("anchors are %v", got)
	}
}
