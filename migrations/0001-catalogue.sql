-- Owner: src/postgres/catalogue.ts
-- What changes seldom and every request reads. Each change raises the version, which is what processes trust; NOTIFY
-- only hurries them.
CREATE TABLE catalogue (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  version bigint NOT NULL DEFAULT 1
);
INSERT INTO catalogue DEFAULT VALUES;
