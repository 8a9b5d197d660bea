-- Owner: src/features/key-rotation/keys.pg.ts. RFC 7517. next → active → retired → gone.
CREATE TABLE signing_keys (
  kid text PRIMARY KEY,
  alg text NOT NULL,
  public_jwk jsonb NOT NULL,
  -- PKCS #8 under AES-256-GCM; key_encryption_key names the key that opens it.
  private_key bytea NOT NULL,
  key_encryption_key text NOT NULL,
  created_at timestamptz NOT NULL,
  activated_at timestamptz,
  retired_at timestamptz
);
-- One key of an algorithm signs.
CREATE UNIQUE INDEX signing_keys_active ON signing_keys (alg) WHERE activated_at IS NOT NULL AND retired_at IS NULL;
-- One waits.
CREATE UNIQUE INDEX signing_keys_next ON signing_keys (alg) WHERE activated_at IS NULL AND retired_at IS NULL;

-- Random keys all nodes share (CSRF and the like), made once.
CREATE TABLE shared_keys (
  name text PRIMARY KEY,
  key bytea NOT NULL,
  key_encryption_key text NOT NULL,
  created_at timestamptz NOT NULL
);
