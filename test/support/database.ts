/** Databases of one's own for tests, on the server of the run (test/support/global-setup.ts). */
import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { inject } from 'vitest';

/**
 * Creates a database: empty, or with the schema and signing keys of the run's template.
 *
 * @returns its connection string, and `drop`, which removes it whatever is still connected
 */
export async function createDatabase({ migrated = false } = {}): Promise<{ url: string; drop(): Promise<void> }> {
  const name = `test_${randomBytes(8).toString('hex')}`;
  const url = new URL(inject('databaseUrl'));
  url.pathname = `/${name}`;
  // template0: the default template of a server that was given to us may hold things.
  await onServer(`CREATE DATABASE ${name} TEMPLATE ${migrated ? inject('templateDatabase') : 'template0'}`);
  return { url: url.href, drop: () => onServer(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
}

async function onServer(statement: string): Promise<void> {
  const client = new Client({ connectionString: inject('databaseUrl') });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
