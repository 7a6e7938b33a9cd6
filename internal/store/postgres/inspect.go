package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign-mfa/countersign/internal/nodes"
	"github.com/countersign-mfa/countersign/internal/store/inspection"
)

const selectMetas = `SELECT name, value FROM meta WHERE name = ANY($1)`

// Inspect reads the state of the store at url and the meta values with the given names.
// Unlike Migrate and Open, it changes nothing, and the schema may have any version. Call
// Close of the State, also after an error.
func Inspect(ctx context.Context, url string, names ...string) (state inspection.State, err error) {
	state.Close = func() error { return nil }
	cfg, err := configure(url)
	if err != nil {
		return state, err
	}
	conn, err := dial(ctx, cfg)
	if err != nil {
		return state, err
	}
	state.Close = func() error { return conn.Close(context.WithoutCancel(ctx)) }
	state.Clock = func(ctx context.Context) (now time.Time, err error) {
		err = conn.QueryRow(ctx, selectClock).Scan(&now)
		return now, err
	}
	all, err := known()
	if err != nil {
		return state, err
	}
	state.Known = len(all)
	var readOnly string
	if err := conn.QueryRow(ctx, "SHOW transaction_read_only").Scan(&readOnly); err != nil {
		return state, fmt.Errorf("read the state of the server: %w", err)
	}
	state.ReadOnly = readOnly != "off"
	if err := conn.QueryRow(ctx, hasVersions).Scan(&state.Exists); err != nil || !state.Exists {
		return state, err
	}
	if err := conn.QueryRow(ctx, selectVersion).Scan(&state.Version); err != nil {
		return state, fmt.Errorf("read the version of the schema: %w", err)
	}
	if state.Exists = state.Version > 0; !state.Exists {
		return state, nil
	}
	state.Meta = make(map[string][]byte)
	rows, err := conn.Query(ctx, selectMetas, names)
	if err != nil {
		return state, err
	}
	var name string
	var value []byte
	_, err = pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		state.Meta[name] = append([]byte(nil), value...)
		return nil
	})
	if err != nil {
		return state, fmt.Errorf("read the table meta: %w", err)
	}
	if state.Version != state.Known {
		return state, nil
	}
	on := func(_ context.Context, fn func(*pgx.Conn) error) error { return fn(conn) }
	state.Nodes, err = collectOn(ctx, on, nodeRows.collected, selectNodes, nodes.Most)
	if err != nil {
		return state, fmt.Errorf("read the table nodes: %w", err)
	}
	return state, nil
}
