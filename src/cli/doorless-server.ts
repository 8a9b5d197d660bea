/** An authorization server without doors: for commands that read tokens as the server would, and issue none. */
import { buildKeyring, keyring } from '../features/key-rotation/keyring.ts';
import { postgresKeys } from '../features/key-rotation/keys.pg.ts';
import { CachedRemoteKeys } from '../outgoing/remote-keys.ts';
import { PostgresCatalogue } from '../postgres/catalogue.ts';
import { postgresExchanges } from '../postgres/exchanges.pg.ts';
import { postgresLedger } from '../postgres/ledger.pg.ts';
import { postgresPendingAuthorizations } from '../postgres/pending-authorizations.pg.ts';
import { postgresReplayMarks } from '../postgres/replay-marks.pg.ts';
import { postgresSessions } from '../postgres/sessions.pg.ts';
import { allSharedKeys } from '../postgres/shared-keys.pg.ts';
import type { AuthorizationServer } from '../protocol/authorization-server.ts';
import { assembledFor, type Workplace } from './workplace.ts';

/** @throws ConfigurationError when there is no key-encryption key to be had, Error when it does not open the keys */
export async function doorlessServer(place: Workplace): Promise<AuthorizationServer> {
  const { database, context, issuer, profile, passwords, allowLoopbackFetch } = place;
  const encryption = await place.encryption();
  const keys = buildKeyring(await postgresKeys(database).list(), encryption);
  return {
    issuer,
    profile,
    context,
    registries: assembledFor(database, profile, passwords, context),
    // Never started: it reads what there is once.
    catalogue: new PostgresCatalogue({ database, directUrl: '', profile }),
    keyring: keyring(async () => keys),
    ledger: postgresLedger(database),
    exchanges: postgresExchanges(database),
    replayMarks: postgresReplayMarks(database),
    sessions: postgresSessions(database, profile.lifetimes.sessionIdle * 1000),
    pendingAuthorizations: postgresPendingAuthorizations(database),
    remoteKeys: new CachedRemoteKeys(context, allowLoopbackFetch),
    sharedKeys: await allSharedKeys(database, encryption, context),
  };
}
