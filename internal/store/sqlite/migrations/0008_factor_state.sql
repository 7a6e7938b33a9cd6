-- The state of a factor (docs/adr/0032-operator-actions-on-factors.md): milliseconds since the
-- time of its id, NULL for never.
ALTER TABLE factors ADD COLUMN last_used INTEGER;
ALTER TABLE factors ADD COLUMN suspended INTEGER;
