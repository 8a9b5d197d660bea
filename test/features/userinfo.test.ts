import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { updateClient } from '../../src/postgres/clients.pg.ts';
import { signingAlgs } from '../../src/protocol/jose.ts';
import { encryptionAlgs, encryptionEncs } from '../../src/protocol/jose-client.ts';
import { authorizePath, pkce, post, responseOf, signIn, TestBrowser } from '../support/browser.ts';
import { type EncryptionKey, encryptionKey } from '../support/encryption-key.ts';
import { getCode, redeem, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';
import { relyingParty, tokensOf } from './relying-party.ts';

const CLAIMS = {
  name: 'Carol Kingsleigh',
  given_name: 'Carol',
  family_name: 'Kingsleigh',
  middle_name: 'M.',
  nickname: 'Caz',
  preferred_username: 'carol',
  profile: 'https://people.example/carol',
  picture: 'https://people.example/carol.png',
  website: 'https://carol.example/',
  gender: 'female',
  birthdate: '1990-02-03',
  zoneinfo: 'Europe/London',
  locale: 'en-GB',
  updated_at: 1_700_000_000,
  email: 'carol@people.example',
  email_verified: false,
  phone_number: '+44 1865 000000',
  phone_number_verified: true,
  address: { formatted: 'Christ Church\nOxford', locality: 'Oxford', country: 'UK' },
};
const { email, email_verified, phone_number, phone_number_verified, address, ...profile } = CLAIMS;

describe('userinfo (OpenID Connect Core §5.3)', () => {
  let world: World;
  let carol: string;
  beforeAll(async () => {
    world = await startWorld();
    carol = await world.user({ username: 'carol', password: 'mushroom', claims: CLAIMS });
  });
  afterAll(() => world.close());

  /** A token of somebody for a scope. */
  async function tokenFor(
    scope: string,
    who: [string, string] = ['carol', 'mushroom'],
    extra: Record<string, string> = {},
  ) {
    const browser = new TestBrowser(world);
    await signIn(browser, await browser.visit('/login'), ...who);
    const { json } = await redeem(world, await getCode(world, { scope, browser }), 'web', extra);
    return json.access_token as string;
  }
  const ask = (token: string, init: RequestInit = {}) =>
    fetch(`${world.issuer}/userinfo`, { ...init, headers: { authorization: `Bearer ${token}`, ...init.headers } });

  it.each<[string, object]>([
    ['openid', {}],
    ['openid profile', profile],
    ['openid email', { email, email_verified }],
    ['openid phone', { phone_number, phone_number_verified }],
    ['openid address', { address }],
    ['openid profile email address phone', CLAIMS],
    ['openid photos.read email', { email, email_verified }],
  ])('tells by scope %s what it stands for, with its types', async (scope, claims) => {
    const response = await ask(await tokenFor(scope));
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toMatch(/^application\/json/);
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(await response.json()).toEqual({ sub: carol, ...claims });
  });

  it('leaves out what is not known of a person', async () => {
    const response = await ask(await tokenFor('openid profile email address phone', ['bob', 'builder']));
    expect(await response.json()).toEqual({ sub: world.bob });
  });

  it('answers GET and POST, the token in the header or in the form', async () => {
    const token = await tokenFor('openid');
    const expected = { sub: carol };
    expect(await (await ask(token)).json()).toEqual(expected);
    expect(await (await ask(token, { method: 'POST' })).json()).toEqual(expected);
    expect(await (await ask(token, { headers: { authorization: `bearer ${token}` } })).json()).toEqual(expected);
    expect((await post(`${world.issuer}/userinfo`, { access_token: token })).json).toEqual(expected);
  });

  it.each<[string, (token: string) => Promise<Response>, number, string | undefined]>([
    ['nothing', () => fetch(`${world.issuer}/userinfo`), 401, undefined],
    ['another scheme', () => ask('', { headers: { authorization: 'Basic d2ViOng=' } }), 401, undefined],
    ['garbage', () => ask('garbage'), 401, 'invalid_token'],
    [
      'a token in the address',
      (token) => fetch(`${world.issuer}/userinfo?access_token=${token}`),
      400,
      'invalid_request',
    ],
    [
      'two tokens',
      (token) => ask(token, { method: 'POST', body: new URLSearchParams({ access_token: token }) }),
      400,
      'invalid_request',
    ],
    ['a header without a token', () => ask('', { headers: { authorization: 'Bearer' } }), 400, 'invalid_request'],
  ])('refuses %s in the words of RFC 6750 §3', async (_what, call, status, error) => {
    const response = await call(await tokenFor('openid'));
    expect(response.status).toBe(status);
    const challenge = response.headers.get('www-authenticate') ?? '';
    expect(challenge).toContain(`Bearer realm="${world.issuer}"`);
    if (error === undefined) expect(challenge).not.toContain('error');
    else expect(challenge).toContain(`error="${error}"`);
  });

  it('wants the scope openid, and says so', async () => {
    for (const scope of ['photos.read', 'profile']) {
      const response = await ask(await tokenFor(scope));
      expect(response.status, scope).toBe(403);
      expect(response.headers.get('www-authenticate')).toMatch(/error="insufficient_scope".*scope="openid"/);
    }
  });

  it('takes no token that stands for no person, and none of another kind', async () => {
    const batch = await post(
      `${world.issuer}/token`,
      { grant_type: 'client_credentials', scope: 'photos.read' },
      { basic: world.batch },
    );
    const issued = (await redeem(world, await getCode(world))).json;
    for (const token of [batch.json.access_token, issued.refresh_token, issued.id_token]) {
      const response = await ask(String(token));
      expect([401, 403]).toContain(response.status);
    }
  });

  it('ends with the token, its grant and its person’s consent', async () => {
    const issued = (await redeem(world, await getCode(world))).json;
    expect((await ask(String(issued.access_token))).status).toBe(200);
    await post(`${world.issuer}/revoke`, { token: String(issued.refresh_token) }, { basic: world.web });
    const response = await ask(String(issued.access_token));
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toContain('error="invalid_token"');
  });

  describe('as a JWT, for a client that registered it (§5.3.2)', () => {
    const SCOPE = 'openid email';
    const told = { sub: '', email, email_verified };
    let browser: TestBrowser;
    let keys: Readonly<Record<(typeof encryptionAlgs)[number], EncryptionKey>>;
    beforeAll(async () => {
      told.sub = carol;
      browser = new TestBrowser(world);
      await signIn(browser, await browser.visit('/login'), 'carol', 'mushroom');
      keys = {
        'RSA-OAEP-256': await encryptionKey('RSA-OAEP-256'),
        'ECDH-ES': await encryptionKey('ECDH-ES'),
        'ECDH-ES+A256KW': await encryptionKey('ECDH-ES+A256KW'),
      };
    });

    /** A client of this kind, with a token of carol's. */
    async function holder(metadata: Record<string, unknown>) {
      const client = await world.client({ redirect_uris: [WEB_REDIRECT], scope: SCOPE, ...metadata });
      const party = await relyingParty(world, client, { metadata: metadata as Partial<oidc.ClientMetadata> });
      const { tokens } = await tokensOf(party, WEB_REDIRECT, SCOPE, { browser });
      return { client, party, tokens, ask: () => ask(tokens.access_token) };
    }
    const answered = async (response: Response) => {
      expect([response.status, response.headers.get('content-type'), response.headers.get('cache-control')]).toEqual([
        200,
        'application/jwt',
        'no-store',
      ]);
      return response.text();
    };

    it.each(signingAlgs)('signed with %s, it is what openid-client expects', async (alg) => {
      const { party, tokens, client, ask: again } = await holder({ userinfo_signed_response_alg: alg });
      expect(await oidc.fetchUserInfo(party, tokens.access_token, carol)).toMatchObject(told);
      const jwt = await answered(await again());
      expect(decodeProtectedHeader(jwt)).toEqual({ alg, typ: 'JWT', kid: expect.any(String) });
      const { payload } = await jwtVerify(jwt, createRemoteJWKSet(new URL(`${world.issuer}/jwks`)), {
        algorithms: [alg],
      });
      expect(payload).toEqual({ ...told, iss: world.issuer, aud: client.id });
    });

    it('signed, it has nothing that would let it pass for an ID token', async () => {
      const { tokens, ask: again } = await holder({ userinfo_signed_response_alg: 'RS256' });
      const idToken = decodeJwt(tokens.id_token ?? '');
      const answer = decodeJwt(await answered(await again()));
      for (const claim of ['exp', 'iat', 'at_hash', 'nonce', 'auth_time']) {
        expect(idToken, claim).toHaveProperty(claim);
        expect(answer, claim).not.toHaveProperty(claim);
      }
    });

    const encryptions = encryptionAlgs.flatMap((alg) => encryptionEncs.map((enc) => [alg, enc] as const));
    it.each(encryptions)('signed, then encrypted with %s and %s, it is opened by openid-client', async (alg, enc) => {
      const key = keys[alg];
      const {
        party,
        tokens,
        client,
        ask: again,
      } = await holder({
        userinfo_signed_response_alg: 'ES256',
        userinfo_encrypted_response_alg: alg,
        userinfo_encrypted_response_enc: enc,
        jwks: key.jwks,
      });
      oidc.enableDecryptingResponses(party, [enc], key.decryption);
      expect(await oidc.fetchUserInfo(party, tokens.access_token, carol)).toMatchObject(told);
      const { text, header } = await key.open(await answered(await again()), enc);
      expect(header).toMatchObject({ alg, enc, cty: 'JWT', kid: `${alg}-key` });
      expect(decodeProtectedHeader(text).alg).toBe('ES256');
      expect(decodeJwt(text)).toEqual({ ...told, iss: world.issuer, aud: client.id });
    });

    it.each(encryptionAlgs)('encrypted only, with %s, it holds the same JSON, under A128CBC-HS256', async (alg) => {
      const key = keys[alg];
      const { ask: again } = await holder({ userinfo_encrypted_response_alg: alg, jwks: key.jwks });
      const { text, header } = await key.open(await answered(await again()), 'A128CBC-HS256');
      expect(header).not.toHaveProperty('cty');
      expect(JSON.parse(text)).toEqual(told);
    });

    it('a refusal is the same for every client', async () => {
      const { tokens, client, ask: again } = await holder({ userinfo_signed_response_alg: 'RS256' });
      await post(`${world.issuer}/revoke`, { token: tokens.access_token }, { basic: client });
      const refused = await again();
      expect([refused.status, refused.headers.get('content-type')]).toEqual([
        401,
        expect.stringMatching(/^application\/json/),
      ]);
    });

    it('is as much one round trip to the database as the plain one', async () => {
      const { ask: again } = await holder({ userinfo_signed_response_alg: 'ES256' });
      expect(await world.roundTripsOf(async () => undefined, again)).toBe(1);
    });

    it.each<[field: string, metadata: Record<string, unknown>]>([
      ['userinfo_signed_response_alg', { userinfo_signed_response_alg: 'none' }],
      ['userinfo_signed_response_alg', { userinfo_signed_response_alg: 'HS256' }],
      ['userinfo_encrypted_response_alg', { userinfo_encrypted_response_alg: 'RSA1_5' }],
      ['userinfo_encrypted_response_alg', { userinfo_encrypted_response_alg: 'dir' }],
      ['userinfo_encrypted_response_alg', { userinfo_encrypted_response_alg: 'RSA-OAEP-256' }],
      [
        'userinfo_encrypted_response_enc',
        { userinfo_encrypted_response_alg: 'RSA-OAEP-256', userinfo_encrypted_response_enc: 'A192GCM' },
      ],
      ['userinfo_encrypted_response_enc', { userinfo_encrypted_response_enc: 'A128CBC-HS256' }],
    ])('%s is refused in %j', async (field, metadata) => {
      await expect(world.client({ redirect_uris: [WEB_REDIRECT], ...metadata })).rejects.toMatchObject({
        code: 'invalid_client_metadata',
        message: expect.stringContaining(field),
      });
    });

    it('is not promised to a client whose keys do not fit', async () => {
      await expect(
        world.client({
          redirect_uris: [WEB_REDIRECT],
          userinfo_encrypted_response_alg: 'RSA-OAEP-256',
          jwks: keys['ECDH-ES'].jwks,
        }),
      ).rejects.toThrow('userinfo_encrypted_response_alg: has no key in jwks that is made for it');
    });
  });

  describe('by the claims parameter (§5.5)', () => {
    it('keeps to the scopes the client is registered for, in both answers and also later', async () => {
      const redirectUri = 'https://narrow.example/callback';
      const scope = 'openid email';
      const { id, secret } = await world.client({ redirect_uris: [redirectUri], scope, skip_consent: true });
      const browser = new TestBrowser(world);
      await signIn(browser, await browser.visit('/login'), 'carol', 'mushroom');
      const claims = JSON.stringify({
        id_token: { email: null, birthdate: null },
        userinfo: { email: null, birthdate: null },
      });
      const { verifier, challenge } = pkce();
      const page = await browser.visit(
        authorizePath({ client_id: id, redirect_uri: redirectUri, scope: 'openid', claims, code_challenge: challenge }),
      );
      const code = responseOf(page).get('code') ?? '';
      const fields = { grant_type: 'authorization_code', code, redirect_uri: redirectUri, code_verifier: verifier };
      const { json } = await post(`${world.issuer}/token`, fields, { basic: { id, secret } });
      const said = decodeJwt(String(json.id_token));
      expect([said.email, said.birthdate]).toEqual([email, undefined]);
      const token = String(json.access_token);
      expect(await (await ask(token)).json()).toEqual({ sub: carol, email });

      // Taken from the client since, it is told no more.
      const metadata = { redirect_uris: [redirectUri], scope: 'openid', skip_consent: true };
      await updateClient(world.running.database.sql, id, metadata, new Set(), world.clock.now());
      await expect.poll(async () => (await ask(token)).json()).toEqual({ sub: carol });
    });

    async function told(claims: object, scope = 'openid') {
      const browser = new TestBrowser(world);
      await signIn(browser, await browser.visit('/login'), 'carol', 'mushroom');
      const flow = await getCode(world, { scope, browser, parameters: { claims: JSON.stringify(claims) } });
      const { json } = await redeem(world, flow);
      return {
        userinfo: await (await ask(String(json.access_token))).json(),
        idToken: decodeJwt(String(json.id_token)),
      };
    }

    it('tells here what was asked for here, and in the ID token what was asked for there', async () => {
      const { userinfo, idToken } = await told({
        userinfo: { nickname: null },
        id_token: { locale: { essential: true } },
      });
      expect(userinfo).toEqual({ sub: carol, nickname: 'Caz' });
      expect(idToken).toMatchObject({ sub: carol, locale: 'en-GB' });
      expect(idToken).not.toHaveProperty('nickname');
    });

    it('adds to the scopes, and an essential claim is like another', async () => {
      const { userinfo } = await told({ userinfo: { gender: { essential: true } } }, 'openid email');
      expect(userinfo).toEqual({ sub: carol, email, email_verified, gender: 'female' });
    });

    it('cannot rename the person or the token', async () => {
      const forged = {
        sub: { value: carol },
        iss: { value: 'https://evil.example' },
        aud: null,
        at_hash: { value: 'x' },
      };
      const { userinfo, idToken } = await told({ userinfo: forged, id_token: forged });
      expect(userinfo).toEqual({ sub: carol });
      expect(idToken).toMatchObject({ sub: carol, iss: world.issuer, aud: world.web.id });
      expect(idToken.at_hash).not.toBe('x');
    });

    it('needs the person to allow what no scope covers', async () => {
      await world.user({ username: 'dave', password: 'hatter', claims: { gender: 'male' } });
      const browser = new TestBrowser(world);
      await signIn(browser, await browser.visit('/login'), 'dave', 'hatter');
      await getCode(world, { scope: 'openid', browser });
      const silent = (claims: object) =>
        browser.visit(
          authorizePath({
            client_id: world.web.id,
            redirect_uri: WEB_REDIRECT,
            scope: 'openid',
            prompt: 'none',
            code_challenge: pkce().challenge,
            claims: JSON.stringify(claims),
          }),
        );
      expect(responseOf(await silent({ userinfo: { sub: null } })).has('code')).toBe(true);
      expect(responseOf(await silent({ userinfo: { gender: null } })).get('error')).toBe('consent_required');
    });
  });
});
