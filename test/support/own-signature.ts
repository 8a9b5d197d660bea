/** JWTs of any kind, signed with the server's own keys: what an attacker holds who collects all that we ever sign. */
import { randomBytes } from 'node:crypto';
import { buildKeyring, keyring } from '../../src/features/key-rotation/keyring.ts';
import { postgresKeys } from '../../src/features/key-rotation/keys.pg.ts';
import { type SigningAlg, signJwt } from '../../src/protocol/jose.ts';
import { KeyEncryption } from '../../src/protocol/key-encryption.ts';
import type { TestServer } from './server.ts';
import { TEST_KEY_ENCRYPTION_KEY } from './template.ts';

export async function signedByServer(
  { running }: TestServer,
  typ: string,
  claims: Record<string, unknown>,
  alg: SigningAlg = 'RS256',
): Promise<string> {
  const keys = postgresKeys(running.database.sql);
  const encryption = new KeyEncryption([TEST_KEY_ENCRYPTION_KEY], randomBytes);
  const { signing } = keyring(async () => buildKeyring(await keys.list(), encryption));
  return signJwt(await signing(alg), typ, claims);
}
