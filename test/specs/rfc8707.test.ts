/** Resource indicators: RFC 8707, and our decisions where it leaves room (one audience for each token). */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorizePath, decide, pkce, post, responseOf, signIn, TestBrowser } from '../support/browser.ts';
import { pushedPath } from '../support/dpop-world.ts';
import {
  getCode,
  introspect,
  PHOTOS,
  redeem,
  refresh,
  STORAGE,
  startWorld,
  WEB_REDIRECT,
  type World,
} from '../support/world.ts';

const BOTH = 'openid photos.read storage.read';
/** What alice has allowed before a flow begins. */
const ALL = 'openid profile photos.read photos.write storage.read';

describe('RFC 8707', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  const token = (fields: [string, string][]) =>
    post(`${world.issuer}/token`, new URLSearchParams(fields).toString(), { basic: world.web });

  async function flowFor(resources: string[], scope = BOTH) {
    const { challenge, verifier } = pkce();
    const browser = (await getCode(world, { scope: ALL })).browser;
    const path = authorizePath({
      client_id: world.web.id,
      redirect_uri: WEB_REDIRECT,
      scope,
      code_challenge: challenge,
    });
    const page = await browser.visit(
      path + resources.map((resource) => `&resource=${encodeURIComponent(resource)}`).join(''),
    );
    return { verifier, answer: responseOf(page) };
  }
  const codeFields = (
    flow: { verifier: string; answer: URLSearchParams },
    resources: string[] = [],
  ): [string, string][] => [
    ['grant_type', 'authorization_code'],
    ['code', flow.answer.get('code') ?? ''],
    ['code_verifier', flow.verifier],
    ['redirect_uri', WEB_REDIRECT],
    ...resources.map((resource): [string, string] => ['resource', resource]),
  ];

  it('§2: the parameter may be repeated at the authorization endpoint; the grant covers all of them', async () => {
    const flow = await flowFor([PHOTOS, STORAGE]);
    const first = await token(codeFields(flow, [PHOTOS]));
    expect(first.json).toMatchObject({ scope: 'openid photos.read' });
    const second = await refresh(world, String(first.json.refresh_token), 'web', { resource: STORAGE });
    expect(second.json).toMatchObject({ scope: 'openid storage.read' });
  });

  it.each([
    ['unknown', 'https://evil.example'],
    ['with a fragment', `${PHOTOS}#x`],
    ['not absolute', '/photos'],
    ['with one slash more', `${PHOTOS}/`],
    ['in upper case', PHOTOS.toUpperCase()],
    ['a part of one', 'https://photos'],
    ['with the port that is meant anyway', `${PHOTOS}:443`],
    ['with a user before another host', `${PHOTOS}@evil.example`],
    ['encoded twice', encodeURIComponent(PHOTOS)],
    ['two in one value', `${PHOTOS} ${STORAGE}`],
  ])('§2: a resource that is %s gives invalid_target, at both endpoints', async (_what, resource) => {
    expect((await flowFor([resource])).answer.get('error')).toBe('invalid_target');
    const { json } = await redeem(world, await getCode(world, { scope: BOTH }), 'web', { resource });
    expect(json.error).toBe('invalid_target');
  });

  it('§2: a known resource beside an unknown one does not help', async () => {
    expect((await flowFor([PHOTOS, 'https://evil.example'])).answer.get('error')).toBe('invalid_target');
  });

  it('§2: an API of which this client may ask nothing is refused as one that is not there', async () => {
    const plain = await world.client({ redirect_uris: ['https://plain.example/'], scope: 'openid photos.read' });
    const browser = (await getCode(world)).browser;
    const answers = await Promise.all(
      [STORAGE, 'https://evil.example'].map(async (resource) => {
        const challenge = pkce().challenge;
        const path = authorizePath({ client_id: plain.id, scope: undefined, resource, code_challenge: challenge });
        return Object.fromEntries(responseOf(await browser.visit(path)));
      }),
    );
    expect(answers[0]).toMatchObject({ error: 'invalid_target' });
    expect(answers[0]).toEqual(answers[1]);
    const lone = { grant_type: 'client_credentials', resource: STORAGE };
    const machine = await world.client({ grant_types: ['client_credentials'], scope: 'photos.read' });
    expect((await post(`${world.issuer}/token`, lone, { basic: machine })).json.error).toBe('invalid_target');
  });

  it.each([
    ['unknown', [['resource', 'https://evil.example']]],
    ['unknown beside a known one', [PHOTOS, 'https://evil.example'].map((value) => ['resource', value])],
    ['one of which nothing was asked for', [['resource', STORAGE]]],
  ])('§2: a pushed request with a resource that is %s is refused when it is pushed', async (_what, resources) => {
    const fields = new URLSearchParams([
      ['response_type', 'code'],
      ['redirect_uri', WEB_REDIRECT],
      ['scope', 'openid photos.read'],
      ['code_challenge', pkce().challenge],
      ['code_challenge_method', 'S256'],
      ...(resources as [string, string][]),
    ]);
    const { status, json } = await post(`${world.issuer}/par`, fields.toString(), { basic: world.web });
    expect([status, json.error]).toEqual([400, 'invalid_target']);
  });

  it('§2: one without a value is none, and one that is named twice is named once', async () => {
    expect((await flowFor([''])).answer.has('code')).toBe(true);
    const flow = await flowFor([STORAGE, STORAGE]);
    expect((await token(codeFields(flow, [STORAGE, STORAGE]))).json.scope).toBe('openid storage.read');
  });

  it.each(['pushed', 'posted from another site'])('§2: all of them arrive when the request is %s', async (how) => {
    const { verifier, challenge } = pkce();
    const browser = (await getCode(world, { scope: BOTH })).browser;
    const fields = new URLSearchParams([
      ['client_id', world.web.id],
      ['response_type', 'code'],
      ['redirect_uri', WEB_REDIRECT],
      ['scope', BOTH],
      ['code_challenge', challenge],
      ['code_challenge_method', 'S256'],
      ['resource', PHOTOS],
      ['resource', STORAGE],
    ]).toString();
    const kept = async () => {
      const response = await fetch(`${world.issuer}/authorize`, {
        method: 'POST',
        redirect: 'manual',
        headers: { 'content-type': 'application/x-www-form-urlencoded', origin: 'https://web.example' },
        body: fields,
      });
      return response.headers.get('location') ?? '';
    };
    const pushed = async () => {
      const { json } = await post(`${world.issuer}/par`, fields, { basic: world.web });
      return pushedPath(String(json.request_uri));
    };
    const flow = { verifier, answer: responseOf(await browser.visit(await (how === 'pushed' ? pushed() : kept()))) };
    expect((await token(codeFields(flow))).json.error, 'two were granted').toBe('invalid_target');
    const first = await token(codeFields(flow, [STORAGE]));
    expect(first.json.scope).toBe('openid storage.read');
    const second = await refresh(world, String(first.json.refresh_token), 'web', { resource: PHOTOS });
    expect(second.json.scope).toBe('openid photos.read');
  });

  it('§2: nobody is asked to allow anything at an API that was not named', async () => {
    const browser = new TestBrowser(world);
    const path = authorizePath({
      client_id: world.web.id,
      redirect_uri: WEB_REDIRECT,
      scope: BOTH,
      resource: PHOTOS,
      code_challenge: pkce().challenge,
    });
    await world.user({ username: 'dinah', password: 'x' });
    const consent = await signIn(browser, await browser.visit(path), 'dinah', 'x');
    expect(consent.body).toContain('See your photos');
    expect(consent.body).not.toContain('Read your files');
    // Nor has she allowed it then: without the name she is asked again.
    await decide(browser, consent);
    const more = await browser.visit(path.replace(`&resource=${encodeURIComponent(PHOTOS)}`, ''));
    expect(more.url).toContain('/consent');
    expect(more.body).toContain('Read your files');
  });

  it('§2: a resource of which nothing was asked for is refused', async () => {
    expect((await flowFor([STORAGE], 'openid photos.read')).answer.get('error')).toBe('invalid_target');
  });

  it('§2.2: at the token endpoint a grant for several APIs needs one of them named, and keeps all', async () => {
    const flow = await flowFor([]);
    const without = await token(codeFields(flow));
    expect([without.status, without.json.error]).toEqual([400, 'invalid_target']);
    const two = await token(codeFields(flow, [PHOTOS, STORAGE]));
    expect([two.status, two.json.error]).toEqual([400, 'invalid_target']);
    // Nothing was burnt.
    const one = await token(codeFields(flow, [STORAGE]));
    expect(one.status).toBe(200);
    expect(one.json.access_token).toMatch(/^gate_at_/);
  });

  it('§2.2: no resource beyond those that were granted', async () => {
    const flow = await flowFor([PHOTOS]);
    expect((await token(codeFields(flow, [STORAGE]))).json.error).toBe('invalid_target');
    const issued = await token(codeFields(flow));
    expect(issued.json.scope).toBe('openid photos.read');
    const refused = await refresh(world, String(issued.json.refresh_token), 'web', { resource: STORAGE });
    expect(refused.json.error).toBe('invalid_target');
  });

  it('§2.2: a refresh is for one of them too, and narrows this token only', async () => {
    const flow = await flowFor([PHOTOS, STORAGE], ALL);
    const { json } = await token(codeFields(flow, [PHOTOS]));
    const again = (extra: [string, string][]) =>
      token([['grant_type', 'refresh_token'], ['refresh_token', String(json.refresh_token)], ...extra]);
    const refusals: [[string, string][], string][] = [
      [[], 'invalid_target'],
      [[PHOTOS, STORAGE].map((value) => ['resource', value]), 'invalid_target'],
      [[['resource', 'https://evil.example']], 'invalid_target'],
      [[['resource', `${STORAGE}/`]], 'invalid_target'],
      [[['resource', world.issuer]], 'invalid_target'],
      [[['scope', 'photos.read storage.read']], 'invalid_target'],
      [
        [
          ['resource', STORAGE],
          ['scope', 'photos.read'],
        ],
        'invalid_scope',
      ],
      [
        [
          ['resource', PHOTOS],
          ['scope', 'openid photos.read email'],
        ],
        'invalid_scope',
      ],
    ];
    for (const [extra, error] of refusals) {
      const refused = await again(extra);
      expect([extra, refused.status, refused.json.error]).toEqual([extra, 400, error]);
      expect(refused.json).not.toHaveProperty('access_token');
    }
    const narrowed: [[string, string][], string, string | string[]][] = [
      [[['scope', 'photos.read']], 'photos.read', PHOTOS],
      [[['scope', 'storage.read']], 'storage.read', STORAGE],
      [
        [
          ['resource', PHOTOS],
          ['scope', 'photos.read storage.read'],
        ],
        'photos.read',
        PHOTOS,
      ],
      [[['resource', STORAGE]], 'openid profile storage.read', [STORAGE, world.issuer]],
      // What the ones before left out was left out of them alone.
      [[['resource', PHOTOS]], 'openid profile photos.read photos.write', [PHOTOS, world.issuer]],
    ];
    for (const [extra, scope, aud] of narrowed) {
      const { json: issued } = await again(extra);
      expect(issued.scope).toBe(scope);
      const { storageApi, photosApi } = world;
      const api = [aud].flat().includes(STORAGE) ? storageApi : photosApi;
      expect(await introspect(world, String(issued.access_token), api)).toMatchObject({ active: true, aud, scope });
    }
  });

  it('§2.2: what was not asked for by its resource cannot be had by its scope', async () => {
    const { json } = await token(codeFields(await flowFor([PHOTOS])));
    const beyond = await refresh(world, String(json.refresh_token), 'web', { scope: 'storage.read' });
    expect([beyond.status, beyond.json.error]).toEqual([400, 'invalid_scope']);
  });

  it('§2.2: the client’s own grant names one too', async () => {
    const ask = (extra: [string, string][]) =>
      post(`${world.issuer}/token`, new URLSearchParams([['grant_type', 'client_credentials'], ...extra]).toString(), {
        basic: world.batch,
      });
    expect((await ask([PHOTOS, STORAGE].map((value) => ['resource', value]))).json.error).toBe('invalid_target');
    const { json } = await ask([['resource', PHOTOS]]);
    expect(decodeJwt(String(json.access_token))).toMatchObject({ aud: PHOTOS, scope: 'photos.read' });
  });

  it('§2.2: the audience is exactly the resource, and userinfo where openid was granted', async () => {
    const issued = (await token(codeFields(await flowFor([STORAGE])))).json;
    expect((await introspect(world, String(issued.access_token), world.storageApi)).aud).toEqual([
      STORAGE,
      world.issuer,
    ]);
    const plain = await refresh(world, String(issued.refresh_token), 'web', { scope: 'storage.read' });
    expect((await introspect(world, String(plain.json.access_token), world.storageApi)).aud).toBe(STORAGE);
  });

  it('without resource the scopes name the API; none of an API gives the issuer', async () => {
    const one = (await redeem(world, await getCode(world, { scope: 'openid storage.read' }))).json;
    expect((await introspect(world, String(one.access_token), world.storageApi)).aud).toEqual([STORAGE, world.issuer]);
    const none = (await redeem(world, await getCode(world, { scope: 'openid email' }))).json;
    expect((await introspect(world, String(none.access_token), world.web)).aud).toBe(world.issuer);
  });

  it('a browser that knows nothing is told by a page, not sent anywhere, while the client is unproven', async () => {
    const page = await new TestBrowser(world).visit(
      authorizePath({
        client_id: 'nobody',
        redirect_uri: WEB_REDIRECT,
        resource: PHOTOS,
        code_challenge: pkce().challenge,
      }),
    );
    expect([page.status, page.location]).toEqual([400, undefined]);
  });
});
