-- Events are found by factor and by challenge (docs/adr/0031-events-by-subject.md).
SET LOCAL citus.multi_shard_modify_mode = 'sequential';

CREATE INDEX events_by_factor ON events (factor, id) WHERE factor IS NOT NULL;
CREATE INDEX events_by_challenge ON events (challenge) WHERE challenge IS NOT NULL;
