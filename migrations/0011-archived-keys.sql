-- Owner: src/features/key-rotation/keys.pg.ts. Keys that are published no more and still prove that an ID token was ours
-- (`id_token_hint`, OpenID Connect Core §3.1.2.1).
ALTER TABLE signing_keys ADD COLUMN archived_at timestamptz;
