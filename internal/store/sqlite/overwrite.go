package sqlite

import (
	"errors"
	"fmt"
	"net/url"
)

// Overwrite replaces the content of the store at path with that of a backup, in one
// transaction. Unlike Restore, it keeps nothing of the old content. Other processes may
// have the store open, and read the new content afterwards. No Store of this process may
// be open, because it remembers rows.
func Overwrite(path, from string) (err error) {
	if _, err := readHeader(from); err != nil {
		return fmt.Errorf("read the backup: %w", err)
	}
	files, err := claim(path, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, files.release()) }()
	c, err := dial(files, scanCache)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	source := url.URL{Scheme: "file", Path: from, RawQuery: "mode=ro"}
	if err := c.db.Restore("main", source.String()); err != nil {
		return fmt.Errorf("copy the backup: %w", err)
	}
	return files.check()
}
