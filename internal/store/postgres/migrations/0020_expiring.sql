-- Factors that are not verified in time are removed (docs/adr/0045-unverified-factors.md). The factors
-- of earlier releases have no such time.
SET LOCAL citus.multi_shard_modify_mode = 'sequential';

ALTER TABLE factors ADD COLUMN expires_at timestamptz;
CREATE INDEX factors_expiring ON factors (expires_at) WHERE expires_at IS NOT NULL;
