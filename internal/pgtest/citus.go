package pgtest

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

// Citus gives a database the catalog and the functions of Citus. The functions only
// record where a table is. They fail if a table of the store is not locked, if the table
// to colocate with is not distributed, or if the name is in the table refused. The catalog
// also lists tables with a foreign key to a copied table, as in Citus. New connections
// use only hash joins, so rows have no useful order unless a query asks for one.
func Citus(t testing.TB, conn *pgx.Conn) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), citus); err != nil {
		t.Fatal(err)
	}
}

const citus = `
CREATE TABLE pg_dist_partition (logicalrelid regclass PRIMARY KEY, partmethod "char", repmodel "char", colocationid integer);
CREATE TABLE refused (name text);
CREATE TABLE pg_dist_shard (logicalrelid regclass, shardid bigint);
CREATE TABLE pg_dist_placement (shardid bigint, groupid integer);
INSERT INTO pg_dist_placement VALUES (100, 1), (101, 2), (102, 1), (103, 2);

CREATE FUNCTION get_shard_id_for_distribution_column(t regclass, value smallint) RETURNS bigint LANGUAGE sql AS $$ SELECT 100 + value % 4 $$;

DO $$ BEGIN
	EXECUTE format('ALTER DATABASE %I SET enable_mergejoin = off', current_database());
	EXECUTE format('ALTER DATABASE %I SET enable_nestloop = off', current_database());
END $$;

CREATE FUNCTION place(t text, method "char", model "char", colocation integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE unlocked text;
BEGIN
	SELECT string_agg(relname, ', ') INTO unlocked FROM pg_class c
	WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname NOT IN ('schema_versions', 'pg_dist_partition', 'pg_dist_shard', 'pg_dist_placement', 'refused')
	AND NOT EXISTS (SELECT FROM pg_locks WHERE relation = c.oid AND pid = pg_backend_pid() AND mode = 'AccessExclusiveLock');
	IF unlocked IS NOT NULL THEN RAISE EXCEPTION 'not locked: %', unlocked; END IF;
	IF EXISTS (SELECT FROM refused WHERE name = t) THEN RAISE EXCEPTION '% is refused', t; END IF;
	IF EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = t::regclass AND NOT (partmethod = 'n' AND repmodel = 's')) THEN
		RAISE EXCEPTION 'table % is already distributed', t;
	END IF;
	INSERT INTO pg_dist_partition VALUES (t::regclass, method, model, colocation)
	ON CONFLICT (logicalrelid) DO UPDATE SET partmethod = method, repmodel = model, colocationid = colocation;
END $$;

CREATE FUNCTION create_distributed_table(t text, by text, colocate_with text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE colocation integer := 7;
BEGIN
	IF colocate_with <> 'default' THEN
		SELECT colocationid INTO colocation FROM pg_dist_partition WHERE logicalrelid = colocate_with::regclass AND partmethod = 'h';
		IF NOT FOUND THEN RAISE EXCEPTION 'relation % is not distributed', colocate_with; END IF;
	END IF;
	PERFORM place(t, 'h', 's', colocation);
	INSERT INTO pg_dist_shard SELECT t::regclass, n FROM generate_series(100, 103) n;
END $$;

CREATE FUNCTION create_distributed_function(f text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM f::regprocedure;
END $$;

CREATE FUNCTION create_reference_table(t text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM place(t, 'n', 't', 1);
	INSERT INTO pg_dist_partition SELECT conrelid, 'n', 's', 0 FROM pg_constraint
	WHERE contype = 'f' AND confrelid = t::regclass ON CONFLICT DO NOTHING;
END $$;
`
