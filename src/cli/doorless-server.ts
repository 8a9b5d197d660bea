/** An authorization server without doors: for commands that read tokens as the server would, and issue none. */
import { buildKeyring, keyring } from '../features/key-rotation/keyring.ts';
import { postgresKeys } from '../features/key-rotation/keys.pg.ts';
import { CachedRemoteKeys } from '../outgoing/remote-keys.ts';
import { PostgresCatalogue } from '../postgres/catalogue.ts';
import { postgresStores } from '../postgres/stores.ts';
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
    ...(await postgresStores(database, profile, encryption, context)),
    remoteKeys: new CachedRemoteKeys(context, allowLoopbackFetch),
  };
}
