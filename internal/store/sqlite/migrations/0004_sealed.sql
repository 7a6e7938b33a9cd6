-- What names a person is sealed or stored as a keyed hash (docs/adr/0021-what-the-database-holds.md).
-- Rows of an older release are sealed by the program, which has the keys.

ALTER TABLE factors ADD COLUMN label BLOB; -- issuer and account, sealed; replaces the columns issuer and account
ALTER TABLE tallies ADD COLUMN sealed BLOB; -- what it counts messages to, sealed; name is its keyed hash

-- A user who has no factors left: id is a keyed hash, and the row expires.
ALTER TABLE users ADD COLUMN bucket INTEGER; -- of the user
ALTER TABLE users ADD COLUMN expires_at INTEGER;
CREATE INDEX users_by_expiry ON users (expires_at) WHERE expires_at IS NOT NULL;
DELETE FROM users WHERE NOT EXISTS (SELECT 1 FROM factors f
	WHERE f.user_hash = user_hash(users.environment, users.id) AND f.environment = users.environment AND f.user_id = users.id);

-- Keys of these records were hashes without a key, by which a request could be found by trial.
DELETE FROM replays;
DELETE FROM messages;

-- The reasons of these events were the beginnings of phone numbers.
UPDATE events SET reason = NULL WHERE type IN (word('sms.prefix_paused'), word('sms.prefix_released'));
