-- Operators of the web console, their passkeys, and the tickets with which they sign in:
-- one-time links, ceremonies, sessions and counters of attempts. Times are milliseconds since
-- 1970, 0 for never.

CREATE TABLE operators (
	name        TEXT    NOT NULL PRIMARY KEY,
	role        TEXT    NOT NULL,
	handle      BLOB    NOT NULL, -- of the passkeys
	subject     TEXT,             -- issuer and subject at the identity provider; NULL for operators with passkeys only
	created_at  INTEGER NOT NULL,
	disabled_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX operators_by_subject ON operators (subject) WHERE subject IS NOT NULL;

CREATE TABLE operator_passkeys (
	id         BLOB    NOT NULL PRIMARY KEY, -- of the credential
	operator   TEXT    NOT NULL,
	name       TEXT    NOT NULL,
	credential BLOB    NOT NULL, -- public key, counter and flags, in JSON
	created_at INTEGER NOT NULL,
	used_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX operator_passkeys_by_operator ON operator_passkeys (operator, created_at);

CREATE TABLE operator_tickets (
	hash       BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of a secret
	kind       TEXT    NOT NULL,
	operator   TEXT    NOT NULL, -- empty while it is unknown
	count      INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	seen_at    INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	data       BLOB
) STRICT, WITHOUT ROWID;

CREATE INDEX operator_tickets_by_operator ON operator_tickets (kind, operator, created_at);
CREATE INDEX operator_tickets_by_expiry ON operator_tickets (expires_at);
