/** DPoP at an API: RFC 9449 §7, §9 and §11.1, with the negatives of the FAPI 2.0 plans, for both forms of token. */
import { constants, createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import Fastify from 'fastify';
import { memoryReplayMarks, resourceServer } from 'gatehouse/resource-server';
import { type JWTHeaderParameters, SignJWT } from 'jose';
import * as oauth from 'oauth4webapi';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Answer, type Api, RESOURCE, startApi } from './api.ts';
import { ForeignIssuer } from './foreign-issuer.ts';
import { makeProofKey, type ProofKey, type ProofParts, proofClaims, prove } from './proof-key.ts';

const PHOTOS = `${RESOURCE}/photos`;

let issuer: ForeignIssuer;
let jwtApi: Api;
let opaqueApi: Api;
let key: ProofKey;
let jwt: string;

beforeAll(async () => {
  issuer = await ForeignIssuer.start();
  jwtApi = await startApi({ issuer: issuer.issuer, token: { kind: 'jwt' } });
  opaqueApi = await startApi({ issuer: issuer.issuer, token: { kind: 'introspection', ...issuer.client } });
  key = await makeProofKey();
  jwt = await bound(key);
});
afterEach(() => {
  vi.useRealTimers();
});
afterAll(async () => {
  await jwtApi.close();
  await opaqueApi.close();
  await issuer.close();
});

/** A token for `/photos`, bound to a key; an opaque one answers to `opaque`. */
async function bound(to: ProofKey): Promise<string> {
  const claims = { ...issuer.claims(RESOURCE), cnf: { jkt: to.jkt } };
  issuer.introspected.set('opaque', { active: true, token_type: 'DPoP', ...claims });
  return issuer.sign(claims);
}

const seconds = () => Math.floor(Date.now() / 1000);
const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const photos = (proof: string | string[], { api = jwtApi, token = jwt, scheme = 'DPoP', header = 'DPoP' } = {}) =>
  api.ask('GET', '/photos', { authorization: `${scheme} ${token}`, [header]: proof });
const good = (parts: ProofParts = {}, token = jwt) => prove(key, 'GET', PHOTOS, token, parts);

function expectRefused(answer: Answer, error: string): void {
  expect(answer.json?.error).toBe(error);
  expect(answer.status).toBe(401);
  const algs = 'algs="PS256 ES256 EdDSA Ed25519"';
  expect(answer.headers['www-authenticate']).toMatch(new RegExp(`^DPoP realm="[^"]+", error="${error}", .*${algs}, `));
}

describe('accepts', () => {
  test.each(['ES256', 'PS256', 'EdDSA', 'Ed25519'])('RFC9449-7.1: a proof signed with %s', async (alg) => {
    const own = await makeProofKey(alg);
    const token = await bound(own);
    expect((await photos(await prove(own, 'GET', PHOTOS, token), { token })).status).toBe(200);
  });

  test('an opaque token whose key introspection names', async () => {
    await bound(key);
    const proof = await good({}, 'opaque');
    expect((await photos(proof, { api: opaqueApi, token: 'opaque' })).status).toBe(200);
  });

  // fapi2-security-profile-final-access-token-type-header-case-sensitivity
  test.each(['dpOp', 'dpop', 'DPOP'])('RFC9449-7.1: the scheme as %s (RFC 9110 §11.1)', async (scheme) => {
    expect((await photos(await good(), { scheme })).status).toBe(200);
  });

  test.each(['dpop', 'DPOP', 'dPoP'])('the header as %s (RFC 9110 §5.1)', async (header) => {
    expect((await photos(await good(), { header })).status).toBe(200);
  });

  test.each<[string, () => Record<string, unknown>]>([
    ['8 seconds ahead', () => ({ iat: seconds() + 8 })],
    ['10 seconds old', () => ({ iat: seconds() - 10 })],
    ['with exp and nbf that hold', () => ({ exp: seconds() + 60, nbf: seconds() - 1 })],
    ['with claims that nobody knows', () => ({ extra: { a: 1 }, nonce: 'of somebody else' })],
    ['for the URL with a query and a fragment', () => ({ htu: `${PHOTOS}?size=2#a` })],
    ['for the URL in capitals and with its port', () => ({ htu: 'HTTPS://Photos.EXAMPLE:443/photos' })],
    ['for the URL with dot segments', () => ({ htu: `${RESOURCE}/albums/../photos` })],
    ['for the URL with needless escapes', () => ({ htu: `${RESOURCE}/%70hotos` })],
  ])('RFC9449-4.3: a proof %s', async (_, claims) => {
    expect((await photos(await good({ claims: claims() }))).status).toBe(200);
  });

  test('RFC9449-4.3: a proof for the URL without the query of the request', async () => {
    const headers = { authorization: `DPoP ${jwt}`, dpop: await good() };
    expect((await jwtApi.ask('GET', '/photos?size=2', headers)).status).toBe(200);
  });

  test('one proof for two guards on the way to a route', async () => {
    const dpop = await prove(key, 'GET', `${RESOURCE}/twice`, jwt);
    const answer = await jwtApi.ask('GET', '/twice', { authorization: `DPoP ${jwt}`, dpop });
    expect(answer.text).toBe('twice');
  });
});

describe('RFC9449-4.3: refuses with invalid_dpop_proof', () => {
  const header = (own: Record<string, unknown>) => () => good({ header: own });
  const claims = (own: () => Record<string, unknown>) => () => good({ claims: own() });

  const spoiled: Record<string, () => Promise<string | string[]>> = {
    'two DPoP headers': async () => [await good(), await good()],
    'the same proof in two headers': async () => {
      const proof = await good();
      return [proof, proof];
    },
    'two proofs in one header': async () => `${await good()}, ${await good()}`,
    'an empty header': async () => '',
    'no JWT': async () => 'proof',
    'a JWT with two parts': async () => (await good()).split('.').slice(0, 2).join('.'),
    'a JWE': async () => `${await good()}.a.b`,
    'a header that is no JSON': async () => (await good()).replace(/^[^.]+/, 'eyJ'),
    'a payload that is no JSON': () =>
      new SignJWT({})
        .setProtectedHeader({ alg: 'ES256' })
        .sign(key.privateKey)
        .then((jws) => jws.replace('e30', 'e3')),
    'a very long proof': claims(() => ({ filler: 'x'.repeat(9000) })),
    'no typ': header({ typ: undefined }),
    'another typ': header({ typ: 'JWT' }),
    'typ of an access token': header({ typ: 'at+jwt' }),
    'no alg': async () => {
      const [, payload, signature] = (await good()).split('.');
      return `${base64url({ typ: 'dpop+jwt', jwk: key.publicJwk })}.${payload}.${signature}`;
    },
    'alg none': async () => {
      const [, payload] = (await good()).split('.');
      return `${base64url({ typ: 'dpop+jwt', alg: 'none', jwk: key.publicJwk })}.${payload}.`;
    },
    RS256: async () => prove(await makeProofKey('RS256'), 'GET', PHOTOS, jwt),
    ES384: async () => prove(await makeProofKey('ES384'), 'GET', PHOTOS, jwt),
    'HS256 with the secret in the header': () => {
      const secret = Buffer.alloc(32, 1);
      const jwk = { kty: 'oct', k: secret.toString('base64url') };
      return new SignJWT(proofClaims('GET', PHOTOS, jwt))
        .setProtectedHeader({ typ: 'dpop+jwt', alg: 'HS256', jwk } as JWTHeaderParameters)
        .sign(secret);
    },
    'HS256 with the public key as secret': () =>
      new SignJWT(proofClaims('GET', PHOTOS, jwt))
        .setProtectedHeader({ typ: 'dpop+jwt', alg: 'HS256', jwk: key.publicJwk } as JWTHeaderParameters)
        .sign(new TextEncoder().encode(JSON.stringify(key.publicJwk))),
    'no jwk': header({ jwk: undefined }),
    'a text as jwk': header({ jwk: 'key' }),
    'a jwk without its members': header({ jwk: { kty: 'EC', crv: 'P-256' } }),
    'a jwk of an unknown type': header({ jwk: { kty: 'AKP', pub: 'x' } }),
    'the private key': () => good({ header: { jwk: key.privateJwk } }),
    'a member of a private key': () => good({ header: { jwk: { ...key.publicJwk, dp: '' } } }),
    'an RSA key of 1024 bits': async () => {
      const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
      const header = { typ: 'dpop+jwt', alg: 'PS256', jwk: publicKey.export({ format: 'jwk' }) };
      const input = `${base64url(header)}.${base64url(proofClaims('GET', PHOTOS, jwt))}`;
      const pss = { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
      return `${input}.${sign('sha256', Buffer.from(input), pss).toString('base64url')}`;
    },
    'a critical header': async () =>
      new SignJWT(proofClaims('GET', PHOTOS, jwt))
        .setProtectedHeader({
          typ: 'dpop+jwt',
          alg: 'ES256',
          jwk: key.publicJwk,
          crit: ['x'],
          x: 1,
        } as JWTHeaderParameters)
        .sign(key.privateKey, { crit: { x: true } }),
    'the signature of another key': async () => {
      const other = await makeProofKey();
      return prove({ ...other, publicJwk: key.publicJwk }, 'GET', PHOTOS, jwt);
    },
    'a changed payload': async () => {
      const [head, , signature] = (await good()).split('.');
      return `${head}.${base64url(proofClaims('GET', PHOTOS, jwt))}.${signature}`;
    },
    'no jti': claims(() => ({ jti: undefined })),
    'an empty jti': claims(() => ({ jti: '' })),
    'a number as jti': claims(() => ({ jti: 1 })),
    'no htm': claims(() => ({ htm: undefined })),
    'another method': claims(() => ({ htm: 'POST' })),
    'the method in small letters': claims(() => ({ htm: 'get' })),
    'no htu': claims(() => ({ htu: undefined })),
    'another path': claims(() => ({ htu: `${RESOURCE}/albums` })),
    'a longer path': claims(() => ({ htu: `${PHOTOS}/1` })),
    'a path in capitals': claims(() => ({ htu: `${RESOURCE}/Photos` })),
    'a slash at the end': claims(() => ({ htu: `${PHOTOS}/` })),
    'an escaped slash': claims(() => ({ htu: `${RESOURCE}%2Fphotos` })),
    'another host': claims(() => ({ htu: 'https://photos.example.evil.example/photos' })),
    'the address at which the API listens': claims(() => ({ htu: `${jwtApi.origin}/photos` })),
    'another scheme': claims(() => ({ htu: 'http://photos.example/photos' })),
    'another port': claims(() => ({ htu: 'https://photos.example:8443/photos' })),
    'a user before the host': claims(() => ({ htu: 'https://a@photos.example/photos' })),
    'a path alone': claims(() => ({ htu: '/photos' })),
    'no iat': claims(() => ({ iat: undefined })),
    'iat as a text': claims(() => ({ iat: String(seconds()) })),
    'iat an hour ago': claims(() => ({ iat: seconds() - 3600 })),
    'iat ten minutes ago': claims(() => ({ iat: seconds() - 600 })),
    'iat in ten minutes': claims(() => ({ iat: seconds() + 600 })),
    'iat in an hour': claims(() => ({ iat: seconds() + 3600 })),
    'exp that has passed': claims(() => ({ exp: seconds() - 60 })),
    'nbf that is not reached': claims(() => ({ nbf: seconds() + 60 })),
    'no ath': claims(() => ({ ath: undefined })),
    'ath of another token': claims(() => ({ ath: createHash('sha256').update('other').digest('base64url') })),
    'the token itself as ath': claims(() => ({ ath: jwt })),
  };

  test.each(Object.keys(spoiled))('%s', async (name) => {
    expect((await photos(await good())).status, 'a good proof').toBe(200);
    const answer = await photos((await spoiled[name]?.()) ?? 'missing');
    expectRefused(answer, 'invalid_dpop_proof');
    expect(JSON.stringify(answer)).not.toContain(jwt.slice(-20));
  });

  test.each([
    ['modulus', { n: 'A'.repeat(1400) }],
    ['exponent', { e: 'A'.repeat(8) }],
  ])('an RSA key with a %s that would be work to verify with', async (_, large) => {
    const rsa = await makeProofKey('PS256');
    const answer = await photos(await prove({ ...rsa, publicJwk: { ...rsa.publicJwk, ...large } }, 'GET', PHOTOS, jwt));
    expectRefused(answer, 'invalid_dpop_proof');
    expect(answer.json?.error_description).toContain('too large');
  });

  test('no proof', async () => {
    expectRefused(await jwtApi.get('/photos', `DPoP ${jwt}`), 'invalid_dpop_proof');
  });

  test('an opaque token and a bad proof, without asking anyone', async () => {
    const before = issuer.times('/introspection');
    const proof = await good({ claims: { htm: 'POST' } }, 'opaque');
    expectRefused(await photos(proof, { api: opaqueApi, token: 'opaque' }), 'invalid_dpop_proof');
    expect(issuer.times('/introspection')).toBe(before);
  });

  test('the URL that Host and forwarding headers name', async () => {
    const proof = await good({ claims: { htu: 'https://evil.example/photos' } });
    const lies = {
      host: 'evil.example',
      'x-forwarded-host': 'evil.example',
      forwarded: 'host=evil.example;proto=https',
    };
    const answer = await jwtApi.ask('GET', '/photos', { authorization: `DPoP ${jwt}`, dpop: proof, ...lies });
    expectRefused(answer, 'invalid_dpop_proof');
    const honest = { authorization: `DPoP ${jwt}`, dpop: await good(), ...lies };
    expect((await jwtApi.ask('GET', '/photos', honest)).status, 'the configured one').toBe(200);
  });

  test('the proof of another method of the same URL', async () => {
    const answer = await jwtApi.ask('POST', '/photos', { authorization: `DPoP ${jwt}`, dpop: await good() });
    expectRefused(answer, 'invalid_dpop_proof');
  });

  test('a proof that was good until it grew old', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const [first, second] = [await good(), await good()];
    vi.setSystemTime(Date.now() + 58_000);
    expect((await photos(first)).status).toBe(200);
    vi.setSystemTime(Date.now() + 3_000);
    expectRefused(await photos(second), 'invalid_dpop_proof');
  });

  test('RS256 only until the API says that it takes it', async () => {
    const algorithms = ['RS256'] as const;
    const api = await startApi({ issuer: issuer.issuer, token: { kind: 'jwt' }, dpop: { algorithms } });
    const own = await makeProofKey('RS256');
    const token = await bound(own);
    expect((await photos(await prove(own, 'GET', PHOTOS, token), { api, token })).status).toBe(200);
    expect((await photos(await good(), { api })).status).toBe(401);
    await api.close();
  });
});

describe('token and key belong together', () => {
  const attempts = async () => [
    { api: jwtApi, token: jwt },
    { api: opaqueApi, token: 'opaque' },
  ];

  test('RFC9449-7.1: refuses a token with the proof of another key', async () => {
    await bound(key);
    const thief = await makeProofKey();
    for (const attempt of await attempts()) {
      const proof = await prove(thief, 'GET', PHOTOS, attempt.token);
      expectRefused(await photos(proof, attempt), 'invalid_token');
    }
  });

  test('RFC9449-7.2: refuses a bound token as Bearer, with its proof or without, and says what it speaks', async () => {
    await bound(key);
    for (const { api, token } of await attempts()) {
      for (const proofs of [[], [await good({}, token)]]) {
        const answer = await api.ask('GET', '/photos', { authorization: `bEARER ${token}`, dpop: proofs });
        expect(answer.status).toBe(401);
        expect(answer.headers['www-authenticate']).toMatch(/^Bearer .*error="invalid_token".*, DPoP realm=.* algs="/);
      }
    }
  });

  test('RFC9449-7.1: refuses an unbound token as DPoP', async () => {
    const token = await issuer.sign(issuer.claims(RESOURCE));
    expectRefused(await photos(await good({}, token), { token }), 'invalid_token');
    issuer.introspected.set('unbound', { active: true, ...issuer.claims(RESOURCE) });
    const attempt = { api: opaqueApi, token: 'unbound' };
    expectRefused(await photos(await good({}, 'unbound'), attempt), 'invalid_token');
  });

  test('accepts an unbound token as Bearer, whatever the DPoP header says', async () => {
    const authorization = `Bearer ${await issuer.sign(issuer.claims(RESOURCE))}`;
    expect((await jwtApi.ask('GET', '/photos', { authorization, dpop: 'x' })).status).toBe(200);
  });

  test.each<[string, (jkt: string) => unknown]>([
    ['null', () => null],
    ['nothing in it', () => ({})],
    ['a list', (jkt) => [{ jkt }]],
    ['a number as thumbprint', () => ({ jkt: 1 })],
    ['an empty thumbprint', () => ({ jkt: '' })],
    ['a confirmation that nobody here knows', () => ({ jwk: {} })],
    ['one more confirmation that nobody here knows', (jkt) => ({ jkt, 'x5t#S512': 'x' })],
    ['a certificate besides', (jkt) => ({ jkt, 'x5t#S256': 'x' })],
  ])('RFC7800-3: refuses a cnf with %s', async (_, cnf) => {
    const token = await issuer.sign({ ...issuer.claims(RESOURCE), cnf: cnf(key.jkt) });
    expectRefused(await photos(await good({}, token), { token }), 'invalid_token');
    expect((await jwtApi.get('/photos', `Bearer ${token}`)).status).toBe(401);
  });

  test('an API for bound tokens only refuses the others', async () => {
    const api = await startApi({ issuer: issuer.issuer, token: { kind: 'jwt' }, bindings: ['dpop', 'mtls'] });
    expect((await photos(await good(), { api })).status).toBe(200);
    const answer = await api.get('/photos', `Bearer ${await issuer.sign(issuer.claims(RESOURCE))}`);
    expect(answer.status).toBe(401);
    expect(answer.json?.error).toBe('invalid_token');
    await api.close();
  });

  test('an API for DPoP only does not speak Bearer, and one without it does not speak DPoP', async () => {
    for (const [binding, scheme, spoken] of [
      ['dpop', 'Bearer', 'DPoP'],
      ['none', 'DPoP', 'Bearer'],
    ] as const) {
      const api = await startApi({ issuer: issuer.issuer, token: { kind: 'jwt' }, bindings: [binding] });
      const answer = await photos(await good(), { api, scheme });
      expect(answer.status).toBe(401);
      expect(answer.headers['www-authenticate']).toMatch(
        new RegExp(`^${spoken} realm="[^"]+", (algs|resource_metadata)=`),
      );
      await api.close();
    }
  });

  test.each(['DPoP', 'DPoP ', 'DPoP a b', 'dpop "a"'])(
    'refuses the malformed "%s" with invalid_request',
    async (value) => {
      const answer = await jwtApi.ask('GET', '/photos', { authorization: value, dpop: await good() });
      expect(answer.status).toBe(400);
      expect(answer.headers['www-authenticate']).toMatch(/^DPoP .*error="invalid_request"/);
    },
  );

  test('refuses a bound token in the query', async () => {
    const url = `/photos?access_token=${jwt}`;
    expect((await jwtApi.ask('GET', url, { dpop: await good() })).status).toBe(400);
    const both = { authorization: `DPoP ${jwt}`, dpop: await good() };
    expect((await jwtApi.ask('GET', url, both)).status).toBe(400);
  });
});

describe('RFC9449-11.1: a proof is good once', () => {
  test('refuses it the second time, and one of two that come together', async () => {
    const proof = await good();
    expect((await photos(proof)).status).toBe(200);
    expectRefused(await photos(proof), 'invalid_dpop_proof');
    const race = await good();
    const answers = await Promise.all(Array.from({ length: 10 }, () => photos(race)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  });

  test('refuses its jti in another proof of the same key, and takes it from another key', async () => {
    const again = { claims: { jti: 'again' } };
    expect((await photos(await good(again))).status).toBe(200);
    expectRefused(await photos(await good(again)), 'invalid_dpop_proof');
    const other = await makeProofKey();
    const token = await bound(other);
    expect((await photos(await prove(other, 'GET', PHOTOS, token, again), { token })).status).toBe(200);
  });

  test('remembers it for as long as it could be accepted, though its clock is ahead', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const proof = await good({ claims: { iat: seconds() + 29 } });
    expect((await photos(proof)).status).toBe(200);
    for (let i = 0; i < 9; i += 1) {
      vi.setSystemTime(Date.now() + 10_000);
      expectRefused(await photos(proof), 'invalid_dpop_proof');
    }
  });

  test('does not use it up when the token is refused', async () => {
    const proof = await good({}, 'opaque');
    issuer.introspected.delete('opaque');
    const attempt = { api: opaqueApi, token: 'opaque' };
    expectRefused(await photos(proof, attempt), 'invalid_token');
    await bound(key);
    expect((await photos(proof, attempt)).status).toBe(200);
  });

  test('two processes with one store of marks', async () => {
    const marks = new Map<string, number>();
    const replayMarks = {
      async claim(mark: string, lifetime: number) {
        if (marks.has(mark)) return false;
        marks.set(mark, lifetime);
        return true;
      },
    };
    const options = { issuer: issuer.issuer, token: { kind: 'jwt' }, dpop: { replayMarks } } as const;
    const [one, two] = [await startApi(options), await startApi(options)];
    const proof = await good();
    expect((await photos(proof, { api: one })).status).toBe(200);
    expectRefused(await photos(proof, { api: two }), 'invalid_dpop_proof');
    expect([...marks]).toEqual([[expect.stringMatching(/^[\w-]{43}$/), 90]]);
    await one.close();
    await two.close();
  });

  test('503 while the store of marks is away: a proof that cannot be remembered is not accepted', async () => {
    const replayMarks = { claim: () => Promise.reject(new Error('away')) };
    const api = await startApi({ issuer: issuer.issuer, token: { kind: 'jwt' }, dpop: { replayMarks } });
    const answer = await photos(await good(), { api });
    expect(answer.status).toBe(503);
    expect(answer.text).not.toContain('away');
    await api.close();
  });

  test('the memory is bounded: full, it refuses instead of forgetting, until the oldest marks have served', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const replayMarks = memoryReplayMarks({ capacity: 2 });
    const api = await startApi({ issuer: issuer.issuer, token: { kind: 'jwt' }, dpop: { replayMarks } });
    const first = await good();
    expect((await photos(first, { api })).status).toBe(200);
    expect((await photos(await good(), { api })).status).toBe(200);
    expect((await photos(await good(), { api })).status).toBe(503);
    expectRefused(await photos(first, { api }), 'invalid_dpop_proof');
    vi.setSystemTime(Date.now() + 90_000);
    expect((await photos(await good(), { api })).status).toBe(200);
    await api.close();
  });
});

describe('RFC9449-9: nonces', () => {
  const nonceKey = 'a key of the API, 32 bytes or more';
  let api: Api;
  let twin: Api;
  beforeAll(async () => {
    const options = { issuer: issuer.issuer, token: { kind: 'jwt' }, dpop: { nonceKey } } as const;
    [api, twin] = [await startApi(options), await startApi({ ...options, dpop: { nonceKey: Buffer.from(nonceKey) } })];
  });
  afterAll(async () => {
    await api.close();
    await twin.close();
  });

  /** The nonce that an answer gives out: one header, NQCHAR. */
  function nonceOf(answer: Answer): string {
    const nonces = answer.headers['dpop-nonce'];
    expect(nonces).toMatch(/^[\x21\x23-\x5b\x5d-\x7e]+$/);
    return String(nonces);
  }
  const withNonce = (nonce: unknown) => good({ claims: { nonce } });
  const fresh = async () => nonceOf(await photos(await good(), { api }));

  test('RFC9449-9: asks for one with use_dpop_nonce, takes the retry, and gives the next one with the answer', async () => {
    const first = await photos(await good(), { api });
    expectRefused(first, 'use_dpop_nonce');
    const second = await photos(await withNonce(nonceOf(first)), { api });
    expect(second.status).toBe(200);
    expect((await photos(await withNonce(nonceOf(second)), { api })).status).toBe(200);
  });

  test.each([
    ['no text', 7],
    ['an empty one', ''],
    ['an invented one', 'x'.repeat(43)],
  ])('refuses %s', async (_, nonce) => {
    expectRefused(await photos(await withNonce(nonce), { api }), 'use_dpop_nonce');
  });

  test('a proof without nonce is not used up: the same jti may come again', async () => {
    const claims = { jti: 'same' };
    const nonce = nonceOf(await photos(await good({ claims }), { api }));
    expect((await photos(await good({ claims: { ...claims, nonce } }), { api })).status).toBe(200);
  });

  test('with a nonce, a proof must still be of this time and new', async () => {
    const nonce = await fresh();
    const old = await good({ claims: { nonce, iat: seconds() - 3600 } });
    expectRefused(await photos(old, { api }), 'invalid_dpop_proof');
    const proof = await withNonce(nonce);
    expect((await photos(proof, { api })).status).toBe(200);
    expectRefused(await photos(proof, { api }), 'invalid_dpop_proof');
  });

  test('every process with the key takes it; another key or another API does not', async () => {
    const nonce = await fresh();
    expect((await photos(await withNonce(nonce), { api: twin })).status).toBe(200);
    const jwtTokens = { issuer: issuer.issuer, token: { kind: 'jwt' } } as const;
    const stranger = await startApi({ ...jwtTokens, dpop: { nonceKey: `${nonceKey}!` } });
    expectRefused(await photos(await withNonce(nonce), { api: stranger }), 'use_dpop_nonce');
    await stranger.close();
    const resource = 'https://storage.example';
    const other = await startApi({ ...jwtTokens, resource, dpop: { nonceKey } });
    const token = await issuer.sign({ ...issuer.claims(resource), cnf: { jkt: key.jkt } });
    const proof = await prove(key, 'GET', `${resource}/photos`, token, { claims: { nonce } });
    expectRefused(await photos(proof, { api: other, token }), 'use_dpop_nonce');
    await other.close();
  });

  test('it rotates: good for two minutes at least, for less than six', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const nonce = await fresh();
    vi.setSystemTime(Date.now() + 120_000);
    const later = await photos(await withNonce(nonce), { api });
    expect(later.status).toBe(200);
    expect(nonceOf(later)).not.toBe(nonce);
    vi.setSystemTime(Date.now() + 240_000);
    // Signed by its issuer when its clock stood elsewhere: what is old here is the nonce.
    jwt = await bound(key);
    expectRefused(await photos(await withNonce(nonce), { api }), 'use_dpop_nonce');
  });

  test('refusals for other reasons give the nonce too, and Bearer answers none', async () => {
    jwt = await bound(key);
    const nonce = await fresh();
    expect(nonceOf(await photos(await withNonce(nonce), { api, token: `${jwt}x` }))).toBe(nonce);
    const dpop = await prove(key, 'GET', `${RESOURCE}/albums`, jwt, { claims: { nonce } });
    const forbidden = await api.ask('GET', '/albums', { authorization: `DPoP ${jwt}`, dpop });
    expect(forbidden.status).toBe(403);
    expect(nonceOf(forbidden)).toBe(nonce);
    const bearer = await api.get('/photos', `Bearer ${await issuer.sign(issuer.claims(RESOURCE))}`);
    expect(bearer.status).toBe(200);
    expect(bearer.headers['dpop-nonce']).toBeUndefined();
  });
});

describe('clients of others', () => {
  test('oauth4webapi learns the nonce, retries, reads every challenge, and calls', async () => {
    const probe = await startApi({ issuer: issuer.issuer, token: { kind: 'jwt' } });
    await probe.close();
    // The port is free again, and the proof must name it.
    const resource = probe.origin;
    const app = Fastify();
    const dpop = { nonceKey: randomBytes(32) };
    await app.register(resourceServer, { issuer: issuer.issuer, resource, token: { kind: 'jwt' }, dpop });
    app.get('/photos', { onRequest: app.requireScope('photos.read') }, async () => 'photos');
    app.get('/vault', { onRequest: app.requireToken({ acrValues: ['urn:gold'], maxAge: 60 }) }, async () => 'vault');
    await app.listen({ host: '127.0.0.1', port: Number(new URL(resource).port) });

    const pair = await oauth.generateKeyPair('ES256', { extractable: true });
    const handle = oauth.DPoP({}, pair);
    const cnf = { jkt: await handle.calculateThumbprint() };
    const token = await issuer.sign({ ...issuer.claims(resource), cnf });
    const call = (path: string, how = {}) => {
      const options = { [oauth.allowInsecureRequests]: true, ...how };
      return oauth.protectedResourceRequest(token, 'GET', new URL(path, resource), undefined, undefined, options);
    };
    const challengesOf = (attempt: Promise<Response>) =>
      attempt.then(
        () => expect.fail('there was no challenge'),
        (error: oauth.WWWAuthenticateChallengeError) => error,
      );

    const first = await challengesOf(call('/photos', { DPoP: handle }));
    expect(oauth.isDPoPNonceError(first)).toBe(true);
    expect(await (await call('/photos?size=2', { DPoP: handle })).text()).toBe('photos');
    expect(await (await call('/photos', { DPoP: handle })).text()).toBe('photos');
    const stepUp = await challengesOf(call('/vault', { DPoP: handle }));
    expect(stepUp.cause).toMatchObject([
      {
        scheme: 'dpop',
        parameters: { error: 'insufficient_user_authentication', acr_values: 'urn:gold', max_age: '60' },
      },
    ]);
    const stolen = await challengesOf(call('/photos'));
    expect(stolen.cause).toMatchObject([
      { scheme: 'bearer', parameters: { error: 'invalid_token' } },
      { scheme: 'dpop', parameters: { algs: 'PS256 ES256 EdDSA Ed25519' } },
    ]);
    await app.close();
  });
});
