import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setClientDisabled } from '../../src/postgres/clients.pg.ts';
import { findUser, setUserDisabled } from '../../src/postgres/people.pg.ts';
import { formTo, post } from '../support/browser.ts';
import { getCode, PHOTOS, redeem, STORAGE, startWorld, type World } from '../support/world.ts';

interface Issued {
  readonly access_token: string;
  readonly refresh_token: string;
  readonly id_token: string;
}

describe('introspection (RFC 7662)', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  const ask = (
    token: string,
    as: { id: string; secret: string },
    path = '/token_info',
    extra: Record<string, string> = {},
  ) => post(`${world.issuer}${path}`, { token, ...extra }, { basic: as });

  async function issued(
    resource = PHOTOS,
  ): Promise<Issued & { browser: Awaited<ReturnType<typeof getCode>>['browser'] }> {
    const flow = await getCode(world, { scope: 'openid photos.read storage.read' });
    const { json } = await redeem(world, flow, 'web', { resource });
    return { ...(json as unknown as Issued), browser: flow.browser };
  }

  it.each([
    ['a signed', PHOTOS, 'photos.read'],
    ['an opaque', STORAGE, 'storage.read'],
  ])('tells the API of %s access token what it is worth, alike at both addresses', async (_what, resource, scope) => {
    const { access_token } = await issued(resource);
    const api = resource === PHOTOS ? world.photosApi : world.storageApi;
    const { status, json, headers } = await ask(access_token, api);
    expect(status).toBe(200);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(json).toEqual({
      active: true,
      iss: world.issuer,
      sub: world.alice,
      aud: [resource, world.issuer],
      client_id: world.web.id,
      scope: `openid ${scope}`,
      token_type: 'Bearer',
      iat: expect.any(Number),
      exp: Number(json.iat) + 300,
      jti: expect.stringMatching(/^[0-9a-f-]{36}$/),
      // A first token begins a call.
      txn: json.jti,
      auth_time: expect.any(Number),
      acr: 'urn:gatehouse:acr:password',
      amr: ['pwd'],
    });
    expect((await ask(access_token, api, '/introspect')).json).toEqual(json);
  });

  it.each(['access_token', 'refresh_token', 'nonsense'])(
    'finds the token whatever token_type_hint says: %s',
    async (hint) => {
      const { access_token, refresh_token } = await issued();
      for (const token of [access_token, refresh_token]) {
        expect((await ask(token, world.web, '/token_info', { token_type_hint: hint })).json.active).toBe(true);
      }
    },
  );

  it('tells a client of its own tokens, the refresh token too', async () => {
    const { access_token, refresh_token } = await issued();
    expect((await ask(access_token, world.web)).json).toMatchObject({ active: true, sub: world.alice });
    const { json } = await ask(refresh_token, world.web);
    expect(json).toMatchObject({ active: true, client_id: world.web.id, scope: 'openid photos.read storage.read' });
    expect(json).not.toHaveProperty('token_type');
    expect(json).not.toHaveProperty('aud');
  });

  it('says the same two words to everybody else and of everything else', async () => {
    const photos = await issued();
    const storage = await issued(STORAGE);
    const tampered = `${photos.access_token.slice(0, -6)}AAAAAA`;
    for (const [token, as] of [
      [photos.access_token, world.storageApi],
      [photos.access_token, world.batch],
      [storage.access_token, world.photosApi],
      [photos.refresh_token, world.photosApi],
      [photos.refresh_token, world.batch],
      [photos.id_token, world.web],
      [photos.id_token, world.photosApi],
      [tampered, world.photosApi],
      [`${storage.access_token.slice(0, -1)}${storage.access_token.endsWith('A') ? 'B' : 'A'}`, world.storageApi],
      ['garbage', world.photosApi],
      ['ey.ey.ey', world.photosApi],
      [world.web.secret, world.web],
    ] as const) {
      const { status, text } = await ask(token, as);
      expect([status, text]).toEqual([200, '{"active":false}']);
    }
  });

  it('needs a client that authenticates, and a token', async () => {
    const { access_token } = await issued();
    const url = `${world.issuer}/token_info`;
    const nobody = await post(url, { token: access_token });
    expect([nobody.status, nobody.json.error]).toEqual([401, 'invalid_client']);
    expect(nobody.headers.get('www-authenticate')).toContain('Basic realm=');
    const open = await post(url, { token: access_token, client_id: world.spa.id });
    expect([open.status, open.json.error]).toEqual([401, 'invalid_client']);
    const wrong = await ask(access_token, { ...world.photosApi, secret: world.web.secret });
    expect([wrong.status, wrong.json.error]).toEqual([401, 'invalid_client']);
    const empty = await post(url, {}, { basic: world.photosApi });
    expect([empty.status, empty.json.error]).toEqual([400, 'invalid_request']);
    expect((await fetch(url)).status).toBe(405);
  });

  it('a token ends with its time', async () => {
    const { access_token } = await issued();
    world.clock.advance(301);
    expect((await ask(access_token, world.photosApi)).json).toEqual({ active: false });
  });

  it('a token ends with its person, its client and their consent, at once', async () => {
    const { sql } = world.running.database;
    const consent = await issued();
    const page = await consent.browser.visit('/account');
    await consent.browser.submit(formTo(page, '/account/access'), { client_id: world.web.id });
    expect((await ask(consent.access_token, world.photosApi)).json).toEqual({ active: false });

    const person = await issued();
    expect((await ask(person.access_token, world.photosApi)).json.active).toBe(true);
    await setUserDisabled(sql, (await findUser(sql, 'alice'))?.id ?? '', true, world.clock.now());
    expect((await ask(person.access_token, world.photosApi)).json).toEqual({ active: false });
    await setUserDisabled(sql, world.alice, false, world.clock.now());
    expect((await ask(person.access_token, world.photosApi)).json).toEqual({ active: false });

    const client = await issued();
    expect((await ask(client.access_token, world.photosApi)).json.active).toBe(true);
    await setClientDisabled(sql, world.web.id, true, world.clock.now());
    expect((await ask(client.access_token, world.photosApi)).json).toEqual({ active: false });
    await setClientDisabled(sql, world.web.id, false, world.clock.now());
  });
});
