-- The kind of the factor when the challenge was created, NULL in older rows. A column that
-- may be NULL and has no default changes no stored row.
ALTER TABLE challenges ADD COLUMN type text;
