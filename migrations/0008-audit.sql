-- Owner: src/postgres/audit.pg.ts. What happened, for people who must find out later. No secrets, no tokens.
CREATE TABLE audit (
  id uuid NOT NULL,
  at timestamptz NOT NULL,
  event text NOT NULL,
  request_id text,
  client_id text,
  user_id uuid,
  grant_id uuid,
  source text,
  -- Equal refusals within one minute are one row.
  times integer NOT NULL DEFAULT 1,
  detail jsonb,
  PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX audit_client_id ON audit (client_id);
CREATE INDEX audit_user_id ON audit (user_id);
