-- Owners: src/postgres/replay-marks.pg.ts (RFC 7523 §3, RFC 9449 §11.1), src/postgres/ledger.pg.ts (RFC 7800, RFC 9449, RFC 8705),
-- src/features/par/pushed-requests.pg.ts (RFC 9126).

-- What was used once. A logged table: a crash must not open the door to a replay.
CREATE TABLE replay_marks (
  id uuid NOT NULL,
  PRIMARY KEY (id)
) PARTITION BY RANGE (id);

-- The key a token is bound to, as its `cnf` says it.
ALTER TABLE access_tokens ADD COLUMN cnf jsonb;
ALTER TABLE refresh_tokens ADD COLUMN cnf jsonb;
ALTER TABLE authorization_codes ADD COLUMN dpop_jkt text;

CREATE TABLE pushed_requests (
  id uuid NOT NULL,
  secret_hash bytea NOT NULL,
  client_id text NOT NULL,
  parameters jsonb NOT NULL,
  -- Digest of what the client was registered for when it was checked.
  registration bytea NOT NULL,
  expires_at timestamptz NOT NULL,
  consumed_at timestamptz,
  PRIMARY KEY (id)
) PARTITION BY RANGE (id);
ALTER TABLE pending_authorizations ADD COLUMN pushed_request_id uuid;
