/** Signed introspection answers (RFC 9701), and an API that authenticates with a key (RFC 7523). */
import { exportJWK, generateKeyPair, type JWK } from 'jose';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Api, RESOURCE, startApi } from './api.ts';
import { ForeignIssuer, makeKey } from './foreign-issuer.ts';

const TYPE = 'application/token-introspection+jwt';

let issuer: ForeignIssuer;
let api: Api;

beforeEach(async () => {
  issuer = await ForeignIssuer.start();
  api = await startApi({
    issuer: issuer.issuer,
    token: { kind: 'introspection', signed: true, ...issuer.client },
    algorithms: ['ES256', 'PS256', 'EdDSA', 'Ed25519'],
  });
  issuer.introspected.set('gold', { active: true, ...issuer.claims(RESOURCE) });
});
afterEach(async () => {
  await api.close();
  await issuer.close();
});

const present = () => api.get('/photos', 'Bearer gold');
const seconds = () => Math.floor(Date.now() / 1000);

test('RFC9701-4: asks for a signed answer, and takes it', async () => {
  expect((await present()).status).toBe(200);
  expect(issuer.lastHeaders.accept).toBe(TYPE);
});

test.each(['token-introspection+jwt', TYPE, 'TOKEN-INTROSPECTION+JWT'])('RFC9701-5: typ %s', async (typ) => {
  issuer.signAnswer = async (answer) => ({
    type: `${TYPE};charset=utf-8`,
    body: await issuer.answer(answer, {}, { typ }),
  });
  expect((await present()).status).toBe(200);
});

test('RFC9701-5: a signed "not active" is a refusal of the token', async () => {
  issuer.introspected.clear();
  const answer = await present();
  expect(answer.status).toBe(401);
  expect(answer.json?.error).toBe('invalid_token');
});

test('an API that did not ask for it sends Accept: application/json', async () => {
  const plain = await startApi({ issuer: issuer.issuer, token: { kind: 'introspection', ...issuer.client } });
  expect((await plain.get('/photos', 'Bearer gold')).status).toBe(200);
  expect(issuer.lastHeaders.accept).toBe('application/json');
  await plain.close();
});

describe('what is no answer of the authorization server to this API is a 503', () => {
  type Spoil = (answer: Record<string, unknown>) => Promise<string>;
  const spoiled: Record<string, Spoil> = {
    'typ of an access token': (answer) => issuer.answer(answer, {}, { typ: 'at+jwt' }),
    'no typ': (answer) => issuer.answer(answer, {}, { typ: undefined }),
    'another issuer': (answer) => issuer.answer(answer, { iss: 'https://other.example' }),
    'no issuer': (answer) => issuer.answer(answer, { iss: undefined }),
    'an answer to another API': (answer) => issuer.answer(answer, { aud: 'storage-api' }),
    'the resource instead of the client': (answer) => issuer.answer(answer, { aud: RESOURCE }),
    'no audience': (answer) => issuer.answer(answer, { aud: undefined }),
    'an old answer': (answer) => issuer.answer(answer, { iat: seconds() - 120 }),
    'an answer of the future': (answer) => issuer.answer(answer, { iat: seconds() + 60 }),
    'no time': (answer) => issuer.answer(answer, { iat: undefined }),
    'an answer that has expired': (answer) => issuer.answer(answer, { exp: seconds() - 60 }),
    'no token_introspection': (answer) => issuer.answer(answer, { token_introspection: undefined, ...answer }),
    'a list as token_introspection': (answer) => issuer.answer(answer, { token_introspection: [answer] }),
    'a text as active': (answer) => issuer.answer(answer, { token_introspection: { ...answer, active: 'true' } }),
    'a stranger’s signature': async (answer) => {
      const [own] = issuer.keys;
      issuer.keys = [{ ...(await makeKey('ES256')), kid: own?.kid ?? '' }];
      const signed = await issuer.answer(answer);
      issuer.keys = own ? [own] : [];
      return signed;
    },
    'no signature': async (answer) => {
      const [, payload] = (await issuer.answer(answer)).split('.');
      const header = Buffer.from(JSON.stringify({ alg: 'none', typ: 'token-introspection+jwt' }));
      return `${header.toString('base64url')}.${payload}.`;
    },
    'a changed payload': async (answer) => {
      const [header, , signature] = (await issuer.answer(answer)).split('.');
      const [, payload] = (await issuer.answer({ ...answer, sub: 'bob' })).split('.');
      return `${header}.${payload}.${signature}`;
    },
    'no JWT': async (answer) => JSON.stringify(answer),
    nothing: async () => '',
  };
  test.each(Object.keys(spoiled))('%s', async (name) => {
    expect((await present()).status).toBe(200);
    issuer.signAnswer = async (answer) => ({ type: TYPE, body: (await spoiled[name]?.(answer)) ?? '' });
    const answer = await present();
    expect(answer.status).toBe(503);
    expect(answer.headers['www-authenticate']).toBeUndefined();
  });

  test('RFC9701-4: plain JSON, though a signature was asked for', async () => {
    issuer.signAnswer = async (answer) => ({ type: 'application/json', body: JSON.stringify(answer) });
    expect((await present()).status).toBe(503);
    issuer.signAnswer = async (answer) => ({ type: 'application/jwt', body: await issuer.answer(answer) });
    expect((await present()).status).toBe(503);
  });

  test('an algorithm that is not on the list', async () => {
    issuer.keys = [await makeKey('RS256')];
    expect((await present()).status).toBe(503);
  });

  test('a signed answer as the access token of a JWT API, and an access token as an answer', async () => {
    const jwtApi = await startApi({ issuer: issuer.issuer, token: { kind: 'jwt' } });
    const answer = await issuer.answer({ active: true }, issuer.claims(RESOURCE));
    expect((await jwtApi.get('/photos', `Bearer ${answer}`)).status).toBe(401);
    await jwtApi.close();
    const claims = { ...issuer.claims(issuer.client.clientId), token_introspection: { active: true } };
    issuer.signAnswer = async () => ({ type: TYPE, body: await issuer.sign(claims) });
    expect((await present()).status).toBe(503);
  });
});

test('RFC7662-2.2: a token that the server calls DPoP-bound without naming the key', async () => {
  issuer.introspected.set('gold', { active: true, ...issuer.claims(RESOURCE), token_type: 'DPoP' });
  expect((await present()).json?.error).toBe('invalid_token');
});

describe('private_key_jwt', () => {
  test.each(['ES256', 'PS256', 'EdDSA', 'Ed25519'] as const)('RFC7523-2.2: authenticates with %s', async (alg) => {
    const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
    issuer.clientKey = { ...(await exportJWK(publicKey)), alg };
    const jwk: JWK & { alg: typeof alg } = { ...(await exportJWK(privateKey)), alg, kid: 'mine' };
    const { clientId } = issuer.client;
    const token = { kind: 'introspection', clientId, privateKey: jwk, signed: true } as const;
    const keyed = await startApi({ issuer: issuer.issuer, token });
    const assertions = new Set<string | null | undefined>();
    for (let i = 0; i < 2; i += 1) {
      expect((await keyed.get('/photos', 'Bearer gold')).status).toBe(200);
      expect(issuer.lastHeaders.authorization).toBeUndefined();
      assertions.add(issuer.lastIntrospection?.get('client_assertion'));
    }
    expect(assertions.size, 'a new assertion for each request').toBe(2);
    await keyed.close();
  });
});
