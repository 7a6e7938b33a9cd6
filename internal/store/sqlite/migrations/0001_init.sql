-- Ids are the 16 bytes of a ULID. Times are milliseconds since 1970; 0 stands for
-- never.
--
-- With one writer on one disk, rows that are written together should lie
-- together: factors, challenges and events are keyed by their ids alone, which
-- grow with time. Their buckets, which spread writes over many machines, would
-- only spread a group commit over many pages here.

CREATE TABLE meta (
	name  TEXT NOT NULL PRIMARY KEY,
	value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE environments (
	id         INTEGER NOT NULL PRIMARY KEY,
	name       TEXT    NOT NULL UNIQUE,
	production INTEGER NOT NULL,
	created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
	hash        BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of the key
	id          TEXT    NOT NULL UNIQUE,
	environment INTEGER NOT NULL REFERENCES environments (id),
	hint        TEXT    NOT NULL,
	created_at  INTEGER NOT NULL,
	revoked_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE factors (
	id           BLOB    NOT NULL PRIMARY KEY,
	environment  INTEGER NOT NULL,
	type         TEXT    NOT NULL,
	user_id      TEXT,
	issuer       TEXT,
	account      TEXT,
	sealed       BLOB,
	replay       BLOB, -- key of the recorded answer to its enrollment
	last_step    INTEGER NOT NULL,
	failures     INTEGER NOT NULL,
	locked_until INTEGER NOT NULL,
	created_at   INTEGER NOT NULL,
	updated_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX factors_by_user ON factors (environment, user_id, id) WHERE user_id IS NOT NULL;

CREATE TABLE challenges (
	id          BLOB    NOT NULL PRIMARY KEY,
	factor      BLOB    NOT NULL,
	code_mac    BLOB,
	sealed_code BLOB,
	attempts    INTEGER NOT NULL,
	created_at  INTEGER NOT NULL,
	updated_at  INTEGER NOT NULL,
	expires_at  INTEGER NOT NULL,
	verified_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
	environment INTEGER NOT NULL,
	id          TEXT    NOT NULL,
	failures    INTEGER NOT NULL,
	PRIMARY KEY (environment, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE phones (
	key        BLOB    NOT NULL PRIMARY KEY, -- keyed hash of environment and number
	sends      BLOB    NOT NULL,
	expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX phones_by_expiry ON phones (expires_at);

CREATE TABLE replays (
	bucket      INTEGER NOT NULL,
	key         BLOB    NOT NULL,
	fingerprint BLOB    NOT NULL,
	factor      BLOB,
	sealed      BLOB,
	expires_at  INTEGER NOT NULL,
	pending     INTEGER NOT NULL, -- until when its message may still be on its way
	PRIMARY KEY (bucket, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX replays_by_expiry ON replays (expires_at);

CREATE TABLE events (
	id          BLOB    NOT NULL PRIMARY KEY,
	environment INTEGER NOT NULL,
	type        TEXT    NOT NULL,
	factor      BLOB,
	challenge   BLOB,
	reason      TEXT
) STRICT, WITHOUT ROWID;
