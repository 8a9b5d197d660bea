-- Owner: src/features/backchannel-logout/deliveries.pg.ts. OpenID Connect Back-Channel Logout 1.0.

-- Set when the clients of a sign-in that is over have been put in the outbox below.
ALTER TABLE sign_ins ADD COLUMN announced_at timestamptz;
-- What is over and not announced yet: nothing to read while there is nothing to do.
CREATE INDEX sign_ins_ended ON sign_ins (ended_at) WHERE announced_at IS NULL AND ended_at IS NOT NULL;
CREATE INDEX sign_ins_expiring ON sign_ins (expires_at) WHERE announced_at IS NULL;
CREATE INDEX sign_ins_user_id ON sign_ins (user_id);
CREATE INDEX grants_sign_in_id ON grants (sign_in_id);

-- The outbox: facts, no tokens; each attempt signs anew. The id is made of the sign-in's time and a digest of sign-in
-- and client, so that there is one delivery per client and sign-in, however often its end is noticed.
CREATE TABLE logout_deliveries (
  id uuid NOT NULL,
  client_id text NOT NULL,
  user_id uuid NOT NULL,
  sign_in_id uuid NOT NULL,
  created_at timestamptz NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  next_attempt_at timestamptz,
  last_error text,
  delivered_at timestamptz,
  failed_at timestamptz,
  PRIMARY KEY (id)
) PARTITION BY RANGE (id);
CREATE INDEX logout_deliveries_due ON logout_deliveries (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
