-- Owners: src/postgres/ledger.pg.ts, src/postgres/resources.pg.ts. RFC 9396.
-- What was granted, and what an opaque token carries of it.
ALTER TABLE grants ADD COLUMN authorization_details jsonb;
ALTER TABLE access_tokens ADD COLUMN authorization_details jsonb;

-- A type belongs to one resource: the primary key says so.
CREATE TABLE authorization_details_types (
  type text PRIMARY KEY,
  resource text NOT NULL REFERENCES resources (resource) ON DELETE CASCADE
);
CREATE INDEX authorization_details_types_resource ON authorization_details_types (resource);
