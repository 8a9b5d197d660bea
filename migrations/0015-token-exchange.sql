-- Owners: src/postgres/exchange-policies.pg.ts, src/postgres/trust-domains.pg.ts, src/postgres/exchanges.pg.ts. RFC 8693, RFC 7523 §2.1.

-- Who may act on tokens for which API towards which other one. Nothing here is allowed by anything else: default deny.
CREATE TABLE exchange_policies (
  name text PRIMARY KEY,
  client_id text NOT NULL REFERENCES clients (id),
  source text NOT NULL,
  target text NOT NULL,
  metadata jsonb NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  -- One answer for one question.
  UNIQUE (client_id, source, target)
);

-- Other authorization servers whose tokens are taken here, or for whom we make grants (OAuth Identity and Authorization Chaining).
CREATE TABLE trust_domains (
  issuer text PRIMARY KEY,
  metadata jsonb NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);

-- Each hop of each call: the token that was made from another one, or the refusal to make it. The id is the `jti`.
CREATE TABLE exchanges (
  id uuid NOT NULL,
  -- Of an opaque token; a signed one has none.
  secret_hash bytea,
  -- The same for all that came from one first token: its `jti`, or what another domain said.
  txn text NOT NULL,
  parent text NOT NULL,
  client_id text NOT NULL,
  -- The `sub` of the first token.
  subject text NOT NULL,
  user_id uuid,
  grant_id uuid,
  -- Grants of people who act.
  actor_grants uuid[] NOT NULL DEFAULT '{}',
  -- Every token it came from, and every client it went through: one of them ended, it is over.
  lineage uuid[] NOT NULL DEFAULT '{}',
  clients text[] NOT NULL DEFAULT '{}',
  hops jsonb NOT NULL,
  act jsonb,
  origin jsonb NOT NULL,
  authentication jsonb,
  policy text,
  source text,
  target text NOT NULL,
  scope text[] NOT NULL DEFAULT '{}',
  audience text[] NOT NULL DEFAULT '{}',
  cnf jsonb,
  issued_token_type text,
  issued_at timestamptz NOT NULL,
  expires_at timestamptz,
  -- The rule that refused it; equal refusals of a minute are one row.
  refused text,
  times integer NOT NULL DEFAULT 1,
  request_id text,
  PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX exchanges_txn ON exchanges (txn);
