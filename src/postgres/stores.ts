/** The stores that every authorization server has, with doors (server.ts) and without (cli/doorless-server.ts). */
import type { AuthorizationServer } from '../protocol/authorization-server.ts';
import type { Context } from '../protocol/context.ts';
import type { KeyEncryption } from '../protocol/key-encryption.ts';
import type { Profile } from '../protocol/profile.ts';
import type { Sql } from './database.ts';
import { postgresExchanges } from './exchanges.pg.ts';
import { postgresLedger } from './ledger.pg.ts';
import { postgresPendingAuthorizations } from './pending-authorizations.pg.ts';
import { postgresReplayMarks } from './replay-marks.pg.ts';
import { postgresSessions } from './sessions.pg.ts';
import { allSharedKeys } from './shared-keys.pg.ts';

export async function postgresStores(
  database: Sql,
  { lifetimes }: Profile,
  encryption: KeyEncryption,
  context: Context,
) {
  return {
    ledger: postgresLedger(database),
    exchanges: postgresExchanges(database),
    replayMarks: postgresReplayMarks(database),
    sessions: postgresSessions(database, lifetimes.sessionIdle * 1000),
    pendingAuthorizations: postgresPendingAuthorizations(database),
    sharedKeys: await allSharedKeys(database, encryption, context),
  } satisfies Partial<AuthorizationServer>;
}
