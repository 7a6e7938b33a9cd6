-- The receipt that the verification of a challenge returns, sealed (docs/adr/0043-receipts.md).
-- A column that may be NULL and has no default changes no stored row.
ALTER TABLE challenges ADD COLUMN receipt bytea;
