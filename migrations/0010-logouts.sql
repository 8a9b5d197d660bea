-- Owner: src/features/backchannel-logout/deliveries.pg.ts. OpenID Connect Back-Channel Logout 1.0.

-- Set when the clients of a sign-in that is over have been put in the outbox below; it has ended for good then.
ALTER TABLE sign_ins ADD COLUMN announced_at timestamptz;
-- What is over and not announced yet: nothing to read while there is nothing to do.
CREATE INDEX sign_ins_over ON sign_ins (least(ended_at, expires_at)) WHERE announced_at IS NULL;
CREATE INDEX sign_ins_user_id ON sign_ins (user_id);
CREATE INDEX grants_sign_in_id ON grants (sign_in_id);

-- The outbox: facts, no tokens; each attempt signs anew. The key is the client's latest grant of the sign-in: however
-- often an end is noticed it is one delivery, and a client that came back after it was told gets another one. Partitioned
-- by the time in that id.
CREATE TABLE logout_deliveries (
  grant_id uuid NOT NULL,
  client_id text NOT NULL,
  user_id uuid NOT NULL,
  sign_in_id uuid NOT NULL,
  queued_at timestamptz NOT NULL,
  attempts integer NOT NULL DEFAULT 0,
  -- NULL once it is settled. While an attempt is under way: when somebody else may make the next one.
  next_attempt_at timestamptz,
  last_error text,
  delivered_at timestamptz,
  failed_at timestamptz,
  PRIMARY KEY (grant_id)
) PARTITION BY RANGE (grant_id);
CREATE INDEX logout_deliveries_due ON logout_deliveries (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
