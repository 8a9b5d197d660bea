/** Token exchange over real HTTP: chains of APIs with every form of token, what they tell, and what ends them. */
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { post, signIn, TestBrowser } from '../support/browser.ts';
import {
  ACCESS_TOKEN,
  APIS,
  type Api,
  ARCHIVE,
  appTokens,
  batchToken,
  type ExchangeWorld,
  exchange,
  type Format,
  ID_TOKEN,
  introspected,
  JWT,
  type Party,
  startExchangeWorld,
  step,
  stepsOf,
  webTokens,
} from '../support/exchange-world.ts';
import { PHOTOS, STORAGE } from '../support/world.ts';

const PATH: readonly [from: Api, to: Api][] = [
  ['photos', 'storage'],
  ['storage', 'archive'],
  ['archive', 'photos'],
];

describe.each<[string, Record<Api, Format>]>([
  ['signed tokens', { photos: 'jwt', storage: 'jwt', archive: 'jwt' }],
  ['opaque tokens', { photos: 'opaque', storage: 'opaque', archive: 'opaque' }],
  ['mixed tokens', { photos: 'jwt', storage: 'opaque', archive: 'jwt' }],
])('a call through three APIs with %s', (_name, formats) => {
  let world: ExchangeWorld;
  beforeAll(async () => {
    world = await startExchangeWorld({ formats });
  });
  afterAll(() => world.close());

  /** Follows the path and asks each API what it is told about the token that came to it. */
  async function follow(first: string, who: Record<Api, Party>) {
    const told = [await introspected(world, who.photos, first)];
    let token = first;
    for (const [from, to] of PATH) {
      token = await step(world, who[from], token, APIS[to]);
      expect(token.startsWith('gate_ex_')).toBe(formats[to] === 'opaque');
      const seen = await introspected(world, who[to], token);
      if (formats[to] === 'jwt') {
        const { iat, exp, jti, sub, act, txn, origin, scope, client_id, aud } = decodeJwt(token);
        expect(seen).toMatchObject({ iat, exp, jti, sub, act, txn, origin, scope, client_id, aud });
      }
      told.push(seen);
    }
    return told;
  }

  it.each<['bearer' | 'bound']>([['bearer'], ['bound']])('for alice, %s', async (kind) => {
    const first = kind === 'bearer' ? (await webTokens(world)).access_token : (await appTokens(world)).access_token;
    const who = kind === 'bearer' ? world.apis : world.keyed;
    const [start, one, two, three] = await follow(first, who);
    const origin = {
      client_id: kind === 'bearer' ? 'web' : 'app',
      sub: world.alice,
      jti: start?.jti,
      iat: start?.iat,
      grant_type: 'authorization_code',
    };
    const same = {
      active: true,
      sub: world.alice,
      txn: start?.jti,
      origin,
      acr: start?.acr,
      auth_time: start?.auth_time,
    };
    const [a, b, c] = [who.photos.id, who.storage.id, who.archive.id];
    expect(start).toMatchObject({ txn: start?.jti });
    expect(start).not.toHaveProperty('act');
    expect(start).not.toHaveProperty('origin');
    expect(one).toMatchObject({
      ...same,
      client_id: a,
      aud: STORAGE,
      scope: 'storage.read storage.write',
      act: { sub: a },
    });
    expect(two).toMatchObject({ ...same, client_id: b, aud: ARCHIVE, act: { sub: b, act: { sub: a } } });
    expect(three).toMatchObject({ ...same, client_id: c, act: { sub: c, act: { sub: b, act: { sub: a } } } });
    if (kind === 'bearer') for (const told of [one, two, three]) expect(told).not.toHaveProperty('cnf');
    else {
      expect([one, two, three].map((told) => told?.cnf)).toEqual(
        [world.keyed.photos, world.keyed.storage, world.keyed.archive].map(({ proof }) => ({ jkt: proof.jkt })),
      );
      expect([one, two, three].map((told) => told?.token_type)).toEqual(['DPoP', 'DPoP', 'DPoP']);
    }
    const steps = (await stepsOf(world)).filter(({ txn }) => txn === start?.jti);
    expect(
      steps.map(({ id, parent, client_id, target, refused }) => ({ id, parent, client_id, target, refused })),
    ).toEqual([
      { id: one?.jti, parent: start?.jti, client_id: a, target: STORAGE, refused: null },
      { id: two?.jti, parent: one?.jti, client_id: b, target: ARCHIVE, refused: null },
      { id: three?.jti, parent: two?.jti, client_id: c, target: PHOTOS, refused: null },
    ]);
    expect(steps[2]).toMatchObject({
      subject: world.alice,
      user_id: world.alice,
      origin,
      source: ARCHIVE,
      policy: `${c}-to-photos`,
    });
  });

  it('for a batch job, which is nobody but itself', async () => {
    const [start, , , three] = await follow(await batchToken(world), world.apis);
    expect(three).toMatchObject({
      sub: 'batch',
      txn: start?.jti,
      origin: { client_id: 'batch', jti: start?.jti, grant_type: 'client_credentials' },
      act: { sub: 'archive-api', act: { sub: 'storage-api', act: { sub: 'photos-api' } } },
    });
    expect(three?.origin).not.toHaveProperty('sub');
    expect(three).not.toHaveProperty('auth_time');
  });

  it('an API that holds keys makes a bearer token its own', async () => {
    const { access_token } = await webTokens(world);
    const bound = await step(world, world.keyed.photos, access_token, STORAGE);
    expect(await introspected(world, world.apis.storage, bound)).toMatchObject({
      cnf: { jkt: world.keyed.photos.proof.jkt },
    });
  });
});

describe('an exchange', () => {
  let world: ExchangeWorld;
  let first: Awaited<ReturnType<typeof webTokens>>;
  beforeAll(async () => {
    world = await startExchangeWorld();
    first = await webTokens(world);
  });
  afterAll(() => world.close());

  it('answers as RFC 8693 §2.2.1 says, without anything that could be used again', async () => {
    const { status, json, headers } = await exchange(world, world.photosApi, first.access_token, { resource: STORAGE });
    expect(status).toBe(200);
    expect(headers.get('cache-control')).toContain('no-store');
    expect(json).toEqual({
      access_token: expect.stringMatching(/^gate_ex_/),
      issued_token_type: ACCESS_TOKEN,
      token_type: 'Bearer',
      expires_in: expect.any(Number),
      scope: 'storage.read storage.write',
    });
  });

  it('gives of the scope what is asked for', async () => {
    const { json } = await exchange(world, world.photosApi, first.access_token, {
      audience: STORAGE,
      scope: 'storage.read',
    });
    expect(json.scope).toBe('storage.read');
  });

  it('takes one target, by either name or by both', async () => {
    for (const fields of [{ resource: STORAGE }, { audience: STORAGE }, { resource: STORAGE, audience: STORAGE }])
      expect((await exchange(world, world.photosApi, first.access_token, fields)).status).toBe(200);
    for (const fields of [
      {},
      { resource: [STORAGE, ARCHIVE] },
      { resource: STORAGE, audience: ARCHIVE },
      { audience: 'storage' },
    ])
      expect((await exchange(world, world.photosApi, first.access_token, fields)).json.error).toBe('invalid_target');
  });

  it('gives a JWT where one is asked for, and the target takes it', async () => {
    const { json } = await exchange(world, world.photosApi, first.access_token, {
      resource: ARCHIVE,
      requested_token_type: JWT,
    });
    expect(json).toMatchObject({ issued_token_type: JWT, token_type: 'Bearer' });
    expect(decodeProtectedHeader(String(json.access_token)).typ).toBe('at+jwt');
    const opaque = await exchange(world, world.photosApi, first.access_token, {
      resource: STORAGE,
      requested_token_type: JWT,
    });
    expect(opaque.json).toMatchObject({ error: 'invalid_request' });
  });

  it('is open to whoever holds a token, by a policy of its own', async () => {
    const token = await step(world, world.web, first.access_token, STORAGE);
    expect(await introspected(world, world.storageApi, token)).toMatchObject({
      client_id: 'web',
      act: { sub: 'web' },
      sub: world.alice,
    });
  });

  it('takes the ID token of a client that is registered for it, and says where the person came from', async () => {
    const token = await step(world, world.web, first.id_token, STORAGE, { subject_token_type: ID_TOKEN });
    const { jti, iat, auth_time } = decodeJwt(first.id_token);
    expect(await introspected(world, world.storageApi, token)).toMatchObject({
      sub: world.alice,
      scope: 'storage.read',
      txn: jti,
      origin: { client_id: 'web', sub: world.alice, jti, iat, grant_type: 'authorization_code' },
      act: { sub: 'web' },
      auth_time,
    });
  });

  it('leaves the ID tokens of all others as they were', async () => {
    const names = (token: string) => Object.keys(decodeJwt(token));
    expect(names(first.id_token)).toEqual(expect.arrayContaining(['jti', 'grant_id']));
    const plain = await world.client({
      client_id: 'plain',
      redirect_uris: ['https://web.example/callback'],
      grant_types: ['authorization_code'],
      scope: 'openid photos.read',
    });
    const other = await webTokens({ ...world, web: plain }, { scope: 'openid photos.read' });
    expect(names(other.id_token)).not.toContain('jti');
    expect(names(other.id_token)).not.toContain('grant_id');
  });

  describe('with an actor token', () => {
    const ownToken = async (api: Api) => {
      const { json } = await post(
        `${world.issuer}/token`,
        { grant_type: 'client_credentials' },
        { basic: world.apis[api] },
      );
      return String(json.access_token);
    };

    it('names the client whose token it is', async () => {
      const token = await step(world, world.photosApi, first.access_token, STORAGE, {
        actor_token: await ownToken('photos'),
        actor_token_type: ACCESS_TOKEN,
      });
      expect(await introspected(world, world.storageApi, token)).toMatchObject({ act: { sub: 'photos-api' } });
    });

    it('names the person who acts, and the client through which', async () => {
      const bob = await webTokens(world, { browser: await browserOf(world, 'bob', 'builder') });
      for (const [actor_token, actor_token_type] of [
        [bob.access_token, ACCESS_TOKEN],
        [bob.id_token, ID_TOKEN],
      ] as const) {
        const token = await step(world, world.web, first.access_token, STORAGE, { actor_token, actor_token_type });
        expect(await introspected(world, world.storageApi, token)).toMatchObject({
          sub: world.alice,
          act: { sub: world.bob, client_id: 'web' },
        });
      }
    });

    it('ends with it', async () => {
      const { json } = await post(
        `${world.issuer}/token`,
        { grant_type: 'client_credentials' },
        { basic: world.photosApi },
      );
      world.clock.advance(100);
      const fresh = await webTokens(world);
      const issued = await exchange(world, world.photosApi, fresh.access_token, {
        resource: STORAGE,
        actor_token: String(json.access_token),
        actor_token_type: ACCESS_TOKEN,
      });
      expect(Number(issued.json.expires_in)).toBeLessThanOrEqual(200);
      first = await webTokens(world);
    });
  });

  it('under impersonation shows nobody but the subject; the record does', async () => {
    await world.dropPolicy('photos-api-to-archive');
    await world.policy({
      name: 'as-alice',
      client: 'photos-api',
      source: PHOTOS,
      target: ARCHIVE,
      mode: 'impersonation',
    });
    const token = await step(world, world.photosApi, first.access_token, ARCHIVE);
    const told = await introspected(world, world.archiveApi, token);
    expect(told).toMatchObject({ sub: world.alice, client_id: 'photos-api', origin: { client_id: 'web' } });
    expect(told).not.toHaveProperty('act');
    expect((await stepsOf(world)).at(-1)).toMatchObject({
      client_id: 'photos-api',
      target: ARCHIVE,
      act: null,
      policy: 'as-alice',
    });
    // What was seen before stays seen.
    const deeper = await step(
      world,
      world.storageApi,
      await step(world, world.photosApi, first.access_token, STORAGE),
      ARCHIVE,
    );
    expect(await introspected(world, world.archiveApi, deeper)).toMatchObject({
      act: { sub: 'storage-api', act: { sub: 'photos-api' } },
    });
  });

  it('makes a grant for another domain, good there alone and for a minute', async () => {
    const issuer = 'https://partner.example';
    await world.trustDomain({ issuer });
    await world.policy({ name: 'to-partner', client: 'storage-api', source: STORAGE, target: issuer });
    const token = await step(world, world.photosApi, first.access_token, STORAGE);
    const { status, json } = await exchange(world, world.storageApi, token, { audience: issuer });
    expect(status).toBe(200);
    expect(json).toMatchObject({ issued_token_type: JWT, token_type: 'N_A', scope: 'read' });
    expect(Number(json.expires_in)).toBeLessThanOrEqual(60);
    const grant = String(json.access_token);
    expect(decodeProtectedHeader(grant)).toMatchObject({ typ: 'authorization-grant+jwt' });
    const { jti, txn, origin } = await introspected(world, world.storageApi, token);
    expect(decodeJwt(grant)).toMatchObject({
      iss: world.issuer,
      sub: world.alice,
      aud: issuer,
      client_id: 'storage-api',
      scope: 'read',
      txn,
      origin,
      act: { sub: 'storage-api', act: { sub: 'photos-api' } },
      acr: 'urn:gatehouse:acr:password',
      auth_time: expect.any(Number),
    });
    const { iat = 0, exp = 0, jti: id } = decodeJwt(grant);
    expect(exp - iat).toBeLessThanOrEqual(60);
    expect((await stepsOf(world)).at(-1)).toMatchObject({ id, parent: jti, target: issuer, issued_token_type: JWT });
    // It is no token here.
    expect(await introspected(world, world.storageApi, grant)).toEqual({ active: false });
    const refused = await exchange(world, world.storageApi, token, {
      audience: issuer,
      requested_token_type: ACCESS_TOKEN,
    });
    expect(refused.json.error).toBe('invalid_request');
  });

  it('takes two round trips, three with an actor token', async () => {
    const { json } = await post(
      `${world.issuer}/token`,
      { grant_type: 'client_credentials' },
      { basic: world.photosApi },
    );
    const actor = { actor_token: String(json.access_token), actor_token_type: ACCESS_TOKEN };
    const nothing = async () => undefined;
    const asking = (fields: Record<string, string>, type = ACCESS_TOKEN) =>
      world.roundTripsOf(nothing, async () => {
        const token = type === ACCESS_TOKEN ? first.access_token : first.id_token;
        const party = type === ACCESS_TOKEN ? world.photosApi : world.web;
        expect((await exchange(world, party, token, { subject_token_type: type, ...fields })).status).toBe(200);
      });
    expect(await asking({ resource: STORAGE })).toBe(2);
    expect(await asking({ resource: ARCHIVE })).toBe(2);
    expect(await asking({ resource: STORAGE }, ID_TOKEN)).toBe(2);
    expect(await asking({ resource: STORAGE, ...actor })).toBe(3);
    const keyed = (await appTokens(world)).access_token;
    expect(
      await world.roundTripsOf(nothing, () => exchange(world, world.keyed.photos, keyed, { resource: STORAGE })),
    ).toBe(2);
    expect(await world.roundTripsOf(nothing, () => introspected(world, world.storageApi, 'gate_ex_x'))).toBe(0);
    const token = await step(world, world.photosApi, first.access_token, STORAGE);
    expect(await world.roundTripsOf(nothing, () => introspected(world, world.storageApi, token))).toBe(1);
  });

  it('is as good at another node', async () => {
    const node = await world.secondNode();
    try {
      const token = await step(world, world.photosApi, first.access_token, STORAGE, {}, { at: node.running.address });
      const next = await step(world, world.storageApi, token, ARCHIVE);
      expect(await introspected(world, world.archiveApi, next, node.running.address)).toMatchObject({ active: true });
      await post(`${node.running.address}/revoke`, { token }, { basic: world.photosApi });
      expect(await introspected(world, world.archiveApi, next)).toEqual({ active: false });
    } finally {
      await node.close();
    }
  });
});

async function browserOf(world: ExchangeWorld, username: string, password: string): Promise<TestBrowser> {
  const browser = new TestBrowser(world);
  await signIn(browser, await browser.visit('/login'), username, password);
  return browser;
}
