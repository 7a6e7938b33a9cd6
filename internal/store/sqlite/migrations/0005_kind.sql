-- The kind of the factor when the challenge was created, NULL in older rows.
ALTER TABLE challenges ADD COLUMN type ANY;
