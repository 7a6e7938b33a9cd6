// Package migrate reads numbered migrations. Each store has its own migrations and
// applies them itself.
package migrate

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
)

// A Migration changes a schema from Version-1 to Version.
type Migration struct {
	Version int
	Name    string
	SQL     string
}

var fileForm = regexp.MustCompile(`^(\d{4})_([a-z0-9_]+)\.sql$`)

// ErrNewer means that a store has a schema that this program does not know.
var ErrNewer = errors.New("the store was written by a newer version of this program; run that version or a later one")

// Load reads the files 0001_name.sql, 0002_name.sql and so on from the root of fsys.
// The numbers must have no gap.
func Load(fsys fs.FS) ([]Migration, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	var all []Migration
	for _, e := range entries {
		m := fileForm.FindStringSubmatch(e.Name())
		if m == nil {
			return nil, fmt.Errorf("migration %s: its name is not of the form 0001_what_it_does.sql", e.Name())
		}
		version, _ := strconv.Atoi(m[1]) // always four digits
		if version != len(all)+1 {
			return nil, fmt.Errorf("migration %s: number %d is missing", e.Name(), len(all)+1)
		}
		sql, err := fs.ReadFile(fsys, e.Name())
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		all = append(all, Migration{version, m[2], string(sql)})
	}
	return all, nil
}

// After returns the migrations that a schema of the given version still needs, or
// ErrNewer.
func After(all []Migration, version int) ([]Migration, error) {
	if version > len(all) {
		return nil, fmt.Errorf("schema %d, known up to %d: %w", version, len(all), ErrNewer)
	}
	return all[version:], nil
}
