-- The marks of the requests that created and verified a challenge, with which their answers
-- are given again without a row in replays (docs/adr/0007-idempotency.md).
ALTER TABLE challenges ADD COLUMN created_key INTEGER; -- the first bytes of created_by
ALTER TABLE challenges ADD COLUMN created_by BLOB;
ALTER TABLE challenges ADD COLUMN verified_by BLOB;

CREATE INDEX challenges_by_creation ON challenges (created_key) WHERE created_key IS NOT NULL;
