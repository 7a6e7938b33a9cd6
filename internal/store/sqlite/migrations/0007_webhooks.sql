-- Webhook endpoints, the deliveries that wait or have failed, and the log of attempts. Times
-- are milliseconds since 1970, 0 for never: they are compared between rows.

CREATE TABLE webhook_endpoints (
	id_hi           INTEGER NOT NULL,
	id_lo           INTEGER NOT NULL,
	environment     INTEGER NOT NULL,
	sandbox         INTEGER NOT NULL,
	url             TEXT    NOT NULL,
	status          TEXT    NOT NULL,
	disabled_for    TEXT,
	types           BLOB    NOT NULL, -- of the events that it receives, separated by spaces
	created_at      INTEGER NOT NULL,
	updated_at      INTEGER NOT NULL,
	creation        BLOB    NOT NULL,
	sealed          BLOB    NOT NULL, -- the secret
	next_sealed     BLOB,             -- the secret that replaces it at switch_at
	switch_at       INTEGER NOT NULL,
	position_hi     INTEGER,          -- all events up to here were delivered or have a row in webhook_deliveries
	position_lo     INTEGER,
	failures        INTEGER NOT NULL,
	last_success    INTEGER NOT NULL,
	failing_since   INTEGER NOT NULL,
	hold_until      INTEGER NOT NULL,
	replay_after_hi INTEGER,
	replay_after_lo INTEGER,
	replay_since    INTEGER NOT NULL,
	replay_until    INTEGER NOT NULL,
	replay_end_hi   INTEGER,
	replay_end_lo   INTEGER,
	leased_by_hi    INTEGER,          -- NULL while no node delivers to it
	leased_by_lo    INTEGER,
	leased_until    INTEGER NOT NULL,
	PRIMARY KEY (id_hi, id_lo)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX webhook_endpoints_by_url ON webhook_endpoints (environment, url);
CREATE INDEX webhook_endpoints_by_environment ON webhook_endpoints (environment, id_hi, id_lo);

CREATE TABLE webhook_deliveries (
	endpoint_hi INTEGER NOT NULL,
	endpoint_lo INTEGER NOT NULL,
	event_hi    INTEGER NOT NULL,
	event_lo    INTEGER NOT NULL,
	event_at    INTEGER NOT NULL,
	state       TEXT    NOT NULL,
	attempts    INTEGER NOT NULL,
	next_at     INTEGER NOT NULL,
	expires_at  INTEGER NOT NULL,
	PRIMARY KEY (endpoint_hi, endpoint_lo, event_hi, event_lo)
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_deliveries_by_time ON webhook_deliveries (next_at) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_by_state ON webhook_deliveries (endpoint_hi, endpoint_lo, state, event_at);
CREATE INDEX webhook_deliveries_by_expiry ON webhook_deliveries (expires_at);

CREATE TABLE webhook_attempts (
	endpoint_hi INTEGER NOT NULL,
	endpoint_lo INTEGER NOT NULL,
	id_hi       INTEGER NOT NULL,
	id_lo       INTEGER NOT NULL,
	event_hi    INTEGER NOT NULL,
	event_lo    INTEGER NOT NULL,
	type        ANY     NOT NULL,
	number      INTEGER NOT NULL,
	at          INTEGER NOT NULL,
	took_ms     INTEGER NOT NULL,
	status      INTEGER NOT NULL, -- of the answer; 0 without one
	outcome     TEXT    NOT NULL,
	answer      BLOB,             -- the beginning of its body, sealed
	next_at     INTEGER NOT NULL,
	expires_at  INTEGER NOT NULL,
	PRIMARY KEY (endpoint_hi, endpoint_lo, id_hi, id_lo)
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_attempts_by_expiry ON webhook_attempts (expires_at);
