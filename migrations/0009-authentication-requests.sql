-- Owners: src/features/authorization-code/codes.pg.ts, src/features/consent/consents.pg.ts. OpenID Connect Core §3.1.2.1, §5.5.

-- Claims that were asked for by name and allowed, beyond those of the scopes.
ALTER TABLE consents ADD COLUMN claims text[] NOT NULL DEFAULT '{}';
ALTER TABLE pending_authorizations ADD COLUMN consented_claims text[];
-- The `claims` parameter, what of it is known here.
ALTER TABLE grants ADD COLUMN claims jsonb;
-- Confidential clients that are registered with `require_pkce: false`.
ALTER TABLE authorization_codes ALTER COLUMN code_challenge DROP NOT NULL;
