import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { replaceKeys, rotateKeys, type StoredKey, stateOf } from '../../src/features/key-rotation/index.ts';
import { buildKeyring } from '../../src/features/key-rotation/keyring.ts';
import { postgresKeys, reencryptKeys } from '../../src/features/key-rotation/keys.pg.ts';
import { sharedKey } from '../../src/postgres/shared-keys.pg.ts';
import type { SigningAlg } from '../../src/protocol/jose.ts';
import { KeyEncryption } from '../../src/protocol/key-encryption.ts';
import { DAY, openStore, race, type Store } from './store.ts';

const ALGS: SigningAlg[] = ['ES256', 'EdDSA'];
const [oldKey, newKey] = [randomBytes(32), randomBytes(32)];
const encryption = new KeyEncryption([oldKey], randomBytes);

const states = (keys: readonly StoredKey[]) => keys.map((key) => `${key.alg} ${stateOf(key)}`).sort();
const FRESH = ['ES256 active', 'ES256 next', 'EdDSA active', 'EdDSA next'];

describe('keys', () => {
  let store: Store;
  beforeAll(async () => {
    store = await openStore();
  });
  beforeEach(async () => {
    await store.rows(sql`DELETE FROM signing_keys`);
  });
  afterAll(() => store.close());

  it('are made once for each algorithm by however many nodes start together', async () => {
    const nodes = Array.from({ length: 6 }, () => postgresKeys(store.another({ poolMax: 2 }).sql));
    const outcomes = await race(nodes.length, async (index) => {
      await rotateKeys(nodes[index] ?? postgresKeys(store.sql), ALGS, encryption, store.now);
      return 'ready';
    });
    expect(outcomes).toEqual({ ready: 6 });
    expect(states(await postgresKeys(store.sql).list())).toEqual(FRESH);
  });

  it('rotate once for each order, however many come at once', async () => {
    const keys = postgresKeys(store.sql);
    await rotateKeys(keys, ALGS, encryption, store.now);
    await race(4, async () => {
      await rotateKeys(keys, ALGS, encryption, store.now, true);
      return 'rotated';
    });
    const after = await keys.list();
    expect(after.filter((key) => key.alg === 'ES256' && stateOf(key) === 'retired')).toHaveLength(4);
    expect(states(after.filter((key) => stateOf(key) !== 'retired'))).toEqual(FRESH);
  });

  it('that are archived keep their public part only, and are published no more', async () => {
    const keys = postgresKeys(store.sql);
    await rotateKeys(keys, ALGS, encryption, store.now);
    await rotateKeys(keys, ALGS, encryption, store.now, true);
    const retired = (await keys.list()).filter((key) => stateOf(key) === 'retired');
    expect(retired).toHaveLength(2);
    await rotateKeys(keys, ALGS, encryption, store.at(DAY));
    const stored = await keys.list();
    expect(states(stored)).toEqual([...FRESH, 'ES256 archived', 'EdDSA archived'].sort());
    const archived = stored.filter((key) => stateOf(key) === 'archived');
    for (const [index, key] of archived.entries()) {
      expect(key).toEqual({ ...retired[index], privateKey: undefined, archivedAt: store.at(DAY) });
    }
    const [row] = await store.rows(sql<{ text: string }>`SELECT string_agg(k::text, '') AS text FROM signing_keys k`);
    for (const { privateKey } of retired) {
      expect(privateKey?.ciphertext.length).toBeGreaterThan(40);
      expect(row?.text).not.toContain(privateKey?.ciphertext.toString('hex'));
    }
    const ring = buildKeyring(stored, encryption);
    for (const { kid } of archived) {
      expect([ring.remembered.has(kid), ring.verifying.has(kid)]).toEqual([true, false]);
      expect(ring.published.map((key) => key.kid)).not.toContain(kid);
    }
    // There is nothing to move to another key-encryption key, and nothing it could stop.
    expect(await reencryptKeys(store.sql, new KeyEncryption([newKey, oldKey], randomBytes))).toBeGreaterThanOrEqual(4);
    expect(buildKeyring(await keys.list(), new KeyEncryption([newKey], randomBytes)).remembered.size).toBe(6);
  });

  it('never lose their private part while they may still sign', async () => {
    const keys = postgresKeys(store.sql);
    await rotateKeys(keys, ALGS, encryption, store.now);
    const before = await keys.list();
    await keys.alone(async (locked) => {
      for (const { kid } of before) await locked.archive(kid, store.now);
      return true;
    });
    expect(await keys.list()).toEqual(before);
    await expect(
      store.rows(sql`UPDATE signing_keys SET private_key = NULL, key_encryption_key = NULL`),
    ).rejects.toThrow('signing_keys_archived');
  });

  it('are all dropped, archived ones too, when somebody else may hold them', async () => {
    const keys = postgresKeys(store.sql);
    await rotateKeys(keys, ALGS, encryption, store.now);
    await rotateKeys(keys, ALGS, encryption, store.now, true);
    await rotateKeys(keys, ALGS, encryption, store.at(DAY));
    const before = (await keys.list()).map(({ kid }) => kid);
    expect(before).toHaveLength(6);
    await replaceKeys(keys, ALGS, encryption, store.at(DAY));
    const after = await keys.list();
    expect(states(after)).toEqual(FRESH);
    expect(after.filter(({ kid }) => before.includes(kid))).toEqual([]);
  });

  it('change nothing when a change fails halfway, and raise the version only when something changed', async () => {
    const keys = postgresKeys(store.sql);
    const version = async () => (await store.rows(sql<{ version: string }>`SELECT version FROM catalogue`))[0]?.version;
    await rotateKeys(keys, ALGS, encryption, store.now);
    const [before, stored] = [await version(), await keys.list()];
    await rotateKeys(keys, ALGS, encryption, store.now);
    await keys.alone(async () => false);
    const failing = keys.alone(async (locked) => {
      for (const { kid } of stored) await locked.remove(kid);
      throw new Error('halfway');
    });
    await expect(failing).rejects.toThrow('halfway');
    expect(await keys.list()).toEqual(stored);
    expect(await version()).toBe(before);
    await rotateKeys(keys, ALGS, encryption, store.now, true);
    expect(Number(await version())).toBe(Number(before) + 1);
  });

  it('are readable with no key but theirs, and say so', async () => {
    await rotateKeys(postgresKeys(store.sql), ALGS, encryption, store.now);
    const stored = await postgresKeys(store.sql).list();
    const wrong = new KeyEncryption([newKey], randomBytes);
    expect(() => buildKeyring(stored, wrong)).toThrow(/GATEHOUSE_KEY_ENCRYPTION_KEY/);
    const { signing, published } = buildKeyring(stored, encryption);
    expect([...signing.keys()].sort()).toEqual(ALGS);
    expect(published.map(({ kid }) => kid)).toEqual(stored.map(({ kid }) => kid));
    const [row] = await store.rows(sql<{ text: string }>`SELECT string_agg(k::text, '') AS text FROM signing_keys k`);
    for (const { privateKey } of signing.values()) {
      const { d } = privateKey.export({ format: 'jwk' });
      expect(row?.text).not.toContain(d);
      expect(row?.text).not.toContain(Buffer.from(d ?? '', 'base64url').toString('hex'));
    }
  });

  it('for what is encrypted to us are sealed for that use alone, move like the others, and are never archived', async () => {
    const keys = postgresKeys(store.sql);
    await rotateKeys(keys, ['ES256', 'ECDH-ES'], encryption, store.now);
    await rotateKeys(keys, ['ES256', 'ECDH-ES'], encryption, store.now, true);
    const both = new KeyEncryption([newKey, oldKey], randomBytes);
    expect(await reencryptKeys(store.sql, both)).toBeGreaterThanOrEqual(6);
    const stored = await keys.list();
    const opening = stored.filter(({ alg }) => alg === 'ECDH-ES');
    expect(states(opening)).toEqual(['ECDH-ES active', 'ECDH-ES next', 'ECDH-ES retired']);
    const ring = buildKeyring(stored, new KeyEncryption([newKey], randomBytes));
    expect([...ring.decrypting.keys()].sort()).toEqual(opening.map(({ kid }) => kid).sort());
    expect(ring.published.flatMap(({ use, kid }) => (use === 'enc' ? [kid] : []))).toEqual(
      opening.flatMap((key) => (stateOf(key) === 'active' ? [key.kid] : [])),
    );
    // None of them verifies anything.
    for (const { kid } of opening) expect([ring.verifying.has(kid), ring.remembered.has(kid)]).toEqual([false, false]);
    const [row] = await store.rows(sql<{ text: string }>`SELECT string_agg(k::text, '') AS text FROM signing_keys k`);
    for (const { privateKey } of ring.decrypting.values())
      expect(row?.text).not.toContain(privateKey.export({ format: 'jwk' }).d);
    // Somebody who can write to the table, and wants tokens signed with a key of the other kind.
    const misused = stored.map((key) => ({ ...key, alg: key.alg === 'ECDH-ES' ? ('ES256' as const) : key.alg }));
    expect(() => buildKeyring(misused, both)).toThrow(/does not open the stored signing key/);
    await rotateKeys(keys, ['ES256', 'ECDH-ES'], both, store.at(DAY));
    const after = (await keys.list()).filter(({ alg }) => alg === 'ECDH-ES');
    expect(states(after)).toEqual(['ECDH-ES active', 'ECDH-ES next']);
  });

  it('move to a new key-encryption key, and the old one can go', async () => {
    const keys = postgresKeys(store.sql);
    const context = { now: () => store.now, random: randomBytes };
    await store.rows(sql`DELETE FROM shared_keys`);
    await rotateKeys(keys, ALGS, encryption, store.now);
    await rotateKeys(keys, ALGS, encryption, store.now, true);
    const shared = await sharedKey(store.sql, 'moved', encryption, context);
    const both = new KeyEncryption([newKey, oldKey], randomBytes);
    const before = buildKeyring(await keys.list(), both);
    expect(await reencryptKeys(store.sql, both)).toBe(7);
    expect(await reencryptKeys(store.sql, both)).toBe(0);
    const onlyNew = new KeyEncryption([newKey], randomBytes);
    const after = buildKeyring(await keys.list(), onlyNew);
    for (const [alg, { privateKey }] of before.signing) {
      expect(after.signing.get(alg)?.privateKey.equals(privateKey)).toBe(true);
    }
    expect(await sharedKey(store.sql, 'moved', onlyNew, context)).toEqual(shared);
  });
});

describe('shared keys', () => {
  let store: Store;
  const context = { now: () => store.now, random: (size: number) => randomBytes(size) };
  beforeAll(async () => {
    store = await openStore();
  });
  afterAll(() => store.close());

  it('are the same for twenty that ask at once, each name its own, and stay', async () => {
    const outcomes = await race(20, async () =>
      (await sharedKey(store.sql, 'raced', encryption, context)).toString('hex'),
    );
    expect(Object.values(outcomes)).toEqual([20]);
    const [raced] = Object.keys(outcomes);
    expect(raced).toHaveLength(64);
    expect((await sharedKey(store.sql, 'raced', encryption, context)).toString('hex')).toBe(raced);
    expect((await sharedKey(store.sql, 'other', encryption, context)).toString('hex')).not.toBe(raced);
  });

  it('stop whoever has not the key they are under', async () => {
    await sharedKey(store.sql, 'closed', encryption, context);
    const wrong = new KeyEncryption([newKey], randomBytes);
    await expect(sharedKey(store.sql, 'closed', wrong, context)).rejects.toThrow(/GATEHOUSE_KEY_ENCRYPTION_KEY/);
  });
});
