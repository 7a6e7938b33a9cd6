-- The order of events on distributed tables (docs/adr/0027-order-of-events.md).

-- Distributed tables can be changed in several ways in one transaction only like this.
SET LOCAL citus.multi_shard_modify_mode = 'sequential';

-- One row for each bucket: a query of all rows reaches every machine that has rows of a
-- distributed table.
CREATE TABLE buckets (bucket smallint PRIMARY KEY);
INSERT INTO buckets SELECT generate_series(0, 1023);

-- event_hold locks the epoch of an event on the machine that stores the event. Its transaction
-- there may outlive the one of event_position. Citus runs only immutable functions in RETURNING.
CREATE FUNCTION event_hold(id uuid) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE
	b bytea := uuid_send(id);
BEGIN
	PERFORM pg_advisory_xact_lock_shared(1668246886,
		((get_byte(b, 2) & 127) << 24) | (get_byte(b, 3) << 16) | (get_byte(b, 4) << 8) | get_byte(b, 5));
	RETURN true;
END $$;

-- event_held reports whether a transaction on this machine, also a prepared one, has a lock on
-- an epoch before this one. It does not see locks that are older than 12 days.
CREATE FUNCTION event_held(before bigint) RETURNS boolean STABLE LANGUAGE plpgsql AS $$
BEGIN
	RETURN EXISTS (SELECT FROM pg_locks
		WHERE locktype = 'advisory' AND classid = 1668246886 AND objsubid = 2 AND granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND (before - 1 - objid::bigint) & 2147483647 < 1073741824);
END $$;

-- The same as before, but a lock on an epoch that began after the first statement does not count.
CREATE OR REPLACE FUNCTION event_watermark() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	epoch bigint;
	oldest bigint;
BEGIN
	PERFORM event_epoch_advance(true, 0);
	epoch := pg_sequence_last_value('event_epochs');
	-- A lock has the lower 31 bits of its epoch.
	SELECT max((epoch - objid::bigint) & 2147483647) INTO oldest FROM pg_locks
		WHERE locktype = 'advisory' AND classid = 1668246885 AND objsubid = 2 AND granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND (epoch - objid::bigint) & 2147483647 < 1073741824;
	RETURN epoch - coalesce(oldest, 0);
END $$;
