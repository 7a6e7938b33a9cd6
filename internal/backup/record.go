package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/countersign-mfa/countersign/internal/atomicfile"
)

// A record lists the names of the backups that were begun, one a line, in a file next to the
// store. Only a file with such a name is ever removed. The record is not in the store: a copy
// of the store on another machine must not remove the backups of this one.
type record struct {
	path  string // of the file
	store string // base name of the store
}

func recordOf(store string) record { return record{store + ".backups", filepath.Base(store)} }

// PartialMark follows the name of a backup in the name of its file while it is written; the
// name begins with a dot.
const PartialMark = "-partial-"

const (
	timeForm = "20060102T150405.000Z"
	suffix   = ".backup"
)

// name returns the name of a backup that begins at a time.
func (r record) name(at time.Time) string {
	return r.store + "-" + at.UTC().Format(timeForm) + suffix
}

// timeOf returns when the backup with a name began.
func (r record) timeOf(name string) (at time.Time, ok bool) {
	text, ok := strings.CutPrefix(name, r.store+"-")
	if text, found := strings.CutSuffix(text, suffix); ok && found {
		at, err := time.Parse(timeForm, text)
		return at, err == nil
	}
	return at, false
}

// add records a name before the file is made, so no file is forgotten.
func (r record) add(name string) error {
	f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("record the backup: %w", err)
	}
	// A crash may have cut the last line, so each line has a line break at both ends.
	_, err = f.WriteString("\n" + name + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("record the backup: %w", err)
	}
	return nil
}

// names returns the recorded names, oldest first: in the order of the file, because the clock
// may have been set back between two of them.
func (r record) names() ([]string, error) {
	text, err := os.ReadFile(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of backups: %w", err)
	}
	var names []string
	for line := range bytes.Lines(text) {
		name := strings.TrimSuffix(string(line), "\n")
		if _, ok := r.timeOf(name); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// write replaces the record.
func (r record) write(names []string) error {
	return atomicfile.Replace(r.path, []byte(strings.Join(names, "\n")+"\n"), 0o600)
}

// A File is a complete backup.
type File struct {
	Path string
	At   time.Time // when it began: it has all that was stored before
	Size int64
}

// files returns the recorded backups that are in dir, oldest first.
func (r record) files(dir string) (files []File, err error) {
	names, err := r.names()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		info, err := os.Lstat(path)
		if err != nil || !info.Mode().IsRegular() {
			continue // never completed, or removed or moved by hand
		}
		at, _ := r.timeOf(name)
		files = append(files, File{path, at, info.Size()})
	}
	return files, nil
}

// partial returns the files of incomplete backups in dir, by the recorded name of the backup.
func (r record) partial(dir string) (map[string]string, error) {
	names, err := r.names()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	found := make(map[string]string)
	for _, e := range entries {
		name, _, ok := strings.Cut(strings.TrimPrefix(e.Name(), "."), PartialMark)
		if ok && e.Name()[0] == '.' && slices.Contains(names, name) {
			found[name] = filepath.Join(dir, e.Name())
		}
	}
	return found, nil
}

// List returns the backups in dir that schedules of the store at path have made, oldest
// first.
func List(path, dir string) ([]File, error) { return recordOf(path).files(dir) }
