-- Owner: src/postgres/resources.pg.ts. RFC 8707.
CREATE TABLE resources (
  resource text PRIMARY KEY,
  metadata jsonb NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);

-- A scope name belongs to one resource: the primary key says so.
CREATE TABLE resource_scopes (
  scope text PRIMARY KEY,
  resource text NOT NULL REFERENCES resources (resource) ON DELETE CASCADE
);
CREATE INDEX resource_scopes_resource ON resource_scopes (resource);
