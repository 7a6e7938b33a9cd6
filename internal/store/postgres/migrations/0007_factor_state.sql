-- The state of a factor (docs/adr/0032-operator-actions-on-factors.md). Columns that may be
-- NULL and have no default change no stored row.
ALTER TABLE factors ADD COLUMN last_used_at timestamptz;
ALTER TABLE factors ADD COLUMN suspended_at timestamptz;
