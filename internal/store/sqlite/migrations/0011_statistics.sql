-- Statistics, counted from the events (docs/adr/0033-statistics.md).

ALTER TABLE events ADD COLUMN message BLOB; -- provider, country, prefix and segments of the message that it is about

-- The counts of one hour in one row: a line for each group of events.
CREATE TABLE statistics (
	environment INTEGER NOT NULL,
	series      TEXT    NOT NULL,
	start       INTEGER NOT NULL, -- of the hour, in milliseconds since 1970
	counts      BLOB    NOT NULL,
	PRIMARY KEY (environment, series, start)
) STRICT, WITHOUT ROWID;

-- All events of an environment up to a position are counted. Environment -1 stands for the
-- work that concerns all environments.
CREATE TABLE statistics_positions (
	environment  INTEGER PRIMARY KEY,
	position_hi  INTEGER,
	position_lo  INTEGER,
	leased_by_hi INTEGER,
	leased_by_lo INTEGER,
	leased_until INTEGER NOT NULL
) STRICT;
