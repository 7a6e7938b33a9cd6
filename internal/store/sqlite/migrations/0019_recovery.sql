-- A user has one set of recovery codes, which is found by the user (docs/adr/0041-recovery-codes.md).
-- The type is stored as text, because words.go does not have it.
CREATE UNIQUE INDEX factors_recovery ON factors (environment, user_id) WHERE type = 'recovery_codes';
