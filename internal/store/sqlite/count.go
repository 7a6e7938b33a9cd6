package sqlite

import (
	"context"
	"fmt"
)

const selectTables = `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`

// Rows returns how many rows are stored. It reads an index of each table.
func (s *Store) Rows(ctx context.Context) (total int64, err error) {
	err = s.scan(ctx, func(c *conn) error {
		var tables []string
		err := c.prepare(selectTables).each(func(row *rowReader) error {
			tables = append(tables, row.text())
			return nil
		})
		if err != nil {
			return err
		}
		for _, table := range tables {
			err := c.prepare(fmt.Sprintf("SELECT count(*) FROM %q", table)).each(func(row *rowReader) error {
				total += row.int()
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return total, err
}
