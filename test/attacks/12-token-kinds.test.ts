/**
 * The attacker holds some token of ours, and shows it where another kind is asked for: an ID token as an access token, a
 * code as a refresh token, anything as the subject or actor of an exchange, a JWT of their own making (RFC 8725 §2.8, §3.11). Stopped by: prefixes for what is looked
 * up, `typ` + issuer + our own key by `kid` for what is signed, one algorithm for each key.
 */
import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { errorCodeOf } from '../support/attack-pages.ts';
import { ALIVE, DEAD, type Issued, refreshed, worth } from '../support/attack-tokens.ts';
import { authorizePath, pkce, post, responseOf, TestBrowser } from '../support/browser.ts';
import { clientKey } from '../support/client-key.ts';
import {
  ACCESS_TOKEN,
  type ExchangeWorld,
  exchange,
  ID_TOKEN,
  JWT,
  startExchangeWorld,
  step,
  webTokens,
} from '../support/exchange-world.ts';
import { signedByServer } from '../support/own-signature.ts';
import { getCode, PHOTOS, redeem, STORAGE, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const decode = (part = '') => JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>;

describe('tokens of one kind where another is asked for', () => {
  let world: World;
  let browser: TestBrowser;
  let jwt: Issued;
  let opaque: Issued;
  let flow: Awaited<ReturnType<typeof getCode>>;
  let jwk: Record<string, string>;
  beforeAll(async () => {
    world = await startWorld();
    const scope = 'openid photos.read storage.read';
    const first = await getCode(world, { scope });
    browser = first.browser;
    jwt = (await redeem(world, first, 'web', { resource: PHOTOS })).json as unknown as Issued;
    opaque = (await redeem(world, await getCode(world, { scope, browser }), 'web', { resource: STORAGE }))
      .json as unknown as Issued;
    flow = await getCode(world, { scope, browser });
    const keys = (await (await fetch(`${world.issuer}/jwks`)).json()) as { keys: Record<string, string>[] };
    jwk = keys.keys.find(({ kid }) => kid === decode(jwt.access_token.split('.')[0]).kid) ?? {};
  });
  afterAll(() => world.close());

  it('the tokens themselves are good', async () => {
    expect(await worth(world, jwt.access_token)).toEqual(ALIVE);
    expect(await worth(world, opaque.access_token, world.storageApi)).toEqual(ALIVE);
  });

  /** A JWT with another header, signed by whoever. */
  function forged(header: object, signer: (input: string) => Buffer, claims: object = {}): string {
    const [, payload] = jwt.access_token.split('.');
    const input = `${encode({ ...decode(jwt.access_token.split('.')[0]), ...header })}.${encode({ ...decode(payload), ...claims })}`;
    return `${input}.${signer(input).toString('base64url')}`;
  }
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const byOwnKey = (input: string) =>
    sign('sha256', Buffer.from(input), { key: own.privateKey, dsaEncoding: 'ieee-p1363' });

  const wrong: [string, () => string][] = [
    ['an ID token', () => jwt.id_token],
    ['a refresh token', () => jwt.refresh_token],
    ['a code', () => flow.code],
    ['a session cookie', () => [...browser.cookies.values()].find((value) => value.startsWith('gate_si_')) ?? ''],
    ['a client secret', () => world.web.secret],
    ['an opaque token under another prefix', () => opaque.access_token.replace('gate_at_', 'gate_rt_')],
    ['an opaque token with another secret', () => opaque.access_token.slice(0, -43) + 'A'.repeat(43)],
    ['a JWT without a signature', () => `${jwt.access_token.split('.').slice(0, 2).join('.')}.`],
    ['alg none', () => forged({ alg: 'none' }, () => Buffer.from('x'))],
    [
      'HS256 with our public key',
      () => forged({ alg: 'HS256' }, (input) => createHmac('sha256', JSON.stringify(jwk)).update(input).digest()),
    ],
    ['another key under our kid', () => forged({}, byOwnKey)],
    ['an embedded key', () => forged({ jwk: own.publicKey.export({ format: 'jwk' }) }, byOwnKey)],
    ['a key address', () => forged({ kid: 'x', jku: 'https://evil.example/jwks' }, byOwnKey)],
    ['a key id that every object has', () => forged({ kid: '__proto__' }, byOwnKey)],
    ['critical extensions', () => forged({ crit: ['b64'], b64: false }, byOwnKey)],
    [
      'a changed payload',
      () => {
        const [header, payload, signature] = jwt.access_token.split('.');
        return `${header}.${encode({ ...decode(payload), scope: 'openid photos.write' })}.${signature}`;
      },
    ],
    ['a changed signature', () => `${jwt.access_token.slice(0, -4)}AAAA`],
    ['JSON', () => '{"active":true}'],
    ['a percent sign', () => '%'],
  ];
  it.each(wrong)('%s is no access token', async (_name, token) => {
    expect(await worth(world, token())).toEqual(DEAD);
    expect(await worth(world, token(), world.web)).toEqual(
      token() === jwt.refresh_token ? ['active', 'userinfo 401'] : DEAD,
    );
  });

  it.each([
    ['an access token', () => opaque.access_token],
    ['a signed access token', () => jwt.access_token],
    ['an ID token', () => jwt.id_token],
    ['a code', () => flow.code],
  ])('%s is no refresh token', async (_name, token) => {
    expect(await refreshed(world, token())).toBe('invalid_grant');
  });

  it.each([
    ['a refresh token', () => jwt.refresh_token],
    ['an access token', () => opaque.access_token],
  ])('%s is no code', async (_name, token) => {
    expect((await redeem(world, { ...flow, code: token() })).json.error).toBe('invalid_grant');
  });

  it('an ID token or a code at revocation ends nothing', async () => {
    for (const token of [jwt.id_token, flow.code]) {
      const answer = await post(`${world.issuer}/revoke`, { token }, { basic: world.web });
      expect(answer.status).toBeLessThan(500);
    }
    expect(await worth(world, jwt.access_token)).toEqual(ALIVE);
    expect((await redeem(world, flow, 'web', { resource: PHOTOS })).status).toBe(200);
  });

  it('a token for an API alone is not for userinfo', async () => {
    const alone = await redeem(world, await getCode(world, { browser }), 'web', { scope: 'photos.read' });
    expect(await worth(world, alone.json.access_token as string)).toEqual(['active', 'userinfo 403']);
  });

  it('a backend’s own token is not for userinfo, whatever it holds', async () => {
    for (const resource of [PHOTOS, STORAGE]) {
      const issued = await post(
        `${world.issuer}/token`,
        { grant_type: 'client_credentials', resource },
        { basic: world.batch },
      );
      const answer = await fetch(`${world.issuer}/userinfo`, {
        headers: { authorization: `Bearer ${issued.json.access_token}` },
      });
      expect([401, 403]).toContain(answer.status);
    }
  });

  it('a signed answer of userinfo is no token of any kind, for its own client neither', async () => {
    const redirectUri = 'https://signed.example/callback';
    const client = await world.client({
      redirect_uris: [redirectUri],
      grant_types: ['authorization_code', 'refresh_token'],
      scope: 'openid',
      skip_consent: true,
      userinfo_signed_response_alg: 'RS256',
    });
    const { verifier, challenge } = pkce();
    const ask = async (more: Record<string, string>) =>
      responseOf(
        await browser.visit(
          authorizePath({
            client_id: client.id,
            redirect_uri: redirectUri,
            scope: 'openid',
            code_challenge: challenge,
            ...more,
          }),
        ),
      );
    const give = (grant: Record<string, string>) => post(`${world.issuer}/token`, grant, { basic: client });
    const grant = { grant_type: 'authorization_code', code_verifier: verifier };
    const { json: issued } = await give({ ...grant, code: (await ask({})).get('code') ?? '' });
    const userinfo = await fetch(`${world.issuer}/userinfo`, {
      headers: { authorization: `Bearer ${issued.access_token}` },
    });
    const answer = await userinfo.text();
    expect(decode(answer.split('.')[1])).toEqual({ iss: world.issuer, aud: client.id, sub: world.alice });

    expect(await worth(world, answer)).toEqual(DEAD);
    expect(await worth(world, answer, client)).toEqual(DEAD);
    expect((await give({ ...grant, code: answer })).json.error).toBe('invalid_grant');
    expect((await give({ grant_type: 'refresh_token', refresh_token: answer })).json.error).toBe('invalid_grant');
    expect((await ask({ prompt: 'none', id_token_hint: answer })).get('error')).toBe('invalid_request');
    expect((await ask({ prompt: 'none', id_token_hint: String(issued.id_token) })).has('code')).toBe(true);
  });

  describe('as id_token_hint', () => {
    const own =
      (typ: string, without: string[], claims: Record<string, unknown> = {}) =>
      () => {
        const kept = Object.entries(decode(jwt.id_token.split('.')[1])).filter(([name]) => !without.includes(name));
        return signedByServer(world, typ, { ...Object.fromEntries(kept), ...claims });
      };
    const LOGOUT = { events: { 'http://schemas.openid.net/event/backchannel-logout': {} }, jti: 'x' };
    const signOut = (token: string, visitor = browser) =>
      visitor.send('GET', `/logout?${new URLSearchParams({ id_token_hint: token })}`);
    const signInSilently = async (token: string) => {
      const asked = authorizePath({
        client_id: 'web',
        redirect_uri: WEB_REDIRECT,
        scope: 'openid photos.read',
        prompt: 'none',
        id_token_hint: token,
        code_challenge: pkce().challenge,
      });
      return responseOf(await browser.send('GET', asked)).get('error');
    };

    it.each<[string, () => string | Promise<string>]>([
      ...wrong.filter(([name]) => !['an ID token', 'a percent sign'].includes(name)),
      ['a signed access token', () => jwt.access_token],
      ['an opaque access token', () => opaque.access_token],
      ['an access token by our key that has all of an ID token', own('at+jwt', [])],
      ['a logout token', own('logout+jwt', ['at_hash', 'nonce'], LOGOUT)],
      ['a logout token that has all of an ID token', own('logout+jwt', [], LOGOUT)],
      ['signed claims of userinfo', own('JWT', ['at_hash'])],
      ['a signed introspection answer', own('token-introspection+jwt', [])],
      ['a signed authorization response', own('oauth-authz-resp+jwt', [], { code: 'x' })],
      ['a request object', own('oauth-authz-req+jwt', [])],
      ['an ID token without a subject', own('JWT', ['sub'])],
      ['an ID token without an end', own('JWT', ['exp'])],
      ['an ID token for several', own('JWT', [], { aud: ['web', 'spa'] })],
    ])('%s is none, for signing out and for signing in', async (_name, token) => {
      const hint = await token();
      const answer = await signOut(hint);
      expect([answer.status, answer.location, errorCodeOf(answer.body)]).toEqual([400, undefined, 'invalid_request']);
      expect(await signInSilently(hint)).toBe('invalid_request');
    });

    it('an ID token is one, so that the rest of this can fail', async () => {
      const hint = await own('JWT', [])();
      expect(await signInSilently(hint)).toBeNull();
      expect((await signOut(hint, new TestBrowser(world))).status).toBe(200);
      expect((await signOut(jwt.id_token, browser.clone())).status).toBe(303);
    });
  });
});

describe('tokens of every kind where an exchange asks for a subject or an actor', () => {
  const PARTNER = 'https://partner.example';
  let world: ExchangeWorld;
  let held: Awaited<ReturnType<typeof webTokens>>;
  let partner: Awaited<ReturnType<typeof clientKey>>;
  let opaque: string;
  let code: string;
  beforeAll(async () => {
    world = await startExchangeWorld();
    partner = await clientKey('ES256', 'partner');
    await world.trustDomain({ issuer: PARTNER, jwks: { keys: [partner.jwk] } });
    await world.policy({ name: 'from-partner', client: 'web', source: PARTNER, target: STORAGE });
    held = await webTokens(world);
    opaque = (await webTokens(world, { scope: 'openid storage.read', browser: held.browser }, { resource: STORAGE }))
      .access_token;
    await world.policy({ name: 'web-from-storage', client: 'web', source: STORAGE, target: PHOTOS });
    code = (await getCode(world, { browser: held.browser })).code;
  });
  afterAll(() => world.close());

  /** Something we signed, of another type, that says all that an ID token (or an access token) says. */
  const ours =
    (typ: string, like: () => string, changes: Record<string, unknown> = {}) =>
    () =>
      signedByServer(world, typ, { ...decode(like().split('.')[1]), ...changes });
  const idToken = () => held.id_token;
  const accessToken = () => held.access_token;
  const now = () => Math.floor(world.clock.now().getTime() / 1000);
  const foreign =
    (typ?: string, changes: Record<string, unknown> = {}) =>
    () =>
      partner.sign(
        {
          iss: PARTNER,
          sub: 'carol',
          aud: world.issuer,
          jti: `jti-${Math.random()}`,
          iat: now(),
          exp: now() + 60,
          ...changes,
        },
        typ === undefined ? {} : { typ },
      );

  /** [kind, one of it, the type it may be shown as: as a subject, as an actor] */
  const KINDS: [kind: string, make: () => string | Promise<string>, subject?: string, actor?: string][] = [
    ['a signed access token', accessToken, ACCESS_TOKEN, ACCESS_TOKEN],
    ['an opaque access token', () => opaque, ACCESS_TOKEN, ACCESS_TOKEN],
    ['an exchanged token', () => step(world, world.web, held.access_token, STORAGE), ACCESS_TOKEN],
    ['an ID token', idToken, ID_TOKEN, ID_TOKEN],
    ['a JWT of a trust domain', foreign(), JWT],
    ['an authorization grant of a trust domain', foreign('authorization-grant+jwt')],
    ['an ID-JAG of a trust domain', foreign('oauth-id-jag+jwt', { client_id: 'web' })],
    ['an access token of a trust domain', foreign('at+jwt')],
    ['an ID token of a trust domain for one of its clients', foreign('JWT', { aud: 'their-client' })],
    [
      'a logout token',
      ours('logout+jwt', idToken, { events: { 'http://schemas.openid.net/event/backchannel-logout': {} } }),
    ],
    ['signed claims of userinfo', ours('JWT', idToken, { at_hash: undefined })],
    ['an ID token that was not made for it', ours('JWT', idToken, { jti: undefined, grant_id: undefined })],
    [
      'an ID token of a grant that does not exist',
      ours('JWT', idToken, { grant_id: '00000000-0000-7000-8000-000000000000' }),
    ],
    ['an ID token for several', ours('JWT', idToken, { aud: ['web', 'app'] })],
    ['a signed authorization response', ours('oauth-authz-resp+jwt', idToken, { code: 'x' })],
    ['a signed introspection answer', ours('token-introspection+jwt', accessToken)],
    ['a grant for another domain', ours('authorization-grant+jwt', accessToken, { aud: PARTNER })],
    ['an access token of another issuer by our key', ours('at+jwt', accessToken, { iss: PARTNER })],
    [
      'an exchanged token that no step made',
      ours('at+jwt', accessToken, { origin: {}, jti: '00000000-0000-7000-8000-000000000000' }),
    ],
    [
      'a request object',
      () =>
        partner.sign(
          { iss: 'web', aud: world.issuer, client_id: 'web', exp: now() + 60 },
          { typ: 'oauth-authz-req+jwt' },
        ),
    ],
    [
      'a client assertion',
      () =>
        partner.sign(
          { iss: 'web', sub: 'web', aud: world.issuer, jti: 'x', exp: now() + 60 },
          { typ: 'client-authentication+jwt' },
        ),
    ],
    ['a refresh token', () => held.refresh_token],
    ['a code', () => code],
    ['a session cookie', () => [...held.browser.cookies.values()].find((value) => value.startsWith('gate_si_')) ?? ''],
    ['a client secret', () => world.web.secret],
    ['a user’s id', () => world.alice],
    [
      'an exchanged token under another prefix',
      async () => (await step(world, world.web, held.access_token, STORAGE)).replace('gate_ex_', 'gate_at_'),
    ],
    ['an access token under the prefix of exchanged ones', () => opaque.replace('gate_at_', 'gate_ex_')],
  ];

  it.each(KINDS)('%s', async (_kind, make, asSubject, asActor) => {
    for (const type of [ACCESS_TOKEN, ID_TOKEN, JWT]) {
      const shown = await make();
      // Towards one of the two there is a policy, wherever the token comes from.
      const subject = [];
      for (const resource of [STORAGE, PHOTOS])
        subject.push((await exchange(world, world.web, shown, { subject_token_type: type, resource })).json.error);
      if (type === asSubject) expect(subject).toContain(undefined);
      else expect(subject).toEqual(['invalid_request', 'invalid_request']);

      const acting = { actor_token: await make(), actor_token_type: type, resource: STORAGE };
      const { status, json } = await exchange(world, world.web, held.access_token, acting);
      expect([type, status]).toEqual([type, type === asActor ? 200 : 400]);
      if (type !== asActor) expect(json.error).toBe('invalid_request');
    }
    const others = ['refresh_token', 'saml1', 'saml2', 'id-jag', 'txn_token'].map((name) => JWT.replace(/jwt$/, name));
    for (const type of [...others, 'access_token', 'urn:x'])
      expect(
        (await exchange(world, world.web, await make(), { subject_token_type: type, resource: STORAGE })).json.error,
      ).toBe('invalid_request');
  });
});
