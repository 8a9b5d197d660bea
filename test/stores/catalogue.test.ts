import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PostgresCatalogue } from '../../src/postgres/catalogue.ts';
import { createClient, deleteClient, setClientDisabled, updateClient } from '../../src/postgres/clients.pg.ts';
import { openDatabase } from '../../src/postgres/database.ts';
import { createResource, deleteResource } from '../../src/postgres/resources.pg.ts';
import { findClient } from '../../src/protocol/client.ts';
import { fapi2Security, oauth21 } from '../../src/protocol/profile.ts';
import { resourceMetadata } from '../../src/protocol/resource.ts';
import { clientOf } from '../protocol/samples.ts';
import { openStore, type Store } from './store.ts';

const { metadata } = clientOf();
const ORIGIN = 'https://app.example';

describe('the catalogue in memory', () => {
  let store: Store;
  let database: ReturnType<Store['another']>;
  let catalogue: PostgresCatalogue;
  beforeEach(async () => {
    store = await openStore({ poolMax: 4 });
    database = store.another({ poolMax: 4 });
    catalogue = new PostgresCatalogue({ database: database.sql, directUrl: store.url, profile: oauth21 });
  });
  afterEach(async () => {
    await catalogue.stop();
    await store.close();
  });

  const create = (id: string) =>
    createClient(store.sql, { id, metadata, origins: new Set([ORIGIN]), secret: undefined }, store.now);
  const follows = (read: () => Promise<unknown>, expected: unknown) =>
    expect.poll(read, { timeout: 5000 }).toEqual(expected);
  const photos = resourceMetadata.parse({
    resource: 'https://photos.example',
    name: 'Photos',
    scopes: { photos: 'See' },
  });

  it('serves no client that its profile forbids, however it came to be registered, and says why', async () => {
    const lax = { ...metadata, require_pkce: false };
    const parts = { origins: new Set<string>(), secret: undefined };
    await createClient(store.sql, { id: 'lax', metadata: lax, ...parts }, store.now);
    const held = { ...lax, profile: 'fapi2-security' };
    await createClient(store.sql, { id: 'held', metadata: held, ...parts }, store.now);
    const told: string[] = [];
    const options = { database: database.sql, directUrl: store.url };
    const onForbidden = (id: string, problem: string) => told.push(`${id}: ${problem}`);
    const strict = new PostgresCatalogue({ ...options, profile: fapi2Security, onForbidden });
    expect(await findClient(strict, 'lax')).toBeUndefined();
    // Under the laxer server it may be what it is, unless it is itself held to the stricter profile.
    expect(await findClient(catalogue, 'lax')).toMatchObject({ id: 'lax' });
    expect(await findClient(catalogue, 'held')).toBeUndefined();
    expect(told).toEqual([expect.stringMatching(/^lax: require_pkce: .+FAPI 2\.0 SP 5\.3\.2\.2-5/)]);
  });

  it('asks once for what it knows, however many ask', async () => {
    await create('known');
    catalogue.start();
    await catalogue.client('known');
    const before = database.roundTrips;
    const clients = await Promise.all(Array.from({ length: 100 }, () => catalogue.client('known')));
    expect(new Set(clients).size).toBe(1);
    // The version is confirmed now and then, the client is not read again.
    expect(database.roundTrips - before).toBeLessThanOrEqual(1);
  });

  it('follows changes of other processes: new, changed, disabled, deleted', async () => {
    catalogue.start();
    expect(await catalogue.client('later')).toBeUndefined();
    await create('later');
    // Unknown ids are not kept: this one is found at once.
    expect(await catalogue.client('later')).toMatchObject({ name: 'later' });
    await updateClient(store.sql, 'later', { ...metadata, client_name: 'New' }, new Set([ORIGIN]), store.now);
    await follows(async () => (await catalogue.client('later'))?.name, 'New');
    await setClientDisabled(store.sql, 'later', true, store.now);
    await follows(() => findClient(catalogue, 'later'), undefined);
    expect(await catalogue.client('later')).toMatchObject({ disabled: true });
    await deleteClient(store.sql, 'later', store.now);
    await follows(() => catalogue.client('later'), undefined);
  });

  it('follows resources and origins', async () => {
    catalogue.start();
    expect([(await catalogue.resources()).all, await catalogue.isClientOrigin(ORIGIN)]).toEqual([[], false]);
    await createResource(store.sql, photos, store.now);
    await create('with origin');
    await follows(async () => (await catalogue.resources()).isKnownScope('photos'), true);
    await follows(() => catalogue.isClientOrigin(ORIGIN), true);
    await deleteResource(store.sql, photos.resource);
    await follows(async () => (await catalogue.resources()).isKnownScope('photos'), false);
  });

  it('follows without a listener too, and when its listener is cut off', async () => {
    await create('followed');
    catalogue.start();
    await follows(async () => (await catalogue.client('followed'))?.disabled, false);
    await store.rows(sql`
      SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE application_name = 'gatehouse listener' AND datname = current_database()`);
    await setClientDisabled(store.sql, 'followed', true, store.now);
    await follows(async () => (await catalogue.client('followed'))?.disabled, true);
    await follows(
      async () =>
        (
          await store.rows(sql`
          SELECT pid FROM pg_stat_activity
          WHERE application_name = 'gatehouse listener' AND datname = current_database()`)
        ).length,
      1,
    );
  });

  it('confirms in the request that asks when nothing else did', async () => {
    // Never started: no listener, no rounds.
    await create('asked');
    expect(await catalogue.client('asked')).toMatchObject({ disabled: false });
    await setClientDisabled(store.sql, 'asked', true, store.now);
    await follows(async () => (await catalogue.client('asked'))?.disabled, true);
  });

  it('forgets what hangs on it, and only then', async () => {
    let loads = 0;
    const value = catalogue.versioned(async () => {
      loads += 1;
      return loads;
    });
    const read = () => catalogue.confirmed(() => value.get());
    catalogue.start();
    expect([await read(), await read()]).toEqual([1, 1]);
    await create('change');
    await follows(read, 2);
    expect(await read()).toBe(2);
  });

  it('keeps no failure: the next one asks again', async () => {
    const broken = openDatabase({ url: store.url, poolMax: 1, prepared: true });
    const fragile = new PostgresCatalogue({ database: broken.sql, directUrl: store.url, profile: oauth21 });
    await store.rows(sql`ALTER TABLE clients RENAME TO clients_away`);
    await expect(fragile.client('x')).rejects.toThrow();
    await store.rows(sql`ALTER TABLE clients_away RENAME TO clients`);
    await create('x');
    expect(await fragile.client('x')).toMatchObject({ id: 'x' });
    await broken.close();
  });
});
