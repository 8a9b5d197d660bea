/** JWT access tokens: RFC 9068 §4, RFC 8725. Each refusal is compared with the same token before it was spoiled. */
import { generateKeyPairSync, sign } from 'node:crypto';
import { type CryptoKey, exportSPKI, importJWK, type JWK, SignJWT } from 'jose';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Api, RESOURCE, startApi } from './api.ts';
import { ForeignIssuer, type IssuerKey, makeKey } from './foreign-issuer.ts';

let issuer: ForeignIssuer;
let api: Api;

beforeEach(async () => {
  issuer = await ForeignIssuer.start();
  api = await startApi({ issuer: issuer.issuer, token: { kind: 'jwt' }, timeoutSeconds: 0.3 });
});
afterEach(async () => {
  vi.useRealTimers();
  await api.close();
  await issuer.close();
});

const present = (token: string) => api.get('/photos', `Bearer ${token}`);

async function expectInvalid(token: string): Promise<void> {
  expect((await present(await issuer.sign(issuer.claims(RESOURCE)))).status, 'a good token').toBe(200);
  const answer = await present(token);
  expect(answer.status).toBe(401);
  expect(answer.headers['www-authenticate']).toMatch(/^Bearer realm="[^"]+", error="invalid_token", /);
  expect(answer.json?.error).toBe('invalid_token');
  if (token.length > 20) expect(JSON.stringify(answer)).not.toContain(token.slice(-20));
}

const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const seconds = () => Math.floor(Date.now() / 1000);

describe('accepts', () => {
  test.each(['ES256', 'RS256', 'PS256', 'EdDSA', 'Ed25519'])('%s', async (alg) => {
    issuer.keys = [await makeKey(alg)];
    expect((await present(await issuer.sign(issuer.claims(RESOURCE)))).status).toBe(200);
  });

  test.each(['at+jwt', 'AT+JWT', 'application/at+jwt'])('RFC9068-4: typ %s', async (typ) => {
    expect((await present(await issuer.sign(issuer.claims(RESOURCE), { typ }))).status).toBe(200);
  });

  test('an issuer with a path (RFC 8414 §3.1 inserts the well-known part)', async () => {
    const tenant = await ForeignIssuer.start('/tenant');
    const other = await startApi({ issuer: tenant.issuer, token: { kind: 'jwt' } });
    const token = await tenant.sign(tenant.claims(RESOURCE));
    expect((await other.get('/photos', `Bearer ${token}`)).status).toBe(200);
    await other.close();
    await tenant.close();
  });

  test('an issuer whose clock is a few seconds ahead', async () => {
    const claims = { ...issuer.claims(RESOURCE), iat: seconds() + 5, nbf: seconds() + 5 };
    expect((await present(await issuer.sign(claims))).status).toBe(200);
  });
});

describe('refuses by claim', () => {
  test.each(['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti'])(
    'RFC9068-2.2: a token without %s',
    async (name) => {
      const { [name]: _, ...claims } = issuer.claims(RESOURCE);
      await expectInvalid(await issuer.sign(claims));
    },
  );

  const spoiled: Record<string, () => Record<string, unknown>> = {
    'another issuer': () => ({ iss: 'https://other.example' }),
    'an issuer that differs by a slash': () => ({ iss: `${issuer.issuer}/` }),
    'another audience': () => ({ aud: 'https://storage.example' }),
    'an audience that only begins like this API': () => ({ aud: `${RESOURCE}.evil.example` }),
    'an audience list without this API': () => ({ aud: [issuer.issuer, 'https://storage.example'] }),
    'an empty audience list': () => ({ aud: [] }),
    'an audience list with other things in it': () => ({ aud: [RESOURCE, 7] }),
    'exp in the past': () => ({ exp: seconds() - 1 }),
    'exp this very second: no leeway': () => ({ exp: seconds() }),
    'exp as a text': () => ({ exp: String(seconds() + 300) }),
    'nbf a minute ahead': () => ({ nbf: seconds() + 60 }),
    'iat a minute ahead': () => ({ iat: seconds() + 60 }),
    'an empty sub': () => ({ sub: '' }),
    'a sub that is no text': () => ({ sub: 1 }),
    'a client_id that is no text': () => ({ client_id: ['photos-web'] }),
    'a scope list instead of a text': () => ({ scope: ['photos.read'] }),
    'a DPoP-bound token presented as Bearer (RFC 9449 §7.2)': () => ({ cnf: { jkt: 'x' } }),
    'a certificate-bound token without its certificate (RFC 8705 §3)': () => ({ cnf: { 'x5t#S256': 'x' } }),
    'an unknown confirmation': () => ({ cnf: null }),
  };
  test.each(Object.keys(spoiled))('%s', async (name) => {
    await expectInvalid(await issuer.sign({ ...issuer.claims(RESOURCE), ...spoiled[name]?.() }));
  });

  test('a token that was good until it expired', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const token = await issuer.sign(issuer.claims(RESOURCE));
    expect((await present(token)).status).toBe(200);
    vi.setSystemTime(Date.now() + 299_000);
    expect((await present(token)).status).toBe(200);
    vi.setSystemTime(Date.now() + 1_000);
    expect((await present(token)).status).toBe(401);
  });
});

describe('refuses other kinds of token', () => {
  test.each(['JWT', 'logout+jwt', 'token-introspection+jwt', 'dpop+jwt', undefined])('typ %s', async (typ) => {
    await expectInvalid(await issuer.sign(issuer.claims(RESOURCE), { typ }));
  });

  test('an ID token, even one issued to a client whose id is this API', async () => {
    const { client_id: _, scope: __, ...claims } = issuer.claims(RESOURCE);
    await expectInvalid(await issuer.sign({ ...claims, nonce: 'n' }, { typ: 'JWT' }));
  });

  test.each(['x', 'a.b', 'a.b.c', '..', 'eyJhbGciOiJFUzI1NiJ9.e30.', 'a.b.c.d.e', 'x'.repeat(9000)])(
    'garbage %#',
    async (token) => {
      await expectInvalid(token);
    },
  );
});

describe('refuses by signature', () => {
  const header = () => ({ typ: 'at+jwt', kid: issuer.keys[0]?.kid ?? '' });

  test.each(['none', 'None', 'NONE'])('RFC8725-3.1: alg %s', async (alg) => {
    await expectInvalid(`${base64url({ ...header(), alg })}.${base64url(issuer.claims(RESOURCE))}.`);
  });

  test('RFC8725-2.1: HS256 with the public key as the secret, in each form it is published in', async () => {
    const [key] = issuer.keys as [IssuerKey];
    const pem = await exportSPKI((await importJWK(key.publicJwk, key.alg)) as CryptoKey);
    for (const secret of [pem, pem.trim(), JSON.stringify(key.publicJwk), key.publicJwk.x ?? '']) {
      const forged = await new SignJWT(issuer.claims(RESOURCE))
        .setProtectedHeader({ ...header(), alg: 'HS256' })
        .sign(new TextEncoder().encode(secret));
      await expectInvalid(forged);
    }
  });

  test('a stranger who signs under the kid of the issuer', async () => {
    await expectInvalid(await issuer.sign(issuer.claims(RESOURCE), header(), await makeKey('ES256')));
  });

  test.each(['jwk', 'jku', 'x5u'])('RFC8725-3.10: a stranger whose header brings the key along as %s', async (name) => {
    const stranger = await ForeignIssuer.start();
    const [key] = stranger.keys as [IssuerKey];
    const value = name === 'jwk' ? key.publicJwk : `${stranger.issuer}/jwks`;
    await expectInvalid(await stranger.sign(issuer.claims(RESOURCE), { [name]: value }));
    expect(stranger.times('/jwks')).toBe(0);
    await stranger.close();
  });

  test('a payload that was changed after signing', async () => {
    const [head, , signature] = (await issuer.sign(issuer.claims(RESOURCE))).split('.');
    await expectInvalid(`${head}.${base64url({ ...issuer.claims(RESOURCE), sub: 'bob' })}.${signature}`);
  });

  test('RFC7515-4.1.11: a critical header that nobody here understands', async () => {
    const [key] = issuer.keys as [IssuerKey];
    const token = new SignJWT(issuer.claims(RESOURCE))
      .setProtectedHeader({ ...header(), alg: 'ES256', crit: ['exp-policy'], 'exp-policy': 1 })
      .sign(key.privateKey, { crit: { 'exp-policy': true } });
    await expectInvalid(await token);
  });

  test('an algorithm that the key is not for', async () => {
    const [rsa, other] = [await makeKey('RS256'), await makeKey('PS256')];
    issuer.keys = [rsa];
    await expectInvalid(await issuer.sign(issuer.claims(RESOURCE), { kid: rsa.kid }, other));
  });

  test.each([
    [2048, 200],
    [1024, 503],
  ])('an RSA key of %d bits: %d', async (modulusLength, status) => {
    const pair = generateKeyPairSync('rsa', { modulusLength });
    const publicJwk = { ...(pair.publicKey.export({ format: 'jwk' }) as JWK), kid: 'rsa', alg: 'RS256', use: 'sig' };
    issuer.keys = [{ ...(issuer.keys[0] as IssuerKey), publicJwk }];
    const input = `${base64url({ typ: 'at+jwt', alg: 'RS256', kid: 'rsa' })}.${base64url(issuer.claims(RESOURCE))}`;
    const signature = sign('sha256', Buffer.from(input), pair.privateKey).toString('base64url');
    expect((await present(`${input}.${signature}`)).status).toBe(status);
  });
});

describe('the keys of the issuer', () => {
  test('one fetch of metadata and keys serves many requests at once and later', async () => {
    const token = await issuer.sign(issuer.claims(RESOURCE));
    const answers = await Promise.all(Array.from({ length: 20 }, () => present(token)));
    expect(answers.map((answer) => answer.status)).toEqual(Array(20).fill(200));
    expect(issuer.times('/.well-known/oauth-authorization-server')).toBe(1);
    expect(issuer.times('/jwks')).toBe(1);
  });

  test('a rotated key is found by fetching again, and the old one still counts while it is published', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const before = await issuer.sign(issuer.claims(RESOURCE));
    expect((await present(before)).status).toBe(200);
    issuer.keys.unshift(await makeKey('ES256'));
    vi.setSystemTime(Date.now() + 31_000);
    expect((await present(await issuer.sign(issuer.claims(RESOURCE)))).status).toBe(200);
    expect((await present(before)).status).toBe(200);
    expect(issuer.times('/jwks')).toBe(2);
  });

  test('a key that is no longer published counts no more', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const before = await issuer.sign({ ...issuer.claims(RESOURCE), exp: seconds() + 3600 });
    expect((await present(before)).status).toBe(200);
    issuer.keys = [await makeKey('ES256')];
    vi.setSystemTime(Date.now() + 601_000);
    expect((await present(before)).status).toBe(401);
  });

  test('invented kids cause one fetch, not one each', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    await present(await issuer.sign(issuer.claims(RESOURCE)));
    vi.setSystemTime(Date.now() + 31_000);
    for (let i = 0; i < 10; i += 1)
      await expectInvalid(await issuer.sign(issuer.claims(RESOURCE), { kid: `made-up-${i}` }));
    expect(issuer.times('/jwks')).toBe(2);
  });

  test('a moved jwks_uri is followed when the metadata is read again', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    expect((await present(await issuer.sign(issuer.claims(RESOURCE)))).status).toBe(200);
    issuer.metadata = { jwks_uri: `${issuer.issuer}/other-jwks` };
    vi.setSystemTime(Date.now() + 601_000);
    await present(await issuer.sign(issuer.claims(RESOURCE)));
    await vi.waitFor(async () => {
      expect((await present(await issuer.sign(issuer.claims(RESOURCE)))).status).toBe(200);
      expect(issuer.times('/other-jwks')).toBe(1);
    });
  });
});

describe('when the authorization server is away', () => {
  async function expectUnavailable(): Promise<void> {
    const answer = await present(await issuer.sign(issuer.claims(RESOURCE)));
    expect(answer.status).toBe(503);
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
    expect(answer.headers['www-authenticate']).toBeUndefined();
    expect(answer.json?.error).toBe('temporarily_unavailable');
    expect(answer.text).not.toContain(issuer.issuer);
  }

  test.each(['failing', 'silent'] as const)('%s: 503, and well again afterwards', async (mood) => {
    issuer.mood = mood;
    await expectUnavailable();
    issuer.mood = 'well';
    expect((await present(await issuer.sign(issuer.claims(RESOURCE)))).status).toBe(200);
  });

  test('unreachable: 503', async () => {
    await issuer.close();
    await expectUnavailable();
  });

  test('with the keys at hand: tokens are still checked', async () => {
    expect((await present(await issuer.sign(issuer.claims(RESOURCE)))).status).toBe(200);
    issuer.mood = 'failing';
    expect((await present(await issuer.sign(issuer.claims(RESOURCE)))).status).toBe(200);
  });

  test.each([
    ['the metadata of another issuer (RFC 8414 §3.3)', { issuer: 'https://other.example' }],
    ['keys over plain http from elsewhere', { jwks_uri: 'http://keys.example/jwks' }],
    ['no keys at all', { jwks_uri: undefined }],
  ])('it serves %s: nothing is accepted', async (_, metadata) => {
    issuer.metadata = metadata;
    await expectUnavailable();
  });

  test('a refusal that needs no key is given all the same', async () => {
    issuer.mood = 'failing';
    expect((await present('garbage')).status).toBe(401);
    expect((await present(`${base64url({ alg: 'none', typ: 'at+jwt' })}.e30.`)).status).toBe(401);
    expect(issuer.asked.size).toBe(0);
  });
});
