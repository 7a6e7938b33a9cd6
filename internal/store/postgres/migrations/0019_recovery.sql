-- A user has one set of recovery codes, which is found by the user (docs/adr/0041-recovery-codes.md).
SET LOCAL citus.multi_shard_modify_mode = 'sequential';

CREATE UNIQUE INDEX factors_recovery ON factors (bucket, environment, user_id) WHERE type = 'recovery_codes';
