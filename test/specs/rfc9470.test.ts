/**
 * Step-up: RFC 9470, from end to end. Two APIs (signed and opaque tokens) with `gatehouse/resource-server` ask for a fresher or
 * a stronger sign-in; their client reads the challenge, comes back with it, and tries again with what it got.
 */
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import {
  createTokenExchange,
  createTokenVerifier,
  resourceServer,
  type TokenExchange,
} from 'gatehouse/resource-server';
import { decodeJwt } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { addExchangePolicy } from '../../src/operator/exchange-policies.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { tally } from '../support/attack-aftermath.ts';
import { authorizePath, decide, pkce, post, responseOf, signIn, TestBrowser, type Visit } from '../support/browser.ts';
import { clientKey } from '../support/client-key.ts';
import { pushedPath } from '../support/dpop-world.ts';
import { freePort } from '../support/ports.ts';
import { introspect, startWorld, type World } from '../support/world.ts';

const PASSWORD = 'urn:gatehouse:acr:password';
const STRONG = 'urn:example:acr:two-factors';
const REDIRECT = 'https://vaults.example/callback';

/** What a challenge asks its client for (§3), as it stands in the header. */
interface Challenge {
  readonly error?: string;
  readonly acr_values?: string;
  readonly max_age?: string;
}

describe('RFC 9470', () => {
  let world: World;
  let client: { id: string; secret: string };
  const key = clientKey('ES256', 'vaults');
  const apis: { readonly jwt: string; readonly opaque: string } = { jwt: '', opaque: '' };
  /** The client that each of them is. */
  const vaults = {} as Record<'jwt' | 'opaque', { id: string; secret: string }>;
  const servers: FastifyInstance[] = [];

  beforeAll(async () => {
    world = await startWorld();
    for (const form of ['jwt', 'opaque'] as const) Object.assign(apis, { [form]: await startVault(form) });
    client = await world.client({
      client_id: 'vaults',
      redirect_uris: [REDIRECT],
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
      scope: 'openid jwt.open opaque.open',
      jwks: { keys: [(await key).jwk] },
    });
  });
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.close()));
    await world.close();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** An API at an address of its own: `/recent` wants a sign-in of the last minute, `/strong` and `/any` a certain one. */
  async function startVault(form: 'jwt' | 'opaque'): Promise<string> {
    const port = await freePort();
    const resource = `http://127.0.0.1:${port}`;
    const scopes = { [`${form}.open`]: 'Open your vault' };
    const api = await world.client({ grant_types: ['urn:ietf:params:oauth:grant-type:token-exchange'] });
    vaults[form] = api;
    await world.resource({
      resource,
      name: `Vault (${form})`,
      scopes,
      access_token_format: form,
      introspection_clients: [api.id],
    });
    const app = Fastify();
    await app.register(resourceServer, {
      issuer: world.issuer,
      resource,
      token: form === 'jwt' ? { kind: 'jwt' } : { kind: 'introspection', clientId: api.id, clientSecret: api.secret },
    });
    const scope = Object.keys(scopes);
    const told = async ({ accessToken: { sub, acr, authTime } }: FastifyRequest) => ({ sub, acr, authTime });
    app.get('/recent', { onRequest: app.requireToken({ scope, maxAge: 60 }) }, told);
    app.get('/strong', { onRequest: app.requireToken({ scope, acrValues: [STRONG] }) }, told);
    app.get('/any', { onRequest: app.requireToken({ scope, acrValues: [STRONG, PASSWORD], maxAge: 3600 }) }, told);
    await app.listen({ host: '127.0.0.1', port });
    servers.push(app);
    return resource;
  }

  /** For everybody at once: all of them run in this process. */
  function letTimePass(seconds: number): void {
    const now = Date.now();
    vi.useFakeTimers({ toFake: ['Date'] });
    vi.setSystemTime(now + seconds * 1000);
  }

  async function call(resource: string, path: string, token: unknown) {
    const response = await fetch(resource + path, { headers: { authorization: `Bearer ${token}` } });
    const header = response.headers.get('www-authenticate') ?? '';
    const challenge: Challenge = Object.fromEntries(
      [...header.matchAll(/(error|acr_values|max_age)="([^"]*)"/g)].map(([, name, value]) => [name, value]),
    );
    return { status: response.status, challenge, json: (await response.json()) as Record<string, unknown> };
  }

  const requestFor = (resource: string, { acr_values, max_age }: Challenge = {}, more: Record<string, string> = {}) => {
    const { verifier, challenge } = pkce();
    const path = authorizePath({
      client_id: client.id,
      redirect_uri: REDIRECT,
      scope: 'openid jwt.open opaque.open',
      resource,
      code_challenge: challenge,
      acr_values,
      max_age,
      ...more,
    });
    return { path, verifier };
  };

  async function tokensFor(resource: string, browser: TestBrowser, challenge?: Challenge) {
    const { path, verifier } = requestFor(resource, challenge);
    let page = await browser.visit(path);
    const wasAsked = page.url.includes('/login');
    if (wasAsked) page = await signIn(browser, page);
    if (page.url.includes('/consent')) page = await decide(browser, page);
    const { status, json } = await post(
      `${world.issuer}/token`,
      { grant_type: 'authorization_code', code: responseOf(page).get('code') ?? '', code_verifier: verifier },
      { basic: client },
    );
    expect(status).toBe(200);
    return { ...json, wasAsked } as { access_token: string; refresh_token: string; wasAsked: boolean };
  }

  /** The error that is sent back, and nothing was given. */
  async function refusal(visit: () => Promise<Visit>): Promise<Record<string, string>> {
    const before = await tally(world);
    const answer = Object.fromEntries(responseOf(await visit()));
    expect(await tally(world)).toEqual(before);
    expect(answer).not.toHaveProperty('code');
    return answer;
  }

  describe.each(['jwt', 'opaque'] as const)('an API with tokens of the form %s', (form) => {
    it('§3: refuses a sign-in that is too old, and no refresh makes it younger', async () => {
      const resource = apis[form];
      const { access_token, refresh_token } = await tokensFor(resource, new TestBrowser(world));
      expect((await call(resource, '/recent', access_token)).status).toBe(200);
      letTimePass(120);
      const stale = await call(resource, '/recent', access_token);
      expect([stale.status, stale.challenge]).toEqual([
        401,
        { error: 'insufficient_user_authentication', max_age: '60' },
      ]);
      const again = { grant_type: 'refresh_token', refresh_token, max_age: '0', acr_values: STRONG, resource };
      const { json } = await post(`${world.issuer}/token`, again, { basic: client });
      expect((await call(resource, '/recent', json.access_token)).challenge).toEqual(stale.challenge);
      expect((await call(resource, '/strong', json.access_token)).status).toBe(401);
    });

    it('§3: refuses a token of nobody, who has signed in nowhere', async () => {
      const resource = apis[form];
      const { json } = await post(
        `${world.issuer}/token`,
        { grant_type: 'client_credentials', resource, acr_values: PASSWORD, max_age: '60' },
        { basic: client },
      );
      for (const path of ['/recent', '/any']) {
        const { status, challenge } = await call(resource, path, json.access_token);
        expect([status, challenge.error]).toEqual([401, 'insufficient_user_authentication']);
      }
    });

    it('§4, §6: the client comes back with the challenge, the person signs in, and the new token says so', async () => {
      const resource = apis[form];
      const browser = new TestBrowser(world);
      const before = await tokensFor(resource, browser);
      letTimePass(120);
      const { challenge } = await call(resource, '/recent', before.access_token);
      const { path } = requestFor(resource, challenge, { prompt: 'none' });
      expect((await refusal(() => browser.visit(path))).error, 'not without her').toBe('login_required');

      const now = Math.floor(Date.now() / 1000);
      const after = await tokensFor(resource, browser, challenge);
      expect(after.wasAsked).toBe(true);
      const { status, json } = await call(resource, '/recent', after.access_token);
      expect([status, json.sub, json.acr]).toEqual([200, world.alice, PASSWORD]);
      expect(Number(json.authTime)).toBeGreaterThanOrEqual(now);
      // The token of before has learnt nothing.
      expect((await call(resource, '/recent', before.access_token)).status).toBe(401);
    });

    it('§4: a sign-in that is good enough is not repeated', async () => {
      const resource = apis[form];
      const browser = new TestBrowser(world);
      await tokensFor(resource, browser);
      letTimePass(120);
      const challenge = { acr_values: `${STRONG} ${PASSWORD}`, max_age: '3600' };
      const tokens = await tokensFor(resource, browser, challenge);
      expect(tokens.wasAsked).toBe(false);
      expect(await call(resource, '/any', tokens.access_token)).toMatchObject({ status: 200, json: { acr: PASSWORD } });
    });

    it('§5: a stronger acr than there is ends in unmet_authentication_requirements, and not in circles', async () => {
      const resource = apis[form];
      const browser = new TestBrowser(world);
      const { access_token } = await tokensFor(resource, browser);
      const { status, challenge } = await call(resource, '/strong', access_token);
      expect([status, challenge]).toEqual([401, { error: 'insufficient_user_authentication', acr_values: STRONG }]);
      expect(await refusal(() => browser.visit(requestFor(resource, challenge).path))).toMatchObject({
        error: 'unmet_authentication_requirements',
        state: 'af0ifjsldkj',
        iss: world.issuer,
      });
    });
  });

  describe('§5: what nobody can reach is refused', () => {
    const wanted = { acr_values: STRONG };
    const unmet = async (visit: () => Promise<Visit>) =>
      expect((await refusal(visit)).error).toBe('unmet_authentication_requirements');

    it('before anybody is asked for a password', async () => {
      await unmet(() => new TestBrowser(world).visit(requestFor(apis.jwt, wanted).path));
      await unmet(() => new TestBrowser(world).visit(requestFor(apis.jwt, wanted, { prompt: 'login' }).path));
    });

    it('with prompt=none', async () => {
      await unmet(() => new TestBrowser(world).visit(requestFor(apis.jwt, wanted, { prompt: 'none' }).path));
    });

    it('after a detour over a form of another site', async () => {
      const fields = Object.fromEntries(new URL(requestFor(apis.jwt, wanted).path, world.issuer).searchParams);
      const foreign = { origin: 'https://vaults.example', 'sec-fetch-site': 'cross-site' };
      const kept = await new TestBrowser(world).send('POST', '/authorize', fields, foreign);
      expect(kept.location).toContain('/authorize?pending=');
      await unmet(() => new TestBrowser(world).visit(kept.location ?? ''));
    });

    it('when the request was pushed', async () => {
      const fields = new URL(requestFor(apis.jwt, wanted).path, world.issuer).searchParams.toString();
      const { json } = await post(`${world.issuer}/par`, fields, { basic: client });
      await unmet(() => new TestBrowser(world).visit(pushedPath(String(json.request_uri), client.id)));
    });

    it('when it is in a signed request, whatever stands beside it', async () => {
      const { searchParams } = new URL(requestFor(apis.jwt, wanted).path, world.issuer);
      const now = Math.floor(Date.now() / 1000);
      const request = await (await key).sign(
        { ...Object.fromEntries(searchParams), iss: client.id, aud: world.issuer, nbf: now, exp: now + 60 },
        { typ: 'oauth-authz-req+jwt' },
      );
      const path = authorizePath({ client_id: client.id, request, acr_values: PASSWORD });
      await unmet(() => new TestBrowser(world).visit(path));
    });

    it.each([
      ['several, none of which there is', `${STRONG} urn:example:acr:hardware`],
      ['ours in other letters', PASSWORD.toUpperCase()],
      ['ours with more to it', `${PASSWORD}:2`],
      ['ours beside it without the space that is one', `${STRONG},${PASSWORD}`],
      ['a registered name', 'phr'],
      ['a number beside a name', `1 ${STRONG}`],
    ])('where it is %s', async (_what, acr_values) => {
      await unmet(() => new TestBrowser(world).visit(requestFor(apis.jwt, { acr_values }).path));
    });
  });

  it.each([
    ['one of them is reached', `${STRONG} ${PASSWORD}`],
    ['they are levels of a scale that nobody named', '1 2'],
    ['there are none', ' '],
  ])('§5: acr_values are no hindrance where %s', async (_what, acr_values) => {
    const { access_token } = await tokensFor(apis.jwt, new TestBrowser(world), { acr_values });
    expect(decodeJwt(access_token)).toMatchObject({ acr: PASSWORD, auth_time: expect.any(Number) });
  });

  it('§6.2: introspection says when and how, to the API and to nobody else', async () => {
    const { access_token } = await tokensFor(apis.opaque, new TestBrowser(world));
    const { json } = await call(apis.opaque, '/recent', access_token);
    expect(json).toEqual({ sub: world.alice, acr: PASSWORD, authTime: expect.any(Number) });
    expect(await introspect(world, access_token, world.photosApi)).toEqual({ active: false });
  });

  describe('§6: tokens that an API got in exchange (RFC 8693) say when and how its user signed in', () => {
    let exchange: Record<'jwt' | 'opaque', TokenExchange>;
    beforeAll(async () => {
      const { sql } = world.running.database;
      const rules = { profile: oauth21, issuer: world.issuer };
      const towards = { jwt: 'opaque', opaque: 'jwt' } as const;
      const of = async (from: 'jwt' | 'opaque') => {
        const policy = {
          name: `${from}-vault`,
          client: vaults[from].id,
          source: apis[from],
          target: apis[towards[from]],
          scopes: { [`${from}.open`]: [`${towards[from]}.open`] },
        };
        await addExchangePolicy(sql, policy, rules, world.clock.now());
        const { id: clientId, secret: clientSecret } = vaults[from];
        return createTokenExchange({ issuer: world.issuer, client: { clientId, clientSecret } });
      };
      exchange = { jwt: await of('jwt'), opaque: await of('opaque') };
    });

    /** What the vault `from` gets for the other one, with a token that was let in at its own door. */
    async function exchanged(from: 'jwt' | 'opaque', token: string): Promise<string> {
      const to = from === 'jwt' ? apis.opaque : apis.jwt;
      const { id: clientId, secret: clientSecret } = vaults[from];
      const verdict = await createTokenVerifier({
        issuer: world.issuer,
        resource: apis[from],
        token: from === 'jwt' ? { kind: 'jwt' } : { kind: 'introspection', clientId, clientSecret },
      }).verify({
        method: 'GET',
        url: '/',
        authorization: [`Bearer ${token}`],
        dpop: [],
        certificate: undefined,
      });
      if (!verdict.accepted) throw new Error('the token should be good');
      return (await exchange[from](verdict.accessToken, { resource: to })).accessToken;
    }

    it.each(['jwt', 'opaque'] as const)('from %s, and no exchange makes a sign-in younger', async (from) => {
      const to = from === 'jwt' ? apis.opaque : apis.jwt;
      const { access_token } = await tokensFor(apis[from], new TestBrowser(world));
      const first = await call(apis[from], '/any', access_token);
      const early = await exchanged(from, access_token);
      expect(await call(to, '/any', early)).toMatchObject({ status: 200, json: first.json });
      expect((await call(to, '/recent', early)).status).toBe(200);
      letTimePass(120);
      const late = await exchanged(from, access_token);
      for (const token of [early, late])
        expect((await call(to, '/recent', token)).challenge).toEqual({
          error: 'insufficient_user_authentication',
          max_age: '60',
        });
      expect((await call(to, '/strong', late)).status).toBe(401);
    });

    it('of no user: nothing, and so it is refused at the end of the chain too', async () => {
      const lone = { grant_type: 'client_credentials', resource: apis.jwt };
      const { json } = await post(`${world.issuer}/token`, lone, { basic: client });
      const token = await exchanged('jwt', String(json.access_token));
      const { status, challenge } = await call(apis.opaque, '/any', token);
      expect([status, challenge.error]).toEqual([401, 'insufficient_user_authentication']);
    });
  });

  it('§7: metadata announces the values that can be reached', async () => {
    const response = await fetch(`${world.issuer}/.well-known/oauth-authorization-server`);
    expect(await response.json()).toMatchObject({ acr_values_supported: [PASSWORD] });
  });
});
