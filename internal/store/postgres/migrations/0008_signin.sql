-- Operators of the web console, their passkeys, and the tickets with which they sign in:
-- one-time links, ceremonies, sessions and counters of attempts. The tables are small; with
-- Citus every machine has a copy.

CREATE TABLE operators (
	name        text        PRIMARY KEY,
	role        text        NOT NULL,
	handle      bytea       NOT NULL, -- of the passkeys
	subject     text,                 -- issuer and subject at the identity provider; NULL for operators with passkeys only
	created_at  timestamptz NOT NULL,
	disabled_at timestamptz
);

CREATE UNIQUE INDEX operators_by_subject ON operators (subject) WHERE subject IS NOT NULL;

CREATE TABLE operator_passkeys (
	id         bytea       PRIMARY KEY, -- of the credential
	operator   text        NOT NULL,
	name       text        NOT NULL,
	credential bytea       NOT NULL, -- public key, counter and flags, in JSON
	created_at timestamptz NOT NULL,
	used_at    timestamptz
);

CREATE INDEX operator_passkeys_by_operator ON operator_passkeys (operator, created_at);

CREATE TABLE operator_tickets (
	hash       bytea       PRIMARY KEY, -- SHA-256 of a secret
	kind       text        NOT NULL,
	operator   text        NOT NULL, -- empty while it is unknown
	count      integer     NOT NULL,
	created_at timestamptz NOT NULL,
	seen_at    timestamptz NOT NULL,
	expires_at timestamptz NOT NULL,
	data       bytea
) WITH (fillfactor = 70);

CREATE INDEX operator_tickets_by_operator ON operator_tickets (kind, operator, created_at);
CREATE INDEX operator_tickets_by_expiry ON operator_tickets (expires_at);
