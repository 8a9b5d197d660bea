import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, type JWK, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  dueMoves,
  isPublished,
  type KeyAlg,
  replaceKeys,
  retireOtherKeys,
  rotateKeys,
  type StoredKey,
  stateOf,
} from '../../src/features/key-rotation/index.ts';
import { postgresKeys } from '../../src/features/key-rotation/keys.pg.ts';
import type { PublicJwk } from '../../src/protocol/jose.ts';
import { restoreSigningKey, type SigningKey, signingAlgs, signJwt } from '../../src/protocol/jose.ts';
import { decryptionAlgs } from '../../src/protocol/jose-decryption.ts';
import { KeyEncryption } from '../../src/protocol/key-encryption.ts';
import { authorizePath, pkce, post, responseOf, TestBrowser } from '../support/browser.ts';
import { encryptionKey, encryptTo } from '../support/encrypted-objects.ts';
import { type SigningWorld, startSigningWorld } from '../support/request-objects.ts';
import type { TestServer } from '../support/server.ts';
import { TEST_KEY_ENCRYPTION_KEY } from '../support/template.ts';
import { getCode, introspect, PHOTOS, redeem, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

const HOUR = 3600_000;
const DAY = 24 * HOUR;
const START = new Date('2026-01-01T00:00:00Z').getTime();

/** Keys of one algorithm, moved by the rules alone. */
class Simulation {
  keys: StoredKey[] = [];
  readonly #alg: KeyAlg;
  #made = 0;

  constructor(alg: KeyAlg = 'ES256') {
    this.#alg = alg;
  }

  /** What one run of the job does: moves until there are none. */
  run(at: number, force = false): void {
    const now = new Date(at);
    for (let forced = force, rounds = 0; ; forced = false, rounds += 1) {
      const moves = dueMoves(this.keys, now, forced);
      if (moves.length === 0) return;
      if (rounds > 5) throw new Error('it never ends');
      for (const move of moves) {
        if (move.kind === 'publish') this.keys.push(this.#key(now));
        else if (move.kind === 'remove') this.keys = this.keys.filter(({ kid }) => kid !== move.kid);
        else {
          const change = { activate: { activatedAt: now }, retire: { retiredAt: now }, archive: { archivedAt: now } }[
            move.kind
          ];
          this.keys = this.keys.map((key) => (key.kid === move.kid ? { ...key, ...change } : key));
        }
      }
    }
  }

  #key(createdAt: Date): StoredKey {
    this.#made += 1;
    const kid = `key ${this.#made}`;
    return {
      kid,
      alg: this.#alg,
      publicJwk: {} as PublicJwk,
      privateKey: { ciphertext: Buffer.alloc(0), keyName: '' },
      createdAt,
      activatedAt: undefined,
      retiredAt: undefined,
      archivedAt: undefined,
    };
  }

  in(state: ReturnType<typeof stateOf>): StoredKey[] {
    return this.keys.filter((key) => stateOf(key) === state);
  }

  get active(): StoredKey {
    const [only, ...others] = this.in('active');
    if (!only || others.length > 0) throw new Error(`${others.length + 1} keys sign`);
    return only;
  }
}

describe('when keys are due', () => {
  it('at the first start: one that signs and one that waits', () => {
    const simulation = new Simulation();
    simulation.run(START);
    expect([simulation.in('active').length, simulation.in('next').length, simulation.in('retired').length]).toEqual([
      1, 1, 0,
    ]);
  });

  it('through fourteen months, with the job late, missed for days or run twice', () => {
    const gaps = fc.array(
      fc.oneof(
        { weight: 20, arbitrary: fc.constant(12 * HOUR) },
        { weight: 2, arbitrary: fc.integer({ min: 0, max: 3 * DAY }) },
        { weight: 1, arbitrary: fc.integer({ min: 3 * DAY, max: 120 * DAY }) },
      ),
      { minLength: 300, maxLength: 600 },
    );
    fc.assert(
      fc.property(gaps, (waits) => {
        const simulation = new Simulation();
        simulation.run(START);
        const first = simulation.active.kid;
        let now = START;
        let before = simulation.keys;
        for (const wait of waits) {
          now += wait;
          simulation.run(now);
          const { active } = simulation;
          // One signs, one waits: the next rotation never has to make a key nobody has seen.
          expect(simulation.in('next')).toHaveLength(1);
          const activatedAt = active.activatedAt?.getTime() ?? 0;
          if (active.kid !== first) expect(activatedAt - active.createdAt.getTime()).toBeGreaterThanOrEqual(DAY);
          // Whatever the gaps, no run leaves a key signing that was due.
          expect(now - activatedAt).toBeLessThan(90 * DAY);
          // What is published no more had not signed for a day; what is gone had been known for a year then.
          for (const key of simulation.in('archived'))
            expect((key.archivedAt?.getTime() ?? now) - (key.retiredAt?.getTime() ?? now)).toBeGreaterThanOrEqual(DAY);
          const gone = before.filter(({ kid }) => !simulation.keys.some((key) => key.kid === kid));
          for (const key of gone) expect(now - (key.archivedAt?.getTime() ?? now)).toBeGreaterThanOrEqual(365 * DAY);
          expect(simulation.in('retired').length).toBeLessThanOrEqual(1);
          expect(simulation.keys.length).toBeLessThanOrEqual(8);
          before = simulation.keys;
        }
      }),
      { numRuns: 50 },
    );
  });

  it('a rotation by hand takes effect at once and keeps what signed until now', () => {
    const simulation = new Simulation();
    simulation.run(START);
    const [old, next] = [simulation.active, simulation.in('next')[0]];
    simulation.run(START + HOUR, true);
    expect(simulation.active.kid).toBe(next?.kid);
    expect(simulation.in('retired').map(({ kid }) => kid)).toEqual([old.kid]);
    expect(simulation.in('next')).toHaveLength(1);
    simulation.run(START + HOUR + DAY - 1);
    expect(simulation.in('retired')).toHaveLength(1);
    simulation.run(START + HOUR + DAY);
    expect(simulation.in('retired')).toHaveLength(0);
    expect(simulation.in('archived').map(({ kid }) => kid)).toEqual([old.kid]);
  });

  it('an archived one goes after a year', () => {
    const simulation = new Simulation();
    simulation.run(START);
    const old = simulation.active.kid;
    simulation.run(START, true);
    simulation.run(START + DAY);
    const knows = (at: number) => {
      simulation.run(at);
      return simulation.keys.some(({ kid }) => kid === old);
    };
    expect(knows(START + 366 * DAY - 1)).toBe(true);
    expect(knows(START + 366 * DAY)).toBe(false);
  });

  it('a key that is old waits for a next one that verifiers have had time to see', () => {
    const simulation = new Simulation();
    simulation.run(START);
    simulation.keys = simulation.keys.filter((key) => stateOf(key) === 'active');
    const old = simulation.active.kid;
    simulation.run(START + 91 * DAY);
    expect(simulation.active.kid).toBe(old);
    simulation.run(START + 92 * DAY - 1);
    expect(simulation.active.kid).toBe(old);
    simulation.run(START + 92 * DAY);
    expect(simulation.active.kid).not.toBe(old);
  });
});

describe('when keys that others encrypt to are due', () => {
  const kids = (keys: readonly StoredKey[]) => keys.map(({ kid }) => kid);

  it('of those that open one is published: made a day before, and still there a day after nobody could find it', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 60 * 24 }), { minLength: 50, maxLength: 100 }), (waits) => {
        const simulation = new Simulation('ECDH-ES');
        simulation.run(START);
        const first = simulation.active.kid;
        /** When JWKS last showed a key. */
        const shown = new Map<string, number>();
        let now = START;
        for (const wait of waits) {
          now += wait * HOUR;
          simulation.run(now);
          const published = simulation.keys.filter(isPublished);
          expect(kids(published)).toEqual([simulation.active.kid]);
          for (const { kid, createdAt } of published) {
            shown.set(kid, now);
            if (kid !== first) expect(now - createdAt.getTime()).toBeGreaterThanOrEqual(DAY);
          }
          for (const key of simulation.keys) expect(key.privateKey).toBeDefined();
          // The job may come late, and it is the job that takes a key away.
          for (const [kid, at] of shown) if (now - at < DAY) expect(kids(simulation.keys)).toContain(kid);
          expect(simulation.in('archived')).toEqual([]);
          expect(simulation.keys.length).toBeLessThanOrEqual(3);
        }
      }),
      { numRuns: 30 },
    );
  });

  it('the retired one goes after a day, and nothing of it is kept', () => {
    const simulation = new Simulation('RSA-OAEP-256');
    simulation.run(START);
    const old = simulation.active.kid;
    simulation.run(START + HOUR, true);
    expect(kids(simulation.in('retired'))).toEqual([old]);
    simulation.run(START + HOUR + DAY - 1);
    expect(kids(simulation.keys)).toContain(old);
    simulation.run(START + HOUR + DAY);
    expect(kids(simulation.keys)).not.toContain(old);
  });
});

describe('rotation while requests are under way that were encrypted to us', () => {
  let world: SigningWorld;
  beforeAll(async () => {
    world = await startSigningWorld();
  });
  afterAll(() => world.close());

  const encryption = new KeyEncryption([TEST_KEY_ENCRYPTION_KEY], randomBytes);
  const store = () => postgresKeys(world.running.database.sql);
  const rotate = (force: boolean) => rotateKeys(store(), decryptionAlgs, encryption, world.clock.now(), force);
  const published = () => encryptionKey(world.issuer, 'ECDH-ES');
  /** Whether a client that has this key is understood by a node. */
  const understood = async (key: JWK, node: TestServer = world, header = {}) => {
    const request = await encryptTo(key, await world.key.sign(world.claims({ aud: node.issuer })), header);
    const { status, json } = await post(`${node.issuer}/par`, { request }, { basic: world.signer });
    return status === 201 ? 'pushed' : json.error;
  };

  it('a client with an older copy of the JWKS is understood for a day, on every node; then by none', async () => {
    const node = await world.node();
    try {
      const old = await published();
      await rotate(true);
      await expect.poll(async () => (await published()).kid, { timeout: 5000 }).not.toBe(old.kid);
      const fresh = await published();
      for (const at of [world, node]) {
        for (const key of [old, fresh]) await expect.poll(() => understood(key, at), { timeout: 5000 }).toBe('pushed');
        // Who names no key means the one that is published.
        expect(await understood(fresh, at, { kid: undefined })).toBe('pushed');
        expect(await understood(old, at, { kid: undefined })).toBe('invalid_request_object');
      }
      world.clock.advance(DAY / 1000 - 60);
      await rotate(false);
      expect(await understood(old)).toBe('pushed');
      world.clock.advance(60);
      await rotate(false);
      for (const at of [world, node]) {
        await expect.poll(() => understood(old, at), { timeout: 5000 }).toBe('invalid_request_object');
        expect(await understood(fresh, at)).toBe('pushed');
      }
      expect((await store().list()).map(({ kid }) => kid)).not.toContain(old.kid);
    } finally {
      await node.close();
    }
  });

  it('the one that waits is known to every node before a client can see it', async () => {
    const waiting = (await store().list()).find((key) => key.alg === 'ECDH-ES' && stateOf(key) === 'next');
    expect((await published()).kid).not.toBe(waiting?.kid);
    expect(await understood(waiting?.publicJwk ?? {})).toBe('pushed');
  });

  it('a key that somebody else may hold opens nothing any more, at once', async () => {
    const old = await published();
    await replaceKeys(store(), [...decryptionAlgs, 'ES256', 'RS256'], encryption, world.clock.now());
    await expect.poll(() => understood(old), { timeout: 5000 }).toBe('invalid_request_object');
    expect(await understood(await published())).toBe('pushed');
  });
});

describe('rotation while tokens live', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  const encryption = new KeyEncryption([TEST_KEY_ENCRYPTION_KEY], randomBytes);
  const rotate = (force: boolean) =>
    rotateKeys(postgresKeys(world.running.database.sql), signingAlgs, encryption, world.clock.now(), force);

  async function published(): Promise<JWK[]> {
    return ((await (await fetch(`${world.issuer}/jwks`)).json()) as { keys: JWK[] }).keys;
  }
  const kidsOf = async (alg: string) => (await published()).filter((key) => key.alg === alg).map(({ kid }) => kid);

  async function issued(): Promise<{ access: string; id: string }> {
    const { json } = await redeem(world, await getCode(world));
    return { access: String(json.access_token), id: String(json.id_token) };
  }
  const kidOf = (token: string) => decodeProtectedHeader(token).kid;
  const verified = async ({ access, id }: { access: string; id: string }) => {
    const keys = createRemoteJWKSet(new URL(`${world.issuer}/jwks`));
    const currentDate = world.clock.now();
    await jwtVerify(access, keys, { audience: PHOTOS, issuer: world.issuer, typ: 'at+jwt', currentDate });
    await jwtVerify(id, keys, { audience: world.web.id, issuer: world.issuer, currentDate });
    expect((await introspect(world, access)).active).toBe(true);
  };

  it('JWKS shows next, active and retired; what was signed before verifies on, every node signs with the new key', async () => {
    const other = await world.node();
    try {
      const before = await issued();
      const [published1, published2] = await kidsOf('ES256');
      expect([published1, published2]).toContain(kidOf(before.access));
      const next = published1 === kidOf(before.access) ? published2 : published1;

      await rotate(true);
      // A running server reads the change within a second.
      await expect.poll(async () => (await kidsOf('ES256')).length, { timeout: 5000 }).toBe(3);
      await verified(before);
      const after = await issued();
      expect(kidOf(after.access)).toBe(next);
      expect(kidOf(after.id)).not.toBe(kidOf(before.id));
      await verified(after);
      await expect
        .poll(
          async () => {
            const { json } = await redeem({ ...world, issuer: other.issuer }, await getCode(world));
            return json.access_token === undefined ? json : kidOf(String(json.access_token));
          },
          { timeout: 5000 },
        )
        .toBe(next);

      // A day later nothing signed by it can live, and it goes.
      world.clock.advance(DAY / 1000);
      await rotate(false);
      await expect.poll(() => kidsOf('ES256'), { timeout: 5000 }).not.toContain(kidOf(before.access));
      expect(await kidsOf('ES256')).toHaveLength(2);
      expect((await introspect(world, before.access)).active).toBe(false);
    } finally {
      await other.close();
    }
  });

  it('archived, it still proves an ID token was ours, for a year, and gives no access', async () => {
    // Access without OpenID outlives the session, so that only the key can be what is wrong with it.
    const plain = await redeem(world, await getCode(world, { scope: 'photos.read' }));
    const tokens = { ...(await issued()), access: String(plain.json.access_token) };
    const store = postgresKeys(world.running.database.sql);
    const kids = [kidOf(tokens.access), kidOf(tokens.id)];
    /** A key as somebody holds it who took it while it signed. */
    const taken = async (kid: string | undefined) => {
      const key = (await store.list()).find((stored) => stored.kid === kid);
      if (!key?.privateKey) throw new Error('it has no private part');
      return restoreSigningKey(key.publicJwk, encryption.open(key.privateKey, `signing key ${key.kid}`));
    };
    const old = await taken(kidOf(tokens.access));
    const forgedWith = (key: SigningKey) => {
      const now = Math.floor(world.clock.now().getTime() / 1000);
      return signJwt(key, 'at+jwt', { ...decodeJwt(tokens.access), iat: now, exp: now + 300 });
    };
    const hinted = async () => {
      const browser = new TestBrowser(world);
      const request = { client_id: world.web.id, redirect_uri: WEB_REDIRECT, scope: 'openid', prompt: 'none' };
      const path = authorizePath({ ...request, id_token_hint: tokens.id, code_challenge: pkce().challenge });
      return responseOf(await browser.visit(path)).get('error');
    };
    const states = async () =>
      (await store.list()).filter(({ kid }) => kids.includes(kid)).map((key) => [stateOf(key), key.privateKey]);

    expect((await introspect(world, await forgedWith(old))).active).toBe(true);
    expect(await hinted()).toBe('login_required');

    await rotate(true);
    world.clock.advance(DAY / 1000);
    await rotate(false);
    expect(await states()).toEqual([
      ['archived', undefined],
      ['archived', undefined],
    ]);
    await expect.poll(() => kidsOf('ES256'), { timeout: 5000 }).not.toContain(kids[0]);
    expect(await introspect(world, await forgedWith(old))).toEqual({ active: false });
    // The one it has given way to is believed: it is the key that is refused.
    const signing = (await store.list()).find((key) => key.alg === 'ES256' && stateOf(key) === 'active');
    expect((await introspect(world, await forgedWith(await taken(signing?.kid)))).active).toBe(true);
    expect(await hinted()).toBe('login_required');

    world.clock.advance((363 * DAY) / 1000);
    await rotate(false);
    expect(await states()).toHaveLength(2);
    expect(await hinted()).toBe('login_required');
    world.clock.advance((2 * DAY) / 1000);
    await rotate(false);
    expect(await states()).toEqual([]);
    expect(await hinted()).toBe('invalid_request');
  });

  it('by itself after three months: first published for a day at least, then signing', async () => {
    const before = kidOf((await issued()).access);
    const waiting = (await kidsOf('ES256')).filter((kid) => kid !== before);
    world.clock.advance((85 * DAY) / 1000);
    await rotate(false);
    expect(kidOf((await issued()).access)).toBe(before);
    world.clock.advance((6 * DAY) / 1000);
    await rotate(false);
    await expect.poll(async () => [kidOf((await issued()).access)], { timeout: 5000 }).toEqual(waiting);
  });
});

describe('when the server is put under a profile with fewer algorithms', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  it('the keys of the others are retired, seen until what they signed is over, and then forgotten', async () => {
    const store = postgresKeys(world.running.database.sql);
    const algs: KeyAlg[] = ['ES256', 'PS256', 'EdDSA', 'RSA-OAEP-256'];
    const others = async () =>
      (await store.list()).filter(({ alg }) => !algs.includes(alg)).map((key) => [key.alg, stateOf(key)]);
    const before = (await store.list()).filter(({ alg }) => algs.includes(alg));
    const retire = () => retireOtherKeys(store, algs, world.clock.now());
    await retire();
    expect((await others()).sort()).toEqual([
      ['ECDH-ES', 'retired'],
      ['RS256', 'retired'],
    ]);
    world.clock.advance(DAY / 1000);
    await retire();
    // Its public part still tells that an ID token was ours.
    expect(await others()).toEqual([['RS256', 'archived']]);
    world.clock.advance((366 * DAY) / 1000);
    await retire();
    expect(await others()).toEqual([]);
    expect(await store.list()).toEqual(before);
  });
});
