-- One-time codes that operators issue, at most one for each person (docs/adr/0032-operator-actions-on-factors.md).
-- The key is a hash of the user, or of a factor without a user.
CREATE TABLE bypasses (
	bucket     smallint    NOT NULL,
	key        bytea       NOT NULL,
	code_mac   bytea       NOT NULL,
	guesses    integer     NOT NULL,
	created_at timestamptz NOT NULL,
	expires_at timestamptz NOT NULL,
	operator   text,
	reason     text,
	PRIMARY KEY (bucket, key)
);

CREATE INDEX bypasses_by_expiry ON bypasses (bucket, expires_at);
