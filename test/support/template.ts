/** The template all test databases are copied from: migrated, with keys, so that no test makes RSA keys. */
import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { keyAlgs, rotateKeys } from '../../src/features/key-rotation/index.ts';
import { postgresKeys } from '../../src/features/key-rotation/keys.pg.ts';
import { openDatabase } from '../../src/postgres/database.ts';
import { migrate } from '../../src/postgres/migrations.ts';
import { signingAlgs } from '../../src/protocol/jose.ts';
import { decryptionAlgs } from '../../src/protocol/jose-decryption.ts';
import { KeyEncryption } from '../../src/protocol/key-encryption.ts';

/** What test keys are encrypted under. */
export const TEST_KEY_ENCRYPTION_KEY = Buffer.alloc(32, 7);

export async function makeTemplate(serverUrl: string): Promise<{ name: string; drop(): Promise<void> }> {
  const name = `template_${randomBytes(6).toString('hex')}`;
  const onServer = async (statement: string) => {
    const client = new Client({ connectionString: serverUrl });
    await client.connect();
    await client.query(statement).finally(() => client.end());
  };
  await onServer(`CREATE DATABASE ${name} TEMPLATE template0`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  const database = openDatabase({ url: url.href, poolMax: 2, prepared: false });
  const now = new Date();
  await migrate(database.sql, now);
  await rotateKeys(
    postgresKeys(database.sql),
    keyAlgs({ signingAlgs, decryptionAlgs }),
    new KeyEncryption([TEST_KEY_ENCRYPTION_KEY], randomBytes),
    now,
  );
  await database.close();
  return { name, drop: () => onServer(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
}
