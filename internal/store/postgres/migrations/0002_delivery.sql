-- What became of the messages of challenges, and counts of where they go. All
-- tallies of an environment share a bucket with the limits of its phones.

CREATE TABLE messages (
	bucket     smallint    NOT NULL,
	key        bytea       NOT NULL, -- hash of the provider's name and its id of the message
	challenge  uuid,                 -- NULL while only a receipt is known
	number     integer     NOT NULL, -- of the message, among those of the challenge
	state      text,                 -- that a receipt has told before the challenge was known
	reason     text,
	expires_at timestamptz NOT NULL,
	PRIMARY KEY (bucket, key)
);

CREATE INDEX messages_by_expiry ON messages (bucket, expires_at);

CREATE TABLE tallies (
	bucket       smallint    NOT NULL,
	environment  bigint      NOT NULL,
	name         text        NOT NULL, -- what it counts messages to: the beginning of numbers, a country
	counts       bytea       NOT NULL,
	paused_until timestamptz,
	expires_at   timestamptz NOT NULL,
	PRIMARY KEY (bucket, environment, name)
) WITH (fillfactor = 70);

CREATE INDEX tallies_by_expiry ON tallies (bucket, expires_at);

-- Last, since it keeps others from challenges until it is committed. A column that
-- may be NULL and has no default is only noted down: no row is rewritten.
ALTER TABLE challenges ADD COLUMN messages bytea;
