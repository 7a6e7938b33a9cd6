-- Events that people can read, in a total order (docs/adr/0027-order-of-events.md).

-- Distributed tables can be changed in several ways in one transaction only like this.
SET LOCAL citus.multi_shard_modify_mode = 'sequential';

ALTER TABLE events ADD COLUMN at timestamptz; -- NULL in older rows, whose id has the time
ALTER TABLE events ADD COLUMN kind text;      -- of the factor
ALTER TABLE events ADD COLUMN caller text;
ALTER TABLE events ADD COLUMN request text;

UPDATE events SET type = CASE type
	WHEN 'user.locked' THEN 'factor.user_locked'
	WHEN 'user.unlocked' THEN 'factor.user_unlocked'
	WHEN 'challenge.succeeded' THEN 'authentication.mfa_succeeded'
	WHEN 'challenge.failed' THEN 'authentication.mfa_failed'
	WHEN 'sms.prefix_paused' THEN 'message.prefix_paused'
	WHEN 'sms.prefix_released' THEN 'message.prefix_released'
	WHEN 'sms.daily_limit_reached' THEN 'message.daily_limit_reached'
	ELSE type END,
	-- The reason of an enrollment was the kind.
	reason = CASE WHEN type <> 'factor.enrolled' THEN reason END,
	kind = CASE WHEN type = 'factor.enrolled' THEN reason END
WHERE type IN ('factor.enrolled', 'user.locked', 'user.unlocked', 'challenge.succeeded', 'challenge.failed',
	'sms.prefix_paused', 'sms.prefix_released', 'sms.daily_limit_reached');

-- Readers follow the events of an environment in the order of their ids.
ALTER TABLE events DROP CONSTRAINT events_pkey;
ALTER TABLE events ADD PRIMARY KEY (environment, id, bucket);

-- Personal data of events, sealed. person is a keyed hash of the user, or of the factor of a
-- person without a user id; erasure deletes the rows of a person.
CREATE TABLE event_contexts (
	bucket smallint NOT NULL,
	id     uuid     NOT NULL, -- of the event
	person bytea    NOT NULL,
	sealed bytea    NOT NULL,
	PRIMARY KEY (id, bucket)
);

CREATE INDEX event_contexts_by_person ON event_contexts (bucket, person);

-- The users of deleted factors, sealed, until the erasure of their persons.
CREATE TABLE deleted_factors (
	bucket     smallint    NOT NULL,
	id         uuid        NOT NULL,
	person     bytea       NOT NULL,
	sealed     bytea       NOT NULL,
	expires_at timestamptz NOT NULL, -- when the last event of the factor has expired
	PRIMARY KEY (bucket, id)
);

CREATE INDEX deleted_factors_by_person ON deleted_factors (bucket, person);
CREATE INDEX deleted_factors_by_expiry ON deleted_factors (expires_at);

-- Persons whose rows in these two tables are due to be deleted.
CREATE TABLE erasures (
	bucket smallint    NOT NULL,
	person bytea       NOT NULL,
	due_at timestamptz NOT NULL,
	PRIMARY KEY (bucket, person)
);

CREATE INDEX erasures_by_due ON erasures (due_at);

-- The last value is the epoch of new events, in Unix milliseconds. Only event_epoch_advance
-- changes it, and only upward.
-- The functions below do not select from it: transactions forbid sequential scans, so the
-- planner would estimate a high cost for such a SELECT, and compile it.
CREATE SEQUENCE event_epochs MINVALUE 0 START 0 MAXVALUE 281474976710655;
SELECT setval('event_epochs', 0);
-- Counts the transactions that may append events. 40 bits of an id have room for it.
CREATE SEQUENCE event_positions MINVALUE 0 START 0 MAXVALUE 1099511627775 CYCLE;

-- event_epoch_advance moves the epoch on to the time, or at least to minimum, if it is behind
-- by 50 ms, or in any case if forced. It does nothing while another transaction does the same.
CREATE FUNCTION event_epoch_advance(forced boolean, minimum bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	epoch bigint;
	present bigint := greatest(minimum, extract(epoch FROM clock_timestamp()) * 1000);
BEGIN
	IF NOT pg_try_advisory_xact_lock(1668246884, 0) THEN
		RETURN;
	END IF;
	epoch := pg_sequence_last_value('event_epochs');
	IF forced OR present >= epoch + 50 THEN
		PERFORM setval('event_epochs', greatest(epoch + 1, present));
	END IF;
END $$;

-- event_position gives a transaction its place in the order of events: its epoch, and a
-- number that grows from transaction to transaction. A shared lock on the epoch shows readers
-- that the transaction has not ended.
CREATE FUNCTION event_position(OUT epoch bigint, OUT n bigint) LANGUAGE plpgsql AS $$
BEGIN
	LOOP
		epoch := pg_sequence_last_value('event_epochs');
		IF extract(epoch FROM clock_timestamp()) * 1000 >= epoch + 50 THEN
			PERFORM event_epoch_advance(false, 0);
			epoch := pg_sequence_last_value('event_epochs');
		END IF;
		PERFORM pg_advisory_xact_lock_shared(1668246885, (epoch & 2147483647)::integer);
		-- A reader that has moved the epoch on before the lock did not see the lock.
		EXIT WHEN epoch = pg_sequence_last_value('event_epochs');
	END LOOP;
	n := nextval('event_positions');
END $$;

-- event_watermark moves the epoch on and returns an epoch: the events of all earlier epochs
-- are committed, or will never be. They are visible to statements that begin afterwards.
CREATE FUNCTION event_watermark() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	epoch bigint;
	oldest bigint;
BEGIN
	PERFORM event_epoch_advance(true, 0);
	epoch := pg_sequence_last_value('event_epochs');
	-- A lock has the lower 31 bits of its epoch.
	SELECT max((epoch - objid::bigint) & 2147483647) INTO oldest FROM pg_locks
		WHERE locktype = 'advisory' AND classid = 1668246885 AND objsubid = 2 AND granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
	RETURN epoch - coalesce(oldest, 0);
END $$;
