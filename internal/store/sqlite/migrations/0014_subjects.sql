-- Events are found by factor and by challenge (docs/adr/0031-events-by-subject.md).

-- Challenges are new when their events arrive, so this index grows at its end. Few ids have the
-- same upper half.
CREATE INDEX events_by_challenge ON events (challenge_hi, hi, lo) WHERE challenge_hi IS NOT NULL;

-- The events of factors, sorted by factor in segments of an environment. The program adds a
-- segment when enough new events are stored. Between the end of the last segment and the end of
-- the log, events are found by their position.
CREATE TABLE event_segments (
	environment INTEGER NOT NULL,
	segment     INTEGER NOT NULL, -- counts up
	end_hi      INTEGER NOT NULL, -- the position of its last event
	end_lo      INTEGER NOT NULL,
	PRIMARY KEY (environment, segment)
) STRICT, WITHOUT ROWID;

CREATE TABLE event_subjects (
	environment INTEGER NOT NULL,
	segment     INTEGER NOT NULL,
	factor_hi   INTEGER NOT NULL, -- the upper half of the factor's id
	hi          INTEGER NOT NULL, -- of the event
	lo          INTEGER NOT NULL,
	PRIMARY KEY (environment, segment, factor_hi, hi, lo)
) STRICT, WITHOUT ROWID;
