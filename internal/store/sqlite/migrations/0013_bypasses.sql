-- One-time codes that operators issue, at most one for each person (docs/adr/0032-operator-actions-on-factors.md).
-- The key is a hash of the user, or of a factor without a user. Times are milliseconds since 1970.
CREATE TABLE bypasses (
	bucket     INTEGER NOT NULL,
	key        BLOB    NOT NULL,
	code_mac   BLOB    NOT NULL,
	guesses    INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	expires_at INTEGER NOT NULL,
	operator   TEXT,
	reason     TEXT,
	PRIMARY KEY (bucket, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX bypasses_by_expiry ON bypasses (expires_at);
