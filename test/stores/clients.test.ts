import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createClient,
  deleteClient,
  findClientLogo,
  findClientRecord,
  isClientOrigin,
  listClientRecords,
  rotateClientSecret,
  setClientDisabled,
  setClientLogo,
  updateClient,
} from '../../src/postgres/clients.pg.ts';
import { mintId, sha256 } from '../../src/protocol/secrets.ts';
import { clientOf } from '../protocol/samples.ts';
import { DAY, HOUR, openStore, race, type Store } from './store.ts';

const { metadata } = clientOf();
const ORIGIN = 'https://app.example';

describe('clients', () => {
  let store: Store;
  beforeAll(async () => {
    store = await openStore();
  });
  afterAll(() => store.close());

  const secret = (expiresAt: Date | null = null) => ({
    id: mintId(store.now, randomBytes),
    hash: sha256(randomBytes(32)),
    expiresAt,
  });
  const create = (id: string, origins = [ORIGIN]) =>
    createClient(store.sql, { id, metadata, origins: new Set(origins), secret: secret() }, store.now);
  const version = async () => (await store.rows(sql<{ version: string }>`SELECT version FROM catalogue`))[0]?.version;
  /** When each secret ends, the one without an end last. */
  const secretsOf = async (id: string) =>
    (await findClientRecord(store.sql, id))?.secrets
      .map(({ expiresAt }) => expiresAt?.getTime() ?? null)
      .sort((a, b) => (a ?? Number.POSITIVE_INFINITY) - (b ?? Number.POSITIVE_INFINITY));

  it('are kept as they were registered', async () => {
    await create('kept');
    expect(await findClientRecord(store.sql, 'kept')).toMatchObject({
      id: 'kept',
      metadata,
      disabled: false,
      logoUrl: undefined,
      secrets: [{ hash: expect.any(Buffer), expiresAt: null }],
    });
    expect(await findClientRecord(store.sql, 'Kept')).toBeUndefined();
  });

  it('of twenty registrations of one id at once one is made', async () => {
    expect(await race(20, () => create('raced'))).toEqual({ created: 1, taken: 19 });
    expect(await secretsOf('raced')).toEqual([null]);
  });

  it('that were deleted leave nothing but their id, which is never given again', async () => {
    await create('deleted', ['https://deleted.example']);
    await setClientLogo(store.sql, 'deleted', { mediaType: 'image/png', bytes: Buffer.from('x'), digest: 'd' });
    expect(await race(20, () => deleteClient(store.sql, 'deleted', store.now))).toEqual({ deleted: 1, unknown: 19 });
    expect(await findClientRecord(store.sql, 'deleted')).toBeUndefined();
    expect(await findClientLogo(store.sql, 'deleted')).toBeUndefined();
    expect(await isClientOrigin(store.sql, 'https://deleted.example')).toBe(false);
    expect((await listClientRecords(store.sql, '', 1000)).map(({ id }) => id)).not.toContain('deleted');
    expect(await create('deleted')).toBe('taken');
    expect(await updateClient(store.sql, 'deleted', metadata, new Set(), store.now)).toBe('unknown');
    expect(await setClientDisabled(store.sql, 'deleted', false, store.now)).toBe('unknown');
    expect(await rotateClientSecret(store.sql, 'deleted', secret(), store.now, store.now)).toBe('unknown');
    const logo = { mediaType: 'image/png', bytes: Buffer.from('x'), digest: 'd' };
    expect(await setClientLogo(store.sql, 'deleted', logo)).toBe('unknown');
  });

  it('have their browser origins until they are disabled or changed', async () => {
    await create('origins', ['https://one.example', 'https://two.example']);
    const known = () =>
      Promise.all(['one', 'two', 'three'].map((name) => isClientOrigin(store.sql, `https://${name}.example`)));
    expect(await known()).toEqual([true, true, false]);
    await updateClient(
      store.sql,
      'origins',
      metadata,
      new Set(['https://two.example', 'https://three.example']),
      store.now,
    );
    expect(await known()).toEqual([false, true, true]);
    await setClientDisabled(store.sql, 'origins', true, store.now);
    expect(await known()).toEqual([false, false, false]);
    await setClientDisabled(store.sql, 'origins', false, store.now);
    expect(await known()).toEqual([false, true, true]);
    expect(await isClientOrigin(store.sql, 'null')).toBe(false);
  });

  it('hold several secrets: the ones before end after the overlap, or earlier if they were to', async () => {
    await create('rotating');
    const rotate = (end: Date, now = store.now) => rotateClientSecret(store.sql, 'rotating', secret(), end, now);
    expect(await rotate(store.at(DAY))).toBe('rotated');
    expect(await secretsOf('rotating')).toEqual([store.at(DAY).getTime(), null]);
    expect(await rotate(store.at(2 * DAY))).toBe('rotated');
    expect(await secretsOf('rotating')).toEqual([store.at(DAY).getTime(), store.at(2 * DAY).getTime(), null]);
    expect(await rotate(store.at(HOUR))).toBe('rotated');
    expect((await secretsOf('rotating'))?.filter((end) => end !== null)).toEqual(
      Array(3).fill(store.at(HOUR).getTime()),
    );
    // What is over is cleared away at the next rotation.
    expect(await rotate(store.at(3 * DAY), store.at(2 * HOUR))).toBe('rotated');
    expect(await secretsOf('rotating')).toEqual([store.at(3 * DAY).getTime(), null]);
  });

  it('of twenty rotations at once each adds its secret, and one stays without an end', async () => {
    await create('many');
    await race(20, () => rotateClientSecret(store.sql, 'many', secret(), store.at(DAY), store.now));
    const ends = await secretsOf('many');
    expect(ends).toHaveLength(21);
    expect(ends?.filter((end) => end === null)).toHaveLength(1);
  });

  it.each<[string, () => Promise<unknown>]>([
    ['a new one', () => create('version')],
    ['a change', () => updateClient(store.sql, 'version', metadata, new Set(), store.now)],
    ['a new secret', () => rotateClientSecret(store.sql, 'version', secret(), store.now, store.now)],
    ['disabling', () => setClientDisabled(store.sql, 'version', true, store.now)],
    [
      'a logo',
      () => setClientLogo(store.sql, 'version', { mediaType: 'image/png', bytes: Buffer.from(''), digest: '1' }),
    ],
    ['deletion', () => deleteClient(store.sql, 'version', store.now)],
  ])('tell every process by the catalogue’s version: %s', async (_what, change) => {
    const before = Number(await version());
    await change();
    expect(Number(await version())).toBeGreaterThan(before);
  });

  it('are listed in the order of their ids, page by page', async () => {
    const all = (await listClientRecords(store.sql, '', 1000)).map(({ id }) => id);
    const paged: string[] = [];
    for (let after = ''; ; after = paged.at(-1) ?? '') {
      const page = await listClientRecords(store.sql, after, 2);
      if (page.length === 0) break;
      paged.push(...page.map(({ id }) => id));
    }
    expect(paged).toEqual(all);
  });
});
