/** Random keys that all nodes share, made by the first that needs one; encrypted at rest. */
import { sql } from 'kysely';
import type { AuthorizationServer } from '../protocol/authorization-server.ts';
import type { Context } from '../protocol/context.ts';
import type { KeyEncryption } from '../protocol/key-encryption.ts';
import type { Sql } from './database.ts';

/** All that a server has. What each is for stands where it is declared. */
export async function allSharedKeys(
  database: Sql,
  encryption: KeyEncryption,
  context: Context,
): Promise<AuthorizationServer['sharedKeys']> {
  const key = (name: string) => sharedKey(database, name, encryption, context);
  return {
    csrf: await key('csrf'),
    successors: await key('refresh token successors'),
    pairwise: await key('pairwise subjects'),
    sessions: await key('sessions'),
    nonces: await key('DPoP nonces'),
  };
}

/**
 * @returns the 32 bytes of the key called `name`; the same in every process
 * @throws Error when the key-encryption key does not open it
 */
export async function sharedKey(
  database: Sql,
  name: string,
  encryption: KeyEncryption,
  context: Context,
): Promise<Buffer> {
  const purpose = `shared key ${name}`;
  const fresh = encryption.seal(context.random(32), purpose);
  // Of several that insert at once one wins; the others read its key.
  await sql`
    INSERT INTO shared_keys (name, key, key_encryption_key, created_at)
    VALUES (${name}, ${fresh.ciphertext}, ${fresh.keyName}, ${context.now()}) ON CONFLICT (name) DO NOTHING`.execute(
    database,
  );
  const { rows } = await sql<{ key: Buffer; key_encryption_key: string }>`
    SELECT key, key_encryption_key FROM shared_keys WHERE name = ${name}`.execute(database);
  const [row] = rows;
  if (!row) throw new Error(`The shared key ${name} is gone.`);
  return encryption.open({ ciphertext: row.key, keyName: row.key_encryption_key }, purpose);
}
