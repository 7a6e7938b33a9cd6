-- Factors are found by the keyed hash of their phone number (docs/adr/0031-events-by-subject.md).
SET LOCAL citus.multi_shard_modify_mode = 'sequential';

ALTER TABLE factors ADD COLUMN phone bytea;
CREATE INDEX factors_by_phone ON factors (phone, id) WHERE phone IS NOT NULL;
