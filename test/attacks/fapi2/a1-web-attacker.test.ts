/**
 * FAPI 2.0 attacker A1, the web attacker: has an account (bob) and a client (`evil`) of their own, sends links, frames and forms
 * to other people's browsers, and knows whatever passed through their own. They read nobody else's traffic.
 *
 * Stopped by: codes, requests and tokens belong to the client that authenticated with its key; PKCE ties a code to the
 * transaction it was asked for in; requests are pushed, so nothing beside a reference counts; pages take forms of their own
 * only, in the browser they were begun in; every JWT says what kind it is.
 */
import { randomUUID } from 'node:crypto';
import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tally } from '../../support/attack-aftermath.ts';
import { expectErrorPage, expectPageHeaders } from '../../support/attack-pages.ts';
import { authorizePath, formTo, pkce, responseOf, signIn, TestBrowser } from '../../support/browser.ts';
import { pushedPath } from '../../support/dpop-world.ts';
import {
  askTokens,
  assertionOf,
  BOB,
  codeFor,
  type FapiWorld,
  goThrough,
  introspectAs,
  pushAs,
  redeemAs,
  sendAs,
  startFapiWorld,
  tokensFor,
  userinfoAs,
  userinfoWith,
} from '../../support/fapi-world.ts';
import { signedByServer } from '../../support/own-signature.ts';
import { proofFor } from '../../support/proof-key.ts';
import type { TestServer } from '../../support/server.ts';

describe('A1, the web attacker', () => {
  let world: FapiWorld;
  let node: TestServer;
  beforeAll(async () => {
    world = await startFapiWorld();
    node = await world.secondNode();
  });
  afterAll(async () => {
    await node.close();
    await world.close();
  });

  const refusalOf = async (answer: Promise<{ status: number; json: Record<string, unknown> }>) => {
    const { status, json } = await answer;
    expect(json).not.toHaveProperty('access_token');
    return [status, json.error];
  };
  const INVALID_GRANT = [400, 'invalid_grant'];

  it('A1-1 AZ: a victim client’s code is worth nothing to the attacker’s client, and stays good for its own', async () => {
    const flow = await codeFor(world, world.app);
    expect(await refusalOf(redeemAs(world, world.evil, flow))).toEqual(INVALID_GRANT);
    const fields = { ...flow, grant_type: 'authorization_code', redirect_uri: world.app.redirectUri };
    const named = { code: fields.code, code_verifier: fields.verifier, client_id: 'app' };
    expect(await refusalOf(askTokens(world, world.evil, { grant_type: 'authorization_code', ...named }))).toEqual([
      401,
      'invalid_client',
    ]);
    expect((await redeemAs(world, world.app, flow)).status).toBe(200);
  });

  it('A1-2 AZ AN: a victim’s code, put into the attacker’s own session at the honest client, gives nothing', async () => {
    const victim = await codeFor(world, world.app);
    const own = await pushAs(world, world.app);
    // The honest client redeems what came back with the verifier of the session it came back to.
    const mixed = { code: victim.code, verifier: own.verifier };
    expect(await refusalOf(redeemAs(world, world.app, mixed))).toEqual(INVALID_GRANT);
    expect((await redeemAs(world, world.app, victim)).status).toBe(200);
  });

  it('A1-3 SI: the attacker’s code, delivered to the victim’s session, signs nobody in as the attacker', async () => {
    const attacker = await codeFor(world, world.app, { who: BOB });
    const victim = await pushAs(world, world.app);
    const mixed = { code: attacker.code, verifier: victim.verifier };
    expect(await refusalOf(redeemAs(world, world.app, mixed))).toEqual(INVALID_GRANT);
  });

  it('A1-4 AZ: the attacker’s address is never where the browser is sent', async () => {
    const theirs = world.evil.redirectUri;
    const plain = { client_id: 'app', redirect_uri: theirs, scope: 'openid', code_challenge: pkce().challenge };
    expectErrorPage(await new TestBrowser(world).visit(authorizePath(plain)), 400, 'invalid_request');
    expect((await pushAs(world, world.app, { redirect_uri: theirs })).json.error).toBe('invalid_request');
    const { uri } = await pushAs(world, world.app);
    const beside = { redirect_uri: theirs, response_mode: 'form_post', state: 'theirs' };
    const page = await goThrough(new TestBrowser(world), pushedPath(uri, 'app', beside));
    expect(page.location?.startsWith(`${world.app.redirectUri}?code=`)).toBe(true);
    expect(responseOf(page).get('state')).toBe('af0ifjsldkj');
  });

  it('A1-5 AZ: a request_uri of one client is nothing with another client_id', async () => {
    const browser = (await codeFor(world, world.app)).browser;
    const before = await tally(world);
    const [honest, own] = [await pushAs(world, world.app), await pushAs(world, world.evil)];
    expectErrorPage(await browser.visit(pushedPath(honest.uri, 'evil')), 400, 'invalid_request_uri');
    expectErrorPage(await browser.visit(pushedPath(own.uri, 'app')), 400, 'invalid_request_uri');
    expect(await tally(world)).toEqual(before);
  });

  it('A1-6 AZ: nobody pushes in a client’s name without its key, nor with an assertion that was used', async () => {
    const refused = [401, 'invalid_client'];
    const byOwnKey = await assertionOf(world, { ...world.app, key: world.evil.key });
    const underItsName = await assertionOf(world, { ...world.app, key: world.evil.key }, {}, { kid: 'app-key' });
    for (const assertion of [byOwnKey, underItsName])
      expect(await refusalOf(pushAs(world, world.app, {}, { assertion }))).toEqual(refused);
    const none = { client_assertion: undefined, client_assertion_type: undefined, client_id: 'app' };
    expect(await refusalOf(pushAs(world, world.app, none))).toEqual(refused);
    const assertion = await assertionOf(world, world.app);
    expect((await pushAs(world, world.app, {}, { assertion })).status).toBe(201);
    for (const at of [world.issuer, node.running.address])
      expect(await refusalOf(pushAs(world, world.app, {}, { assertion, at }))).toEqual(refused);
  });

  it('A1-7 AZ: tokens of one client are nothing to another one, anywhere', async () => {
    const tokens = await tokensFor(world, world.app);
    const refresh = { grant_type: 'refresh_token', refresh_token: tokens.refresh_token };
    expect(await refusalOf(askTokens(world, world.evil, refresh))).toEqual(INVALID_GRANT);
    // Not even with the very key the tokens are bound to.
    expect(await refusalOf(askTokens(world, world.evil, refresh, { proof: world.app.proof }))).toEqual(INVALID_GRANT);
    for (const token of [tokens.access_token, tokens.refresh_token]) {
      expect(await introspectAs(world, world.evil, token)).toEqual({ active: false });
      await sendAs(world, world.evil, '/revoke', { token });
    }
    expect((await userinfoAs(world, tokens.access_token, world.evil.proof)).status).toBe(401);
    expect((await userinfoAs(world, tokens.access_token, world.app.proof)).status).toBe(200);
    expect((await askTokens(world, world.app, refresh)).status).toBe(200);
  });

  it('A1-8 AZ: there is no way around PKCE', async () => {
    for (const fields of [{ code_challenge: undefined }, { code_challenge_method: 'plain' }, { code_challenge: '' }])
      expect(await refusalOf(pushAs(world, world.app, fields))).toEqual([400, 'invalid_request']);
    const flow = await codeFor(world, world.app);
    for (const verifier of ['', pkce().verifier, flow.verifier.slice(0, 42)])
      expect(await refusalOf(redeemAs(world, world.app, { ...flow, verifier }))).toEqual(INVALID_GRANT);
    await expect(world.fapiClient('lax', { require_pkce: false })).rejects.toThrow(/require_pkce/);
  });

  it('A1-9 SI-AN: another site signs nobody in, and a session planted before is worth nothing after', async () => {
    const victim = new TestBrowser(world);
    const { uri } = await pushAs(world, world.app);
    const form = formTo(await victim.visit(pushedPath(uri, 'app')), '/login');
    const credentials = { ...form.fields, username: 'bob', password: 'builder' };
    const evil = { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' };
    expect((await victim.send('POST', '/login', credentials, evil)).status).toBe(403);
    // From our own page, but with the token of the attacker's browser.
    const attacker = new TestBrowser(world);
    const theirs = formTo(await attacker.visit(pushedPath(uri, 'app')), '/login');
    expect((await victim.send('POST', '/login', { ...theirs.fields, ...BOB_FORM })).status).toBeGreaterThanOrEqual(400);
    const planted = victim.clone();
    const page = await signIn(victim, await victim.visit(pushedPath(uri, 'app')));
    expect(responseOf(page).has('code')).toBe(true);
    expect((await planted.visit('/account')).url).toContain('/login');
  });

  it('A1-10 AZ: another site consents for nobody, and no frame shows the page', async () => {
    const victim = new TestBrowser(world);
    const { uri } = await pushAs(world, world.evil);
    const page = await signIn(victim, await victim.visit(pushedPath(uri, 'evil')));
    expectPageHeaders(page.headers);
    const form = formTo(page, '/consent');
    const before = await tally(world);
    const evil = { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' };
    const forged = await victim.send('POST', '/consent', { ...form.fields, decision: 'allow' }, evil);
    expect(forged.status).toBe(403);
    expect(await tally(world)).toEqual(before);
    // Still undecided.
    expect((await victim.visit(pushedPath(uri, 'evil'))).url).toContain('/consent');
  });

  it('A1-11 AZ: what was begun in the attacker’s browser is not finished in the victim’s', async () => {
    const { uri } = await pushAs(world, world.app);
    const attacker = new TestBrowser(world);
    const login = await attacker.visit(pushedPath(uri, 'app'));
    const victim = (await codeFor(world, world.app)).browser;
    const before = await tally(world);
    expectErrorPage(await victim.visit(login.url), 400, 'invalid_request');
    const pending = new URL(login.url).searchParams.get('pending') ?? '';
    expectErrorPage(await victim.visit(`/authorize?pending=${pending}`), 400, 'invalid_request');
    expect(await tally(world)).toEqual(before);
  });

  it('A1-12 AZ: no JWT passes for one of another kind', async () => {
    const tokens = await tokensFor(world, world.app);
    const times = { iat: Math.floor(Date.now() / 1000), exp: Math.floor(Date.now() / 1000) + 60 };
    const cnf = { jkt: world.app.proof.jkt };
    const like = { iss: world.issuer, sub: world.alice, client_id: 'app', scope: 'openid', cnf, jti: randomUUID() };
    const bearers = [
      tokens.id_token,
      await signedByServer(world, 'JWT', { ...like, aud: world.issuer, ...times }, 'PS256'),
      await signedByServer(world, 'logout+jwt', { ...like, aud: world.issuer, ...times }, 'PS256'),
      await signedByServer(world, 'token-introspection+jwt', { ...like, aud: world.issuer, ...times }, 'PS256'),
      await assertionOf(world, world.app),
      await proofFor(world, world.app.proof, ['GET', '/userinfo']),
    ];
    for (const token of bearers) {
      expect((await userinfoAs(world, token, world.app.proof)).status).toBe(401);
      expect(await introspectAs(world, world.app, token)).toEqual({ active: false });
    }
    const claims = { iss: 'app', sub: 'app', aud: world.issuer, jti: randomUUID(), ...times };
    const assertions = [
      tokens.id_token,
      tokens.access_token,
      await signedByServer(world, 'JWT', claims, 'PS256'),
      await proofFor(world, world.app.proof, ['POST', '/token'], { claims }),
      await world.app.key.sign(claims, { typ: 'oauth-authz-req+jwt' }),
      await world.app.key.sign(claims, { typ: 'dpop+jwt' }),
      await world.app.key.sign({ ...claims, sub: undefined }),
    ];
    for (const assertion of assertions)
      expect(await refusalOf(pushAs(world, world.app, {}, { assertion }))).toEqual([401, 'invalid_client']);
    // The same claims, as an assertion, are good.
    expect((await pushAs(world, world.app, {}, { assertion: await world.app.key.sign(claims) })).status).toBe(201);
  });

  it('A1-13 AZ: no client is taken for a person', async () => {
    for (const id of [world.alice, world.alice.toUpperCase(), randomUUID(), 'A'.repeat(43)])
      await expect(world.client({ client_id: id, ...KEYLESS })).rejects.toThrow(/looks like the id of a user/);
    // What a client gets for itself is not for a person's things.
    const { json } = await askTokens(world, world.evil, { grant_type: 'client_credentials', scope: 'photos.read' });
    expect(json.access_token).toBeTypeOf('string');
    expect((await userinfoAs(world, String(json.access_token), world.evil.proof)).status).toBeGreaterThanOrEqual(401);
  });

  it('A1-14 AZ: what the attacker writes is shown as text, and nobody calls where they say', async () => {
    for (const uri of ['http://169.254.169.254/jwks', 'file:///etc/passwd', 'javascript:alert(1)'])
      for (const field of ['jwks_uri', 'logo_uri', 'client_uri'])
        await expect(world.fapiClient('ssrf', { [field]: uri })).rejects.toThrow(field);
    const inner = '"><script>alert(1)</script>';
    const client = await world.fapiClient('scripted', { client_name: inner });
    const { uri } = await pushAs(world, client, { state: inner, login_hint: inner });
    const browser = new TestBrowser(world);
    const login = await browser.visit(pushedPath(uri, client.id));
    for (const page of [login, await signIn(browser, login)]) {
      expect(page.body).not.toContain('<script>alert');
      expectPageHeaders(page.headers);
    }
    const refused = await browser.visit(`/authorize?client_id=${encodeURIComponent(inner)}`);
    expect(refused.body).not.toContain('<script>alert');
  });

  it('A1-15 AZ: a code that is used again takes with it all that it gave', async () => {
    const flow = await codeFor(world, world.app);
    const tokens = (await redeemAs(world, world.app, flow)).json;
    expect((await userinfoAs(world, String(tokens.access_token), world.app.proof)).status).toBe(200);
    expect(await refusalOf(redeemAs(world, world.app, flow, { at: node.running.address }))).toEqual(INVALID_GRANT);
    expect((await userinfoAs(world, String(tokens.access_token), world.app.proof)).status).toBe(401);
    const refresh = { grant_type: 'refresh_token', refresh_token: String(tokens.refresh_token) };
    expect(await refusalOf(askTokens(world, world.app, refresh))).toEqual(INVALID_GRANT);
  });

  it('the honest client (oauth4webapi) gets through all this while it goes on', async () => {
    const insecure = { [oauth.allowInsecureRequests]: true };
    const issuer = new URL(world.issuer);
    const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, insecure));
    const client: oauth.Client = { client_id: 'app' };
    const auth = oauth.PrivateKeyJwt({ key: world.app.key.privateKey, kid: 'app-key' });
    const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'));
    const { verifier, challenge } = pkce();
    const asked = { response_type: 'code', redirect_uri: world.app.redirectUri, scope: 'openid photos.read' };
    const more = { code_challenge: challenge, code_challenge_method: 'S256', state: 'mine' };
    const pushed = await oauth.processPushedAuthorizationResponse(
      as,
      client,
      await oauth.pushedAuthorizationRequest(as, client, auth, { ...asked, ...more }, { ...insecure, DPoP }),
    );
    const page = await goThrough(new TestBrowser(world), pushedPath(pushed.request_uri, 'app'));
    const answer = oauth.validateAuthResponse(as, client, new URL(page.location ?? ''), 'mine');
    const uri = world.app.redirectUri;
    const options = { ...insecure, DPoP };
    const response = await oauth.authorizationCodeGrantRequest(as, client, auth, answer, uri, verifier, options);
    const tokens = await oauth.processAuthorizationCodeResponse(as, client, response, { requireIdToken: true });
    const userinfo = await oauth.userInfoRequest(as, client, tokens.access_token, options);
    const told = await oauth.processUserInfoResponse(as, client, world.alice, userinfo);
    expect(told.sub).toBe(world.alice);
    expect((await userinfoWith(world, { authorization: `Bearer ${tokens.access_token}` })).status).toBe(401);
  });
});

const BOB_FORM = { username: BOB[0], password: BOB[1] };
const KEYLESS = { grant_types: [], token_endpoint_auth_method: 'private_key_jwt' };
