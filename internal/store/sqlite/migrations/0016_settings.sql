-- The settings of an environment, as a JSON object; '' if none is set (docs/adr/0038-settings-of-an-environment.md).
ALTER TABLE environments ADD COLUMN settings TEXT NOT NULL DEFAULT '';
