-- Owner: src/postgres/clients.pg.ts. RFC 7591 metadata; RFC 6749 §2.
-- A deleted client leaves its row behind, empty: an id is never given to somebody else, so no old grant can revive.
CREATE TABLE clients (
  id text PRIMARY KEY,
  metadata jsonb NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  disabled_at timestamptz,
  deleted_at timestamptz
);

-- 256 bits from the generator each, so SHA-256 is enough. Several with an end each: rotation without an outage.
CREATE TABLE client_secrets (
  id uuid PRIMARY KEY,
  client_id text NOT NULL REFERENCES clients (id),
  hash bytea NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz
);
CREATE INDEX client_secrets_client_id ON client_secrets (client_id);

-- Origins whose browser code may call us for some client (CORS preflights do not say which).
CREATE TABLE client_origins (
  origin text NOT NULL,
  client_id text NOT NULL REFERENCES clients (id),
  PRIMARY KEY (origin, client_id)
);

-- Our own copies of clients' logos: a picture fetched from the client would tell it who is looking.
CREATE TABLE client_logos (
  client_id text PRIMARY KEY REFERENCES clients (id),
  media_type text NOT NULL,
  bytes bytea NOT NULL,
  digest text NOT NULL
);
