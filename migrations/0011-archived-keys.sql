-- Owner: src/features/key-rotation/keys.pg.ts. Keys that are published no more and still prove that an ID token was ours
-- (`id_token_hint`, OpenID Connect Core §3.1.2.1).
-- Their private part is forgotten: it could only sign what nobody should take.
ALTER TABLE signing_keys
  ADD COLUMN archived_at timestamptz,
  ALTER COLUMN private_key DROP NOT NULL,
  ALTER COLUMN key_encryption_key DROP NOT NULL,
  ADD CONSTRAINT signing_keys_archived CHECK (
    (archived_at IS NULL) = (private_key IS NOT NULL) AND (archived_at IS NULL) = (key_encryption_key IS NOT NULL));
