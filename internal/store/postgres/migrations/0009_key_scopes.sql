-- Keys have a name, scopes, an expiry and a last use (docs/adr/0034-operator-api.md). Scopes are
-- the bits of access.AllScopes in its order: 3 is api and events:read, which is all that a
-- key could do before. environment is NULL for an operator key of all environments; nodes of
-- an older release do not see such keys.

ALTER TABLE api_keys
	ADD COLUMN name         text        NOT NULL DEFAULT '',
	ADD COLUMN scopes       smallint    NOT NULL DEFAULT 3,
	ADD COLUMN expires_at   timestamptz,
	ADD COLUMN last_used_at timestamptz,
	ALTER COLUMN environment DROP NOT NULL;
