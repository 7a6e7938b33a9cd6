-- The nodes that serve the store (docs/adr/0051-nodes.md).
CREATE TABLE nodes (
	id         text        PRIMARY KEY,
	name       text,
	address    text,
	version    text,
	key_id     text,
	keyset     text,
	started_at timestamptz NOT NULL,
	seen_at    timestamptz NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX nodes_by_seen ON nodes (seen_at);
