import * as oauth from 'oauth4webapi';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { query } from '../support/attack-aftermath.ts';
import { expectErrorPage } from '../support/attack-pages.ts';
import { decide, formTo, pkce, post, responseOf, signIn, TestBrowser } from '../support/browser.ts';
import { follow, PAR, push, pushedPath, redeemWith } from '../support/dpop-world.ts';
import { proofFor, proofKey } from '../support/proof-key.ts';
import { getCode, SPA_REDIRECT, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';
import { callbackOf, relyingParty } from './relying-party.ts';

describe('pushed authorization requests', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  const spa = () => ({ id: world.spa.id, secret: '' });

  it('a web app (openid-client) pushes, authorizes and redeems, its code bound to the key of the push', async () => {
    const party = await relyingParty(world, world.web);
    const handle = oidc.getDPoPHandle(party, await oidc.randomDPoPKeyPair('ES256', { extractable: true }));
    const { verifier, challenge } = pkce();
    const state = oidc.randomState();
    const parameters = { redirect_uri: WEB_REDIRECT, scope: 'openid', code_challenge: challenge, state };
    const url = await oidc.buildAuthorizationUrlWithPAR(
      party,
      { ...parameters, code_challenge_method: 'S256' },
      { DPoP: handle },
    );
    expect([...url.searchParams.keys()].sort()).toEqual(['client_id', 'request_uri']);
    const { page } = await follow(world, url.pathname + url.search);
    const checks = { pkceCodeVerifier: verifier, expectedState: state, idTokenExpected: true };
    const tokens = await oidc.authorizationCodeGrant(party, callbackOf(page), checks, undefined, { DPoP: handle });
    expect(tokens.claims()?.sub).toBe(world.alice);
  });

  it('a browser app (oauth4webapi) pushes with its client_id alone', async () => {
    const as = { issuer: world.issuer, pushed_authorization_request_endpoint: `${world.issuer}/par` };
    const { verifier, challenge } = pkce();
    const client: oauth.Client = { client_id: world.spa.id };
    const response = await oauth.pushedAuthorizationRequest(
      as,
      client,
      oauth.None(),
      {
        response_type: 'code',
        redirect_uri: SPA_REDIRECT,
        scope: 'openid',
        code_challenge: challenge,
        code_challenge_method: 'S256',
      },
      { [oauth.allowInsecureRequests]: true },
    );
    const { request_uri } = await oauth.processPushedAuthorizationResponse(as, client, response);
    const { answer } = await follow(world, pushedPath(request_uri, world.spa.id));
    const flow = { code: answer?.get('code') ?? '', verifier };
    expect((await redeemWith(world, flow, undefined, 'spa')).status).toBe(200);
  });

  it('the page may be loaded again until the request is answered, and not after that', async () => {
    const { uri } = await push(world);
    const path = pushedPath(uri);
    const browser = new TestBrowser(world);
    await browser.visit(path);
    const second = await browser.visit(path);
    expect(second.url).toContain('/login');
    const { answer } = await follow(world, path, browser);
    expect(answer?.get('code')).toMatch(/^gate_ac_/);
    expectErrorPage(await browser.visit(path), 400, 'invalid_request_uri');
  });

  it('a person who takes longer than the request lives still gets there', async () => {
    const { uri } = await push(world);
    const browser = new TestBrowser(world);
    const login = await browser.visit(pushedPath(uri));
    world.clock.advance(600);
    const page = await signIn(browser, login);
    const answer = page.url.includes('/consent') ? await decide(browser, page) : page;
    expect(responseOf(answer).get('code')).toMatch(/^gate_ac_/);
  });

  it('of two browsers that finish one after the other the first gets a code, and the other one’s client is told', async () => {
    await getCode(world);
    const { uri } = await push(world);
    const browsers = [new TestBrowser(world), new TestBrowser(world)];
    const pages = [];
    for (const browser of browsers) pages.push(await browser.visit(pushedPath(uri)));
    const answers = [];
    // The consent stands from before: signing in is all it takes.
    for (const [index, browser] of browsers.entries()) {
      const page = pages[index];
      if (page) answers.push(responseOf(await signIn(browser, page)));
    }
    expect(answers.map((answer) => answer.has('code'))).toEqual([true, false]);
    expect(answers[1]?.get('error')).toBe('access_denied');
  });

  it('of many browsers that finish in the same moment exactly one gets a code', async () => {
    await getCode(world);
    const { uri } = await push(world, { fields: { prompt: 'consent' } });
    const ready = [];
    for (let index = 0; index < 8; index += 1) {
      const browser = new TestBrowser(world);
      ready.push({ browser, page: await signIn(browser, await browser.visit(pushedPath(uri))) });
    }
    const answers = await Promise.all(
      ready.map(async ({ browser, page }) =>
        responseOf(await browser.submit(formTo(page, '/consent'), { decision: 'allow' })),
      ),
    );
    expect(answers.filter((answer) => answer.has('code'))).toHaveLength(1);
    expect(answers.flatMap((answer) => answer.get('error') ?? [])).toEqual(Array(7).fill('access_denied'));
  });

  it('nothing but client_id counts beside it, and nothing is missing without it', async () => {
    const { uri } = await push(world, { fields: { state: undefined, nonce: 'pushed' } });
    const beside = { state: 'outer', redirect_uri: SPA_REDIRECT, response_type: 'token', scope: 'x', nonce: 'outer' };
    const { page, answer } = await follow(world, pushedPath(uri, 'web', beside));
    expect(page.location?.startsWith(`${WEB_REDIRECT}?`)).toBe(true);
    expect([answer?.has('code'), answer?.has('state')]).toEqual([true, false]);
  });

  it('the response mode is the pushed one', async () => {
    const { uri } = await push(world, { fields: { response_mode: 'form_post' } });
    const { page } = await follow(world, pushedPath(uri));
    expect([page.status, page.location]).toEqual([200, undefined]);
    expect(formTo(page, WEB_REDIRECT).fields.code).toMatch(/^gate_ac_/);
  });

  it('may be followed by a form that is posted', async () => {
    const { uri } = await push(world);
    const browser = new TestBrowser(world);
    const page = await browser.send('POST', '/authorize', { client_id: 'web', request_uri: uri });
    expect((await follow(world, page.location ?? '', browser)).answer?.get('code')).toMatch(/^gate_ac_/);
  });

  it('keeps what is read of a request, and no credentials', async () => {
    await push(world, { client: spa(), fields: { redirect_uri: SPA_REDIRECT, extra: 'x', username: 'alice' } });
    const [row] = await query<{ parameters: [string, string][] }>(
      world,
      'SELECT parameters FROM pushed_requests ORDER BY id DESC LIMIT 1',
    );
    expect(row?.parameters.map(([name]) => name).sort()).toEqual([
      'client_id',
      'code_challenge',
      'code_challenge_method',
      'redirect_uri',
      'response_type',
      'scope',
      'state',
    ]);
  });

  it('takes one round trip, with a proof too', async () => {
    const key = await proofKey();
    const nothing = async () => undefined;
    expect(await world.roundTripsOf(nothing, () => push(world))).toBe(1);
    expect(
      await world.roundTripsOf(
        () => proofFor(world, key, PAR),
        (dpop) => push(world, { headers: { dpop } }),
      ),
    ).toBe(1);
  });

  describe('require_dpop_at_par', () => {
    it('refuses a push without a proof, and takes one with it', async () => {
      const client = await world.client({
        redirect_uris: [WEB_REDIRECT],
        scope: 'openid photos.read',
        require_dpop_at_par: true,
      });
      expect(await push(world, { client })).toMatchObject({ status: 400, json: { error: 'invalid_request' } });
      const dpop = await proofFor(world, await proofKey(), PAR);
      expect((await push(world, { client, headers: { dpop } })).status).toBe(201);
    });
  });

  it('a body of up to 64 KiB is taken, a larger one is not', async () => {
    const fits = await push(world, { fields: { extra: 'x'.repeat(60_000) } });
    expect(fits.status).toBe(201);
    const over = await push(world, { fields: { extra: 'x'.repeat(70_000) } });
    expect([over.status, over.json.error]).toEqual([413, 'invalid_request']);
    const elsewhere = await post(`${world.issuer}/token`, { extra: 'x'.repeat(60_000) }, { basic: world.web });
    expect(elsewhere.status).toBe(413);
  });

  it('is announced, but without a list of methods of its own', async () => {
    const metadata = (await (await fetch(`${world.issuer}/.well-known/openid-configuration`)).json()) as object;
    expect(metadata).toMatchObject({
      pushed_authorization_request_endpoint: `${world.issuer}/par`,
      require_pushed_authorization_requests: false,
    });
    expect(metadata).not.toHaveProperty('pushed_authorization_request_endpoint_auth_methods_supported');
  });
});
