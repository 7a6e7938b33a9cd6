-- Statistics, counted from the events (docs/adr/0033-statistics.md). All rows of an environment
-- are in one bucket.

ALTER TABLE events ADD COLUMN message bytea; -- provider, country, prefix and segments of the message that it is about

-- The counts of one hour in one row: a line for each group of events.
CREATE TABLE statistics (
	bucket      smallint    NOT NULL,
	environment bigint      NOT NULL,
	series      text        NOT NULL,
	start       timestamptz NOT NULL, -- of the hour
	counts      bytea       NOT NULL,
	PRIMARY KEY (bucket, environment, series, start)
) WITH (fillfactor = 70);

-- All events of an environment up to a position are counted. Environment -1 stands for the
-- work that concerns all environments.
CREATE TABLE statistics_positions (
	bucket       smallint NOT NULL,
	environment  bigint   NOT NULL,
	position     uuid,
	leased_by    uuid,
	leased_until timestamptz,
	PRIMARY KEY (bucket, environment)
) WITH (fillfactor = 50);
