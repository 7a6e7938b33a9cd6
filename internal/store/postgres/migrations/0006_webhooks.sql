-- Webhook endpoints, the deliveries that wait or have failed, and the log of attempts. All rows
-- of an environment are in one bucket.

CREATE TABLE webhook_endpoints (
	bucket        smallint    NOT NULL,
	id            uuid        NOT NULL,
	environment   bigint      NOT NULL,
	sandbox       integer     NOT NULL,
	url           text        NOT NULL,
	status        text        NOT NULL,
	disabled_for  text,
	types         bytea       NOT NULL, -- of the events that it receives, separated by spaces
	created_at    timestamptz NOT NULL,
	updated_at    timestamptz NOT NULL,
	creation      bytea       NOT NULL,
	sealed        bytea       NOT NULL, -- the secret
	next_sealed   bytea,                -- the secret that replaces it at switch_at
	switch_at     timestamptz,
	position      uuid,                 -- all events up to here were delivered or have a row in webhook_deliveries
	failures      integer     NOT NULL,
	last_success  timestamptz,
	failing_since timestamptz,
	hold_until    timestamptz,
	replay_after  uuid,
	replay_since  timestamptz,
	replay_until  timestamptz,
	replay_end    uuid,
	leased_by     uuid,                 -- NULL while no node delivers to it
	leased_until  timestamptz,
	PRIMARY KEY (bucket, id)
) WITH (fillfactor = 50);

CREATE UNIQUE INDEX webhook_endpoints_by_url ON webhook_endpoints (bucket, environment, url);

CREATE TABLE webhook_deliveries (
	bucket     smallint    NOT NULL,
	endpoint   uuid        NOT NULL,
	event      uuid        NOT NULL,
	event_at   timestamptz NOT NULL,
	state      text        NOT NULL,
	attempts   integer     NOT NULL,
	next_at    timestamptz NOT NULL,
	expires_at timestamptz NOT NULL,
	PRIMARY KEY (bucket, endpoint, event)
);

CREATE INDEX webhook_deliveries_by_time ON webhook_deliveries (next_at) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_by_state ON webhook_deliveries (bucket, endpoint, state, event_at);
CREATE INDEX webhook_deliveries_by_expiry ON webhook_deliveries (expires_at);

CREATE TABLE webhook_attempts (
	bucket     smallint    NOT NULL,
	endpoint   uuid        NOT NULL,
	id         uuid        NOT NULL,
	event      uuid        NOT NULL,
	type       text        NOT NULL,
	number     integer     NOT NULL,
	at         timestamptz NOT NULL,
	took_ms    integer     NOT NULL,
	status     integer     NOT NULL, -- of the answer; 0 without one
	outcome    text        NOT NULL,
	answer     bytea,                -- the beginning of its body, sealed
	next_at    timestamptz,
	expires_at timestamptz NOT NULL,
	PRIMARY KEY (bucket, endpoint, id)
);

CREATE INDEX webhook_attempts_by_expiry ON webhook_attempts (expires_at);
