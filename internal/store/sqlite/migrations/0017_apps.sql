-- How the app of a totp factor makes codes, and its clock (docs/adr/0044-authenticator-apps.md).
ALTER TABLE factors ADD COLUMN app INTEGER;
ALTER TABLE factors ADD COLUMN missed_step INTEGER;
