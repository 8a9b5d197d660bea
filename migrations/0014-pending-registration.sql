-- Owner: src/postgres/pending-authorizations.pg.ts.
-- Digest of the registration that the request was checked against; of older ones, which are over soon, it is not known.
ALTER TABLE pending_authorizations ADD COLUMN registration bytea;
