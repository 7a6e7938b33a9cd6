-- Factors that are not verified in time are removed (docs/adr/0045-unverified-factors.md). The factors
-- of earlier releases have no such time.
ALTER TABLE factors ADD COLUMN expires_at INTEGER;
CREATE INDEX factors_expiring ON factors (expires_at) WHERE expires_at IS NOT NULL;
