-- The marks of the requests that created and verified a challenge, with which their answers
-- are given again without a row in replays (docs/adr/0007-idempotency.md).
ALTER TABLE challenges ADD COLUMN created_key bigint; -- the first bytes of created_by
ALTER TABLE challenges ADD COLUMN created_by bytea;
ALTER TABLE challenges ADD COLUMN verified_by bytea;

CREATE INDEX challenges_by_creation ON challenges (bucket, created_key, id) WHERE created_key IS NOT NULL;
