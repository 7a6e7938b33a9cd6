-- Every table of the request path leads with its bucket, 0 to 1023, which the ids
-- of its rows carry as well: the column by which a hash-distributed PostgreSQL
-- spreads the tables, and one that spreads writes over an index. No unique index
-- is without it, and no foreign key crosses it. Ids are the 16 bytes of a ULID,
-- stored as uuid; NULL times stand for never.

CREATE TABLE meta (
	name  text  PRIMARY KEY,
	value bytea NOT NULL
);

CREATE TABLE environments (
	id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name       text        NOT NULL UNIQUE,
	production boolean     NOT NULL,
	created_at timestamptz NOT NULL
);

CREATE TABLE api_keys (
	hash        bytea       PRIMARY KEY, -- SHA-256 of the key
	id          text        NOT NULL UNIQUE,
	environment bigint      NOT NULL REFERENCES environments (id),
	hint        text        NOT NULL,
	created_at  timestamptz NOT NULL,
	revoked_at  timestamptz
);

CREATE TABLE factors (
	bucket       smallint    NOT NULL,
	id           uuid        NOT NULL,
	environment  bigint      NOT NULL,
	type         text        NOT NULL,
	user_id      text,
	issuer       text,
	account      text,
	sealed       bytea,
	replay       bytea, -- key of the recorded answer to its enrollment
	last_step    bigint      NOT NULL,
	failures     integer     NOT NULL,
	locked_until timestamptz,
	created_at   timestamptz NOT NULL,
	updated_at   timestamptz NOT NULL,
	PRIMARY KEY (bucket, id)
) WITH (fillfactor = 90);

CREATE INDEX factors_by_user ON factors (bucket, environment, user_id, id) WHERE user_id IS NOT NULL;

CREATE TABLE challenges (
	bucket      smallint    NOT NULL,
	id          uuid        NOT NULL,
	factor      uuid        NOT NULL,
	code_mac    bytea,
	sealed_code bytea,
	attempts    integer     NOT NULL,
	created_at  timestamptz NOT NULL,
	updated_at  timestamptz NOT NULL,
	expires_at  timestamptz NOT NULL,
	verified_at timestamptz,
	PRIMARY KEY (bucket, id)
) WITH (fillfactor = 70);

CREATE TABLE users (
	bucket      smallint NOT NULL,
	environment bigint   NOT NULL,
	id          text     NOT NULL,
	failures    integer  NOT NULL,
	PRIMARY KEY (bucket, environment, id)
) WITH (fillfactor = 70);

CREATE TABLE phones (
	bucket     smallint    NOT NULL,
	key        bytea       NOT NULL, -- keyed hash of environment and number
	sends      bytea       NOT NULL,
	expires_at timestamptz NOT NULL,
	PRIMARY KEY (bucket, key)
) WITH (fillfactor = 70);

CREATE INDEX phones_by_expiry ON phones (bucket, expires_at);

CREATE TABLE replays (
	bucket      smallint    NOT NULL,
	key         bytea       NOT NULL,
	fingerprint bytea       NOT NULL,
	factor      uuid,
	sealed      bytea,
	expires_at  timestamptz NOT NULL,
	pending     timestamptz, -- until when its message may still be on its way
	PRIMARY KEY (bucket, key)
);

CREATE INDEX replays_by_expiry ON replays (bucket, expires_at);

CREATE TABLE events (
	bucket      smallint NOT NULL,
	id          uuid     NOT NULL,
	environment bigint   NOT NULL,
	type        text     NOT NULL,
	factor      uuid,
	challenge   uuid,
	reason      text,
	PRIMARY KEY (bucket, id)
);
