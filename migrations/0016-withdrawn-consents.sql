-- Owner: src/features/consent/consents.pg.ts; for src/postgres/ledger.pg.ts.
-- Whether a grant stands asks how often its consent was withdrawn, for most never: those that were are few enough to stay in the
-- processor's caches, where one look-up among all consents of all people reads two pages that nobody read before.
CREATE INDEX consents_withdrawn ON consents (user_id, client_id) INCLUDE (epoch) WHERE epoch > 0;
