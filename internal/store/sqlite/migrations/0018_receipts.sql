-- The receipt that the verification of a challenge returns, sealed (docs/adr/0043-receipts.md).
ALTER TABLE challenges ADD COLUMN receipt BLOB;
