/** Resource indicators: RFC 8707, and our decisions where it leaves room (one audience for each token). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorizePath, pkce, post, responseOf, TestBrowser } from '../support/browser.ts';
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
    const browser = (await getCode(world, { scope: BOTH })).browser;
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
  ])('§2: a resource that is %s gives invalid_target, at both endpoints', async (_what, resource) => {
    expect((await flowFor([resource])).answer.get('error')).toBe('invalid_target');
    const { json } = await redeem(world, await getCode(world, { scope: BOTH }), 'web', { resource });
    expect(json.error).toBe('invalid_target');
  });

  it('§2: a known resource beside an unknown one does not help', async () => {
    expect((await flowFor([PHOTOS, 'https://evil.example'])).answer.get('error')).toBe('invalid_target');
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
