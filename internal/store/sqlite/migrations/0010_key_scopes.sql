-- Keys have a name, scopes, an expiry and a last use (docs/adr/0034-operator-api.md). Scopes are
-- the bits of access.AllScopes in its order: 3 is api and events:read, which is all that a
-- key could do before. environment is NULL for an operator key of all environments, so the
-- table is made again.

CREATE TABLE new_api_keys (
	hash         BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of the key
	id           TEXT    NOT NULL UNIQUE,
	environment  INTEGER REFERENCES environments (id),
	name         TEXT    NOT NULL DEFAULT '',
	scopes       INTEGER NOT NULL DEFAULT 3,
	hint         TEXT    NOT NULL,
	created_at   INTEGER NOT NULL,
	expires_at   INTEGER NOT NULL DEFAULT 0,
	revoked_at   INTEGER NOT NULL,
	last_used_at INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

INSERT INTO new_api_keys (hash, id, environment, hint, created_at, revoked_at)
SELECT hash, id, environment, hint, created_at, revoked_at FROM api_keys;

DROP TABLE api_keys;
ALTER TABLE new_api_keys RENAME TO api_keys;
