-- How the app of a totp factor makes codes, and its clock (docs/adr/0044-authenticator-apps.md).
-- Columns that may be NULL and have no default change no stored row.
ALTER TABLE factors ADD COLUMN app integer;
ALTER TABLE factors ADD COLUMN missed_step bigint;
