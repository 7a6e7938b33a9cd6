-- Events that people can read, in a total order (docs/adr/0027-order-of-events.md).
--
-- An event's id is its position among the events of its environment. Older events have
-- random bits in their ids after the time, so they sort by time. The renamed types have the
-- numbers that they had before; see words.go.

CREATE TABLE new_events (
	environment  INTEGER NOT NULL,
	hi           INTEGER NOT NULL,
	lo           INTEGER NOT NULL,
	type         ANY     NOT NULL,
	factor_hi    INTEGER, -- NULL for an event without a factor
	factor_lo    INTEGER,
	challenge_hi INTEGER,
	challenge_lo INTEGER,
	reason       ANY,
	at           INTEGER, -- milliseconds since the time of the id; NULL in older rows, whose id has the time
	kind         ANY,     -- of the factor
	caller       TEXT,
	request      TEXT,
	PRIMARY KEY (environment, hi, lo)
) STRICT, WITHOUT ROWID;

-- The reason of an enrollment was the kind.
INSERT INTO new_events (environment, hi, lo, type, factor_hi, factor_lo, challenge_hi, challenge_lo, reason, kind)
SELECT environment, hi, lo, word(type), factor_hi, factor_lo, challenge_hi, challenge_lo,
	CASE WHEN word(type) <> word('factor.enrolled') THEN reason END, CASE WHEN word(type) = word('factor.enrolled') THEN reason END
FROM events ORDER BY environment, hi, lo;

DROP TABLE events;
ALTER TABLE new_events RENAME TO events;

-- Personal data of events, sealed. person is a keyed hash of the user, or of the factor of a
-- person without a user id; erasure deletes the rows of a person.
CREATE TABLE event_contexts (
	hi     INTEGER NOT NULL, -- of the event
	lo     INTEGER NOT NULL,
	person BLOB    NOT NULL,
	sealed BLOB    NOT NULL,
	PRIMARY KEY (hi, lo)
) STRICT, WITHOUT ROWID;

CREATE INDEX event_contexts_by_person ON event_contexts (person);

-- The users of deleted factors, sealed, until the erasure of their persons.
CREATE TABLE deleted_factors (
	hi         INTEGER NOT NULL,
	lo         INTEGER NOT NULL,
	person     BLOB    NOT NULL,
	sealed     BLOB    NOT NULL,
	expires_at INTEGER NOT NULL, -- when the last event of the factor has expired
	PRIMARY KEY (hi, lo)
) STRICT, WITHOUT ROWID;

CREATE INDEX deleted_factors_by_person ON deleted_factors (person);
CREATE INDEX deleted_factors_by_expiry ON deleted_factors (expires_at);

-- Persons whose rows in these two tables are due to be deleted.
CREATE TABLE erasures (
	bucket INTEGER NOT NULL,
	person BLOB    NOT NULL,
	due_at INTEGER NOT NULL,
	PRIMARY KEY (bucket, person)
) STRICT, WITHOUT ROWID;

CREATE INDEX erasures_by_due ON erasures (due_at);
