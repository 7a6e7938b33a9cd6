-- What most rows are made of, in integers: SQLite compares, binds and stores them
-- several times as fast as blobs and texts (docs/adr/0013-integers-for-ids.md).
--
-- An id is two of them: hi, its first eight bytes, and lo, its last eight, each with the
-- highest bit turned over, so that (hi, lo) sorts as the bytes do. (hi >> 16) +
-- 0x800000000000 is the time of the id, in milliseconds since 1970.
--
-- The times of a factor and a challenge are milliseconds since the time of its own
-- id; NULL stands for never. Words that the program knows are stored as their
-- numbers; see words.go.
--
-- id_hi, id_lo, id_ms, user_hash and word are functions of the program that runs this.

CREATE TABLE new_factors (
	hi           INTEGER NOT NULL,
	lo           INTEGER NOT NULL,
	environment  INTEGER NOT NULL,
	type         ANY     NOT NULL,
	user_hash    INTEGER, -- of environment and user_id
	user_id      TEXT,
	issuer       TEXT,
	account      TEXT,
	sealed       BLOB,
	replay       BLOB, -- key of the recorded answer to its enrollment
	last_step    INTEGER NOT NULL,
	failures     INTEGER NOT NULL,
	locked_until INTEGER,
	created      INTEGER,
	updated      INTEGER,
	PRIMARY KEY (hi, lo)
) STRICT, WITHOUT ROWID;

INSERT INTO new_factors
SELECT id_hi(id), id_lo(id), environment, word(type), user_hash(environment, user_id), user_id, issuer, account, sealed, replay,
	last_step, failures, nullif(locked_until, 0) - id_ms(id), nullif(created_at, 0) - id_ms(id), nullif(updated_at, 0) - id_ms(id)
FROM factors ORDER BY id;

DROP TABLE factors;
ALTER TABLE new_factors RENAME TO factors;
CREATE INDEX factors_by_user ON factors (user_hash, hi, lo) WHERE user_hash IS NOT NULL;

CREATE TABLE new_challenges (
	hi          INTEGER NOT NULL,
	lo          INTEGER NOT NULL,
	factor_hi   INTEGER NOT NULL,
	factor_lo   INTEGER NOT NULL,
	code_mac    BLOB,
	sealed_code BLOB,
	messages    BLOB,
	attempts    INTEGER NOT NULL,
	created     INTEGER,
	updated     INTEGER,
	expires     INTEGER,
	verified    INTEGER,
	PRIMARY KEY (hi, lo)
) STRICT, WITHOUT ROWID;

INSERT INTO new_challenges
SELECT id_hi(id), id_lo(id), id_hi(factor), id_lo(factor), code_mac, sealed_code, messages, attempts,
	nullif(created_at, 0) - id_ms(id), nullif(updated_at, 0) - id_ms(id),
	nullif(expires_at, 0) - id_ms(id), nullif(verified_at, 0) - id_ms(id)
FROM challenges ORDER BY id;

DROP TABLE challenges;
ALTER TABLE new_challenges RENAME TO challenges;

CREATE TABLE new_events (
	hi           INTEGER NOT NULL,
	lo           INTEGER NOT NULL,
	environment  INTEGER NOT NULL,
	type         ANY     NOT NULL,
	factor_hi    INTEGER, -- of none: NULL
	factor_lo    INTEGER,
	challenge_hi INTEGER,
	challenge_lo INTEGER,
	reason       ANY,
	PRIMARY KEY (hi, lo)
) STRICT, WITHOUT ROWID;

INSERT INTO new_events
SELECT id_hi(id), id_lo(id), environment, word(type), id_hi(factor), id_lo(factor), id_hi(challenge), id_lo(challenge), word(reason)
FROM events ORDER BY id;

DROP TABLE events;
ALTER TABLE new_events RENAME TO events;

ALTER TABLE messages ADD COLUMN challenge_hi INTEGER; -- NULL while only a receipt is known
ALTER TABLE messages ADD COLUMN challenge_lo INTEGER;
UPDATE messages SET challenge_hi = id_hi(challenge), challenge_lo = id_lo(challenge);
ALTER TABLE messages DROP COLUMN challenge;

ALTER TABLE replays ADD COLUMN about_hi INTEGER; -- what the answer shows as new: a factor or a challenge
ALTER TABLE replays ADD COLUMN about_lo INTEGER;
UPDATE replays SET about_hi = id_hi(factor), about_lo = id_lo(factor);
ALTER TABLE replays DROP COLUMN factor;
