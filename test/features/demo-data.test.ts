/** The demo data: what a database of before gets at the next start, and what does not come back once it was taken away. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { rulesFor } from '../../src/cli/workplace.ts';
import { ensureDemoData } from '../../src/operator/demo-data.ts';
import { changeResource } from '../../src/operator/resources.ts';
import { deleteClient, findClientRecord } from '../../src/postgres/clients.pg.ts';
import { deleteExchangePolicy, listExchangePolicies } from '../../src/postgres/exchange-policies.pg.ts';
import { findResource } from '../../src/postgres/resources.pg.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { post } from '../support/browser.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const [PHOTOS, ARCHIVE] = ['http://localhost:4001', 'http://localhost:4003'];

describe('demo data for a call that is three APIs deep', () => {
  let server: TestServer;
  let folder: string;
  beforeEach(async () => {
    server = await startTestServer();
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-demo-'));
  });
  afterEach(async () => {
    await server.close();
    await rm(folder, { recursive: true });
  });

  /** As `gatehouse dev` does at each start. */
  function ensure() {
    const { issuer, context, running } = server;
    const { database, passwords } = running;
    const rules = rulesFor(database.sql, oauth21, passwords, context);
    return ensureDemoData(database.sql, { folder, issuer, rules, passwords, context });
  }
  const names = async () => (await listExchangePolicies(server.running.database.sql)).map(({ name }) => name);
  const grantsOf = async (id: string) =>
    (await findClientRecord(server.running.database.sql, id))?.metadata.grant_types as string[] | undefined;

  async function forgetClient(): Promise<void> {
    const { sql: database } = server.running.database;
    await sql`DELETE FROM client_secrets WHERE client_id = 'archive-api'`.execute(database);
    await sql`DELETE FROM clients WHERE id = 'archive-api'`.execute(database);
  }

  /** Back to what it was before there was token exchange. */
  async function forget(): Promise<void> {
    const { sql: database } = server.running.database;
    for (const name of await names()) await deleteExchangePolicy(database, name);
    await forgetClient();
    await sql`DELETE FROM resources WHERE resource = ${ARCHIVE}`.execute(database);
    const before = { photos: ['client_credentials'], storage: [] };
    for (const [name, grants] of Object.entries(before))
      await sql`UPDATE clients SET metadata = jsonb_set(metadata, '{grant_types}', ${JSON.stringify(grants)}::jsonb)
        WHERE id = ${`${name}-api`}`.execute(database);
    await sql`UPDATE resources SET metadata = metadata - 'may_act' WHERE resource = ${PHOTOS}`.execute(database);
  }

  async function isWhole(): Promise<boolean> {
    const made = await ensure();
    const { sql: database } = server.running.database;
    expect(await names()).toEqual(['photos-to-storage', 'storage-to-archive']);
    expect(await grantsOf('storage-api')).toContain(EXCHANGE);
    expect(await findResource(database, PHOTOS)).toMatchObject({ may_act: { sub: 'photos-api' } });
    expect(await findResource(database, ARCHIVE)).toMatchObject({ access_token_format: 'jwt' });
    expect(Object.keys(made?.clients ?? {})).toContain('archive-api');
    const basic = { id: 'photos-api', secret: made?.clients['photos-api']?.client_secret ?? '' };
    const ask = { grant_type: EXCHANGE, subject_token: 'x', subject_token_type: 'x', resource: PHOTOS };
    return (
      (await post(`${server.issuer}/token`, ask as Record<string, string>, { basic })).json.error === 'invalid_request'
    );
  }

  it('is made anew, and again it is the same', async () => {
    expect(await isWhole()).toBe(true);
    expect(await grantsOf('photos-api')).toEqual([EXCHANGE]);
    const first = await ensure();
    expect(await ensure()).toEqual(first);
  });

  it('is added to what was there before, from which nothing is taken', async () => {
    const first = await ensure();
    await forget();
    expect(await isWhole()).toBe(true);
    expect(await grantsOf('photos-api')).toEqual(['client_credentials', EXCHANGE]);
    expect((await ensure())?.clients['photos-web']).toEqual(first?.clients['photos-web']);
  });

  it('goes on where it was interrupted', async () => {
    await ensure();
    await forget();
    await ensure();
    const { sql: database } = server.running.database;
    // As if the process had ended before its last step.
    await deleteExchangePolicy(database, 'storage-to-archive');
    await forgetClient();
    expect(await isWhole()).toBe(true);
  });

  it('does not come back when an operator took it away or changed it', async () => {
    await ensure();
    const { sql: database } = server.running.database;
    await deleteExchangePolicy(database, 'photos-to-storage');
    const photos = await findResource(database, PHOTOS);
    if (!photos) throw new Error('there should be photos');
    await changeResource(database, photos, { may_act: null }, oauth21, server.clock.now());
    await ensure();
    expect(await names()).toEqual(['storage-to-archive']);
    expect(await findResource(database, PHOTOS)).not.toHaveProperty('may_act');

    await deleteClient(database, 'archive-api', server.clock.now());
    expect((await ensure())?.clients).not.toHaveProperty('archive-api');
    expect(await names()).toEqual(['storage-to-archive']);
  });

  it('does without what does not fit beside what an operator has made', async () => {
    await ensure();
    await forget();
    const { sql: database } = server.running.database;
    await server.resource({
      resource: 'https://other.example',
      name: 'Other',
      scopes: { 'archive.read': 'Read something else' },
      access_token_format: 'jwt',
    });
    await deleteClient(database, 'storage-api', server.clock.now());
    await ensure();
    expect(await names()).toEqual(['photos-to-storage']);
    expect(await findResource(database, ARCHIVE)).toBeUndefined();
  });
});
