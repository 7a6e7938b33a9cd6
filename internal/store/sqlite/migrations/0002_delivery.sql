-- What became of the messages of challenges, and counts of where they go.

CREATE TABLE messages (
	key        BLOB    NOT NULL PRIMARY KEY, -- hash of the provider's name and its id of the message
	challenge  BLOB,                         -- NULL while only a receipt is known
	number     INTEGER NOT NULL,             -- of the message, among those of the challenge
	state      TEXT,                         -- that a receipt has told before the challenge was known
	reason     TEXT,
	expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX messages_by_expiry ON messages (expires_at);

CREATE TABLE tallies (
	environment  INTEGER NOT NULL,
	name         TEXT    NOT NULL, -- what it counts messages to: the beginning of numbers, a country
	counts       BLOB    NOT NULL,
	paused_until INTEGER NOT NULL,
	expires_at   INTEGER NOT NULL,
	PRIMARY KEY (environment, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX tallies_by_expiry ON tallies (expires_at);

ALTER TABLE challenges ADD COLUMN messages BLOB;
