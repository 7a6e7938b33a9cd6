-- Factors are found by the keyed hash of their phone number (docs/adr/0031-events-by-subject.md).
ALTER TABLE factors ADD COLUMN phone BLOB;
CREATE INDEX factors_by_phone ON factors (phone, hi, lo) WHERE phone IS NOT NULL;
