-- Owner: src/postgres/ledger.pg.ts. One grant is one authorization: the root of its code, refresh tokens and access
-- tokens. Partitioned by the time in the id; no foreign keys to or from partitioned tables, so partitions can be
-- dropped.
CREATE TABLE grants (
  id uuid NOT NULL,
  client_id text NOT NULL,
  user_id uuid NOT NULL,
  user_epoch integer NOT NULL,
  consent_epoch integer NOT NULL,
  sign_in_id uuid NOT NULL,
  -- Ends with the sign-in (openid without offline_access).
  session_bound boolean NOT NULL,
  scope text[] NOT NULL,
  resources text[] NOT NULL,
  auth_time timestamptz NOT NULL,
  acr text NOT NULL,
  amr text[] NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz,
  revoked_because text,
  PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX grants_user_id ON grants (user_id);

-- RFC 6749 §4.1.2, RFC 7636.
CREATE TABLE authorization_codes (
  id uuid NOT NULL,
  secret_hash bytea NOT NULL,
  grant_id uuid NOT NULL,
  client_id text NOT NULL,
  redirect_uri text NOT NULL,
  code_challenge text NOT NULL,
  nonce text,
  expires_at timestamptz NOT NULL,
  redeemed_at timestamptz,
  PRIMARY KEY (id)
) PARTITION BY RANGE (id);

-- RFC 6749 §6, OAuth 2.1 §4.3. A rotated one keeps its successor sealed under its own secret.
CREATE TABLE refresh_tokens (
  id uuid NOT NULL,
  secret_hash bytea NOT NULL,
  grant_id uuid NOT NULL,
  client_id text NOT NULL,
  scope text[] NOT NULL,
  issued_at timestamptz NOT NULL,
  last_used_at timestamptz,
  expires_at timestamptz NOT NULL,
  rotated_at timestamptz,
  successor bytea,
  PRIMARY KEY (id)
) PARTITION BY RANGE (id);

-- Opaque access tokens; signed ones are not stored.
CREATE TABLE access_tokens (
  id uuid NOT NULL,
  secret_hash bytea NOT NULL,
  grant_id uuid,
  client_id text NOT NULL,
  scope text[] NOT NULL,
  audience text[] NOT NULL,
  issued_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz,
  PRIMARY KEY (id)
) PARTITION BY RANGE (id);

-- Signed access tokens that were revoked before their time; id is their jti.
CREATE TABLE revocation_marks (
  id uuid NOT NULL,
  revoked_at timestamptz NOT NULL,
  PRIMARY KEY (id)
) PARTITION BY RANGE (id);
