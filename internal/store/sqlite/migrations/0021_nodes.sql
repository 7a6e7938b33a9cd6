-- The nodes that serve the store (docs/adr/0051-nodes.md).
CREATE TABLE nodes (
	id         TEXT    PRIMARY KEY,
	name       TEXT,
	address    TEXT,
	version    TEXT,
	key_id     TEXT,
	keyset     TEXT,
	started_at INTEGER NOT NULL,
	seen_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX nodes_by_seen ON nodes (seen_at);
