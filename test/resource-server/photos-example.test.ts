/** The applications of examples/photos, over real HTTP, with the foreign issuer as their Gatehouse. */

import { decodeJwt } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { startArchiveApi } from '../../examples/photos/archive-api.ts';
import { runBatch } from '../../examples/photos/batch.ts';
import { html } from '../../examples/photos/html.ts';
import { startPhotosApi } from '../../examples/photos/photos-api.ts';
import { drawPicture, PICTURE_NAMES } from '../../examples/photos/pictures.ts';
import { startStorageApi } from '../../examples/photos/storage-api.ts';
import { startWebApp } from '../../examples/photos/web-app.ts';
import { freePort } from '../support/ports.ts';
import { ask } from './api.ts';
import { type AuthorizingIssuer, startAuthorizingIssuer } from './authorizing-issuer.ts';
import { makeProofKey, prove } from './proof-key.ts';

let gatehouse: AuthorizingIssuer;
let web: string;
let photosApi: string;
let storageApi: string;
let archiveApi: string;
let batch: Parameters<typeof runBatch>[0];
const servers: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  const ports = [await freePort(), await freePort(), await freePort(), await freePort()] as const;
  const [webPort, photosPort, storagePort, archivePort] = ports;
  const at = (port: number) => `http://localhost:${port}`;
  [web, photosApi, storageApi, archiveApi] = [at(webPort), at(photosPort), at(storagePort), at(archivePort)];
  gatehouse = await startAuthorizingIssuer(storageApi, { [photosApi]: 'photos-api', [storageApi]: 'photos:api' });
  const { issuer, client } = gatehouse.issuer;
  const credentials = (clientId: string) => ({ issuer, clientId, clientSecret: gatehouse.secrets[clientId] ?? '' });
  servers.push(
    await startArchiveApi({ issuer, port: archivePort, resource: archiveApi }),
    await startStorageApi({ issuer, ...client, port: storagePort, resource: storageApi, archiveApi }),
    await startPhotosApi({
      ...credentials('photos-api'),
      port: photosPort,
      resource: photosApi,
      storageApi,
      allowedOrigins: [web],
    }),
    await startWebApp({
      ...credentials('photos-web'),
      port: webPort,
      origin: web,
      photosApi,
      spaClientId: 'photos-spa',
    }),
  );
  batch = { ...credentials('photos-batch'), photosApi };
});
afterAll(async () => {
  await Promise.all(servers.map((server) => server.close()));
  await gatehouse.issuer.close();
});
beforeEach(() => {
  vi.useRealTimers();
  Object.assign(gatehouse, { lifetime: 300, refusal: undefined });
  for (const list of [gatehouse.authorizations, gatehouse.grants, gatehouse.revoked]) list.length = 0;
});

/** A browser with one cookie that follows no redirect by itself. */
class Visitor {
  cookie = '';

  async go(url: string, form?: Record<string, string>) {
    const headers: Record<string, string> = this.cookie === '' ? {} : { cookie: this.cookie };
    if (form !== undefined) headers['content-type'] = 'application/x-www-form-urlencoded';
    const body = new URLSearchParams(form).toString();
    const answer = await ask(form === undefined ? 'GET' : 'POST', new URL(url, web).href, headers, body);
    const [set] = answer.headers['set-cookie'] ?? [];
    if (set !== undefined) this.cookie = set.split(';', 1)[0] ?? '';
    return { ...answer, location: answer.headers.location ?? '' };
  }

  /** As far as the return from the issuer, which is not followed. */
  async returnAddress(): Promise<string> {
    const { location } = await this.go('/login');
    return (await ask('GET', location)).headers.location ?? '';
  }

  async signIn() {
    const answer = await this.go(await this.returnAddress());
    expect([answer.status, answer.location], answer.text).toEqual([303, '/photos']);
  }

  async csrfToken(): Promise<string> {
    return /name="csrf" value="([^"]+)"/.exec((await this.go('/')).text)?.[1] ?? '';
  }
}

describe('the web app', () => {
  test('signs alice in and shows her photos', async () => {
    const alice = new Visitor();
    expect((await alice.go('/')).text).toContain('Sign in with Gatehouse');
    expect((await alice.go('/photos')).location).toBe('/');
    await alice.signIn();
    const album = await alice.go('/photos');
    expect(album.status).toBe(200);
    expect(album.text.match(/<figure>/g)).toHaveLength(9);
    expect(album.text).toContain('Alice &#60;Liddell&#62;');
    expect(Object.fromEntries(gatehouse.authorizations[0] ?? [])).toMatchObject({
      client_id: 'photos-web',
      redirect_uri: `${web}/callback`,
      scope: 'openid profile email photos.read',
      resource: photosApi,
      code_challenge_method: 'S256',
    });
  });

  test('gives the browser a cookie that scripts cannot read, and never a token', async () => {
    const alice = new Visitor();
    const { headers, location } = await alice.go('/login');
    expect(headers['set-cookie']?.[0]).toMatch(/; Path=\/; HttpOnly; SameSite=Lax$/);
    const before = alice.cookie;
    const back = await alice.go((await ask('GET', location)).headers.location ?? '');
    expect(alice.cookie, 'a session fixed before the sign-in').not.toBe(before);
    const page = await alice.go('/photos');
    expect(JSON.stringify([back, page])).not.toMatch(/eyJ|access_token|refresh_token/);
    expect((await new Visitor().go('/photos')).location).toBe('/');
  });

  test('takes each answer once, and only in the browser that asked', async () => {
    const alice = new Visitor();
    const address = await alice.returnAddress();
    expect((await new Visitor().go(address)).status, 'another browser').toBe(400);
    expect((await alice.go(address.replace(/state=[^&]+/, 'state=other'))).status, 'another state').toBe(400);
    expect((await alice.go(address)).status).toBe(303);
    expect((await alice.go(address)).status, 'the second time').toBe(400);
    expect(gatehouse.grants).toHaveLength(1);
  });

  test('keeps sign-ins in two tabs apart', async () => {
    const alice = new Visitor();
    const [first, second] = [await alice.returnAddress(), await alice.returnAddress()];
    expect((await alice.go(first)).status).toBe(303);
    expect(gatehouse.authorizations[0]?.get('code_challenge')).not.toBe(
      gatehouse.authorizations[1]?.get('code_challenge'),
    );
    expect((await alice.go(second)).status, 'begun in the session that the first one ended').toBe(400);
  });

  test('RFC9207-2.4: redeems no code that came with another issuer', async () => {
    const alice = new Visitor();
    const address = new URL(await alice.returnAddress());
    address.searchParams.set('iss', 'https://other.example');
    expect((await alice.go(address.href)).status).toBe(502);
    expect(gatehouse.grants).toHaveLength(0);
  });

  test('says so when alice refuses', async () => {
    gatehouse.refusal = 'access_denied';
    const alice = new Visitor();
    const answer = await alice.go(await alice.returnAddress());
    expect(answer.status).toBe(400);
    expect(answer.text).toContain('access_denied');
  });

  test('refreshes an expired token once for requests that come together', async () => {
    gatehouse.lifetime = 4; // the app counts five seconds off
    const alice = new Visitor();
    await alice.signIn();
    gatehouse.lifetime = 300;
    const albums = await Promise.all([alice.go('/photos'), alice.go('/photos'), alice.go('/photos')]);
    expect(albums.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(gatehouse.grants.filter((asked) => asked.get('grant_type') === 'refresh_token')).toHaveLength(1);
  });

  test('asks for a new sign-in when the refresh token is dead', async () => {
    gatehouse.lifetime = 4;
    const alice = new Visitor();
    await alice.signIn();
    gatehouse.refreshTokens.clear();
    expect((await alice.go('/photos')).status).toBe(401);
    expect((await alice.go('/photos')).location, 'the session is gone').toBe('/');
  });

  test('signs out with its own form only, revokes the refresh token and goes on to the issuer', async () => {
    const alice = new Visitor();
    await alice.signIn();
    const csrf = await alice.csrfToken();
    const cookie = alice.cookie;
    const [refreshToken] = [...gatehouse.refreshTokens.keys()].slice(-1);
    for (const form of [{}, { csrf: '' }, { csrf: 'guess' }])
      expect((await alice.go('/logout', form as Record<string, string>)).status).toBe(403);
    expect((await alice.go('/photos')).status).toBe(200);

    const answer = await alice.go('/logout', { csrf });
    expect(answer.status).toBe(303);
    const url = new URL(answer.location ?? '');
    expect(url.origin + url.pathname).toBe(`${gatehouse.issuer.issuer}/logout`);
    expect([...url.searchParams.keys()].sort()).toEqual(['client_id', 'id_token_hint', 'post_logout_redirect_uri']);
    expect(decodeJwt(url.searchParams.get('id_token_hint') ?? '').aud).toBe(url.searchParams.get('client_id'));
    expect(gatehouse.revoked).toEqual([refreshToken]);
    alice.cookie = cookie;
    expect((await alice.go('/photos')).location, 'the old cookie').toBe('/');
  });

  test('lets its pages send forms to itself and the issuer, and load nothing from elsewhere', async () => {
    const policy = (await new Visitor().go('/')).headers['content-security-policy'];
    expect(policy).toContain(`form-action 'self' ${gatehouse.issuer.issuer};`);
    expect(policy).toContain("default-src 'none'");
    const spa = (await new Visitor().go('/spa/callback?code=x')).headers['content-security-policy'];
    expect(spa).toContain(`connect-src 'self' ${gatehouse.issuer.issuer} ${photosApi};`);
  });
});

describe('the APIs', () => {
  const photosToken = (changes: Record<string, unknown> = {}) =>
    gatehouse.issuer.sign({ ...gatehouse.issuer.claims(photosApi), ...changes });
  const asBearer = async (token: Promise<string>) => ({ authorization: `Bearer ${await token}` });

  test('the photos API names its scope, and the storage takes only its own tokens', async () => {
    expect((await ask('GET', `${photosApi}/photos`)).status).toBe(401);
    const other = await ask('GET', `${photosApi}/photos`, await asBearer(photosToken({ scope: 'openid' })));
    expect(other.status).toBe(403);
    expect((await ask('GET', `${storageApi}/objects/dunes`, await asBearer(photosToken()))).status).toBe(401);
  });

  test('both APIs take a token that is bound to a key with a proof of that key only (RFC 9449 §7)', async () => {
    const key = await makeProofKey();
    const cnf = { jkt: key.jkt };
    const opaque = { ...gatehouse.issuer.claims(storageApi), scope: 'storage.read', cnf };
    gatehouse.issuer.introspected.set('bound', { active: true, token_type: 'DPoP', ...opaque });
    for (const [url, token] of [
      [`${photosApi}/photos`, await photosToken({ cnf })],
      [`${storageApi}/objects/dunes`, 'bound'],
    ] as const) {
      const dpop = await prove(key, 'GET', url, token);
      expect((await ask('GET', url, { authorization: `DPoP ${token}`, dpop })).status).toBe(200);
      expect((await ask('GET', url, { authorization: `DPoP ${token}`, dpop })).status, 'used again').toBe(401);
      expect((await ask('GET', url, { authorization: `Bearer ${token}` })).status).toBe(401);
    }
  });

  test('all APIs describe themselves (RFC 9728)', async () => {
    for (const [api, resource_name, scope] of [
      [photosApi, 'Photos', 'photos.read'],
      [storageApi, 'Photo storage', 'storage.read'],
      [archiveApi, 'Photo archive', 'archive.read'],
    ] as const) {
      const { json } = await ask('GET', `${api}/.well-known/oauth-protected-resource`);
      expect(json).toMatchObject({ resource: api, resource_name, scopes_supported: expect.arrayContaining([scope]) });
    }
  });

  test('one exchange for each API serves all requests with one token', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const bearer = await asBearer(photosToken());
    const list = async () => (await ask('GET', `${photosApi}/photos`, bearer)).status;
    expect([await list(), await list()]).toEqual([200, 200]);
    const exchanged = () => gatehouse.grants.map((asked) => [asked.get('resource'), asked.get('scope')]);
    const [toStorage, toArchive] = [
      [storageApi, 'storage.read'],
      [archiveApi, 'archive.read'],
    ];
    expect(exchanged()).toEqual([toStorage, toArchive]);
    for (const asked of gatehouse.grants) expect(asked.get('grant_type')).toMatch(/:token-exchange$/);
    gatehouse.issuer.introspected.clear(); // ended at the storage: another one is asked for
    expect(await list()).toBe(200);
    expect(exchanged()).toEqual([toStorage, toArchive, toStorage, toArchive]);
    vi.setSystemTime(Date.now() + 3_600_000); // the caller's own has expired
    expect(await list()).toBe(401);
    expect(gatehouse.grants).toHaveLength(4);
  });

  test('the token of the caller goes no further than the API it is for', async () => {
    const token = await photosToken();
    const before = gatehouse.issuer.times('/introspection');
    expect((await ask('GET', `${photosApi}/photos`, { authorization: `Bearer ${token}` })).status).toBe(200);
    expect(gatehouse.issuer.times('/introspection')).toBeGreaterThan(before);
    const [toStorage, toArchive] = gatehouse.grants.map((asked) => asked.get('subject_token') ?? '');
    expect(toStorage).toBe(token);
    expect(toArchive).not.toBe(token);
    for (const [url, foreign] of [
      [`${storageApi}/objects/dunes`, token],
      [`${archiveApi}/boxes/dunes`, token],
      [`${archiveApi}/boxes/dunes`, toArchive],
    ])
      expect((await ask('GET', String(url), { authorization: `Bearer ${foreign}` })).status).toBe(401);
  });

  test('a caller whose token has ended in the meantime is told so', async () => {
    // Good by its signature, and unknown to the issuer when it is exchanged.
    const bearer = await asBearer(photosToken({ aud: [photosApi, 'https://other.example'] }));
    const answer = await ask('GET', `${photosApi}/photos`, bearer);
    expect([answer.status, answer.headers['www-authenticate']]).toEqual([401, 'Bearer error="invalid_token"']);
  });

  test('each API was told more than the one before', async () => {
    const { json } = await ask('GET', `${photosApi}/story`, await asBearer(photosToken({ jti: 'first' })));
    expect(json?.told).toMatchObject([
      { name: 'Photos API', sub: 'alice', actors: [], origin: { client: 'photos-web' } },
      { name: 'Storage API', sub: 'alice', actors: ['photos-api'], txn: 'first', origin: { client: 'photos-web' } },
      { name: 'Archive API', sub: 'alice', actors: ['photos:api', 'photos-api'], txn: 'first' },
    ]);
  });

  test('what bob adds, only bob sees', async () => {
    const bob = await asBearer(photosToken({ sub: 'bob', scope: 'photos.read photos.write' }));
    const post = (body: unknown, headers = bob) =>
      ask('POST', `${photosApi}/photos`, { ...headers, 'content-type': 'application/json' }, JSON.stringify(body));
    expect((await post({ title: 'Mine', object: 'dunes' }, await asBearer(photosToken()))).status).toBe(403);
    expect((await post({ title: 'Mine', object: '../secret' })).status).toBe(400);
    expect((await post({ title: 'Mine', object: 'dunes' })).status).toBe(201);
    const seenBy = async (headers: Record<string, string>) =>
      (await ask('GET', `${photosApi}/photos`, headers)).text.match(/"title"/g)?.length;
    expect(await seenBy(bob)).toBe(10);
    expect(await seenBy(await asBearer(photosToken()))).toBe(9);
  });

  test('CORS lets the browser-only app call and read, and no other origin', async () => {
    const preflight = await ask('OPTIONS', `${photosApi}/photos`, {
      origin: web,
      'access-control-request-method': 'GET',
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers['access-control-allow-origin']).toBe(web);
    for (const header of ['Authorization', 'DPoP'])
      expect(preflight.headers['access-control-allow-headers']).toContain(header);
    const refused = await ask('GET', `${photosApi}/photos`, { origin: web });
    expect([refused.status, refused.headers['access-control-allow-origin']]).toEqual([401, web]);
    const stranger = await ask('OPTIONS', `${photosApi}/photos`, { origin: 'https://evil.example' });
    expect(stranger.headers['access-control-allow-origin']).toBeUndefined();
  });

  test('the batch job counts the photos in its own name', async () => {
    expect((await runBatch(batch)).photos).toBe(9);
    expect(gatehouse.grants[0]?.get('grant_type')).toMatch(/client_credentials/);
  });
});

describe('the pieces', () => {
  test('pictures are the same every time, and there is one for each name only', () => {
    for (const name of PICTURE_NAMES) {
      expect(drawPicture(name)).toBe(drawPicture(name));
      expect(drawPicture(name)).not.toMatch(/NaN|undefined|Infinity/);
    }
    for (const name of ['none', '__proto__', 'constructor', '']) expect(drawPicture(name)).toBeUndefined();
  });

  test('HTML escapes what is put in, and only that', () => {
    const name = `<script>"'&`;
    expect(html`<b title="${name}">${html`<i>${name}</i>`}</b>`.text).toBe(
      '<b title="&#60;script&#62;&#34;&#39;&#38;"><i>&#60;script&#62;&#34;&#39;&#38;</i></b>',
    );
  });
});
