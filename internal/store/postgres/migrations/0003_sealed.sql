-- What names a person is sealed or stored as a keyed hash (docs/adr/0021-what-the-database-holds.md).
-- Rows of an older release are sealed by the program, which has the keys. Recorded
-- answers and message references of an older release expire within a day.

-- The reasons of these events were the beginnings of phone numbers.
UPDATE events SET reason = NULL WHERE type IN ('sms.prefix_paused', 'sms.prefix_released');

-- A user who has no factors left: id is a keyed hash, and the row expires.
ALTER TABLE users ADD COLUMN expires_at timestamptz;
CREATE INDEX users_by_expiry ON users (bucket, expires_at) WHERE expires_at IS NOT NULL;
DELETE FROM users u WHERE NOT EXISTS (
	SELECT FROM factors f WHERE f.bucket = u.bucket AND f.environment = u.environment AND f.user_id = u.id);

ALTER TABLE tallies ADD COLUMN sealed bytea; -- what it counts messages to, sealed; name is its keyed hash
ALTER TABLE factors ADD COLUMN label bytea; -- issuer and account, sealed; replaces the columns issuer and account
