-- Owner: src/postgres/sessions.pg.ts. OpenID Connect Core §3.1.2.3.
-- A session is a browser; a sign-in is a person in it. Partitioned by the time in the id (src/postgres/partitions.ts).
CREATE TABLE sessions (
  id uuid NOT NULL,
  secret_hash bytea NOT NULL,
  created_at timestamptz NOT NULL,
  last_used_at timestamptz NOT NULL,
  ended_at timestamptz,
  PRIMARY KEY (id)
) PARTITION BY RANGE (id);

CREATE TABLE sign_ins (
  id uuid NOT NULL,
  session_id uuid NOT NULL,
  user_id uuid NOT NULL,
  user_epoch integer NOT NULL,
  auth_time timestamptz NOT NULL,
  acr text NOT NULL,
  amr text[] NOT NULL,
  expires_at timestamptz NOT NULL,
  ended_at timestamptz,
  PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX sign_ins_session_id ON sign_ins (session_id);

-- Owner: src/postgres/pending-authorizations.pg.ts. One request between its arrival and its answer.
CREATE TABLE pending_authorizations (
  id uuid NOT NULL,
  -- SHA-256 of the browser cookie it belongs to.
  browser_hash bytea,
  client_id text NOT NULL,
  parameters jsonb NOT NULL,
  expires_at timestamptz NOT NULL,
  signed_in_at timestamptz,
  sign_in_id uuid,
  consented_at timestamptz,
  consented_by uuid,
  consented_scope text[],
  denied_at timestamptz,
  closed_at timestamptz,
  PRIMARY KEY (id)
) PARTITION BY RANGE (id);

-- Owner: src/features/consent/consents.pg.ts. What a person lets a client do, remembered.
CREATE TABLE consents (
  user_id uuid NOT NULL REFERENCES users (id),
  client_id text NOT NULL REFERENCES clients (id),
  scope text[] NOT NULL,
  granted_at timestamptz NOT NULL,
  -- Raised when it is taken back: grants of an earlier epoch are dead.
  epoch integer NOT NULL DEFAULT 0,
  revoked_at timestamptz,
  PRIMARY KEY (user_id, client_id)
);
