import { createHmac, createPublicKey, sign as cryptoSign } from 'node:crypto';
import {
  base64url,
  CompactSign,
  calculateJwkThumbprint,
  compactVerify,
  decodeProtectedHeader,
  importJWK,
  type JWK,
  jwtVerify,
  SignJWT,
} from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  generateSigningKey,
  restoreSigningKey,
  type SigningAlg,
  type SigningKey,
  signingAlgs,
  signJwt,
  verifyingKey,
  verifyOwnJwt,
} from '../../src/protocol/jose.ts';

const ISSUER = 'https://gate.example';
const NOW = new Date('2026-03-01T12:00:00Z');
const IAT = NOW.getTime() / 1000;
const claims = { iss: ISSUER, sub: 'alice', exp: IAT + 60, text: 'schön 🗝' };

const keys = new Map<SigningAlg, SigningKey & { pkcs8: Buffer }>();
beforeAll(async () => {
  for (const alg of signingAlgs) keys.set(alg, await generateSigningKey(alg));
});

function keyOf(alg: SigningAlg) {
  const key = keys.get(alg);
  if (!key) throw new Error(`no ${alg} key`);
  return key;
}

describe.each(signingAlgs)('%s', (alg) => {
  it('makes signatures that another implementation verifies', async () => {
    const token = await signJwt(keyOf(alg), 'at+jwt', claims);
    const key = await importJWK(keyOf(alg).publicJwk as JWK, alg);
    const { payload, protectedHeader } = await jwtVerify(token, key, { algorithms: [alg], currentDate: NOW });
    expect(payload).toEqual(claims);
    expect(protectedHeader).toEqual({ alg, typ: 'at+jwt', kid: keyOf(alg).kid });
  });

  it('makes each signature for its own text', async () => {
    const [a, b] = await Promise.all(['a', 'b'].map((sub) => signJwt(keyOf(alg), 'JWT', { ...claims, sub })));
    const [header, , signature] = a?.split('.') ?? [];
    const swapped = `${header}.${b?.split('.')[1]}.${signature}`;
    await expect(compactVerify(swapped, await importJWK(keyOf(alg).publicJwk as JWK, alg))).rejects.toThrow();
  });

  it('publishes the public half only, under its thumbprint (RFC 7638)', async () => {
    const { publicJwk, kid } = keyOf(alg);
    expect(publicJwk).toMatchObject({ kid, alg, use: 'sig' });
    expect(kid).toBe(await calculateJwkThumbprint(publicJwk as JWK));
    for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k', 'oth']) expect(publicJwk).not.toHaveProperty(member);
    if (publicJwk.kty === 'RSA') expect(Buffer.from(publicJwk.n ?? '', 'base64url')).toHaveLength(256);
  });

  it('signs again from its stored parts', async () => {
    const stored = JSON.parse(JSON.stringify(keyOf(alg).publicJwk));
    const token = await signJwt(restoreSigningKey(stored, keyOf(alg).pkcs8), 'JWT', claims);
    expect(own(token, { typ: 'JWT' })).toEqual(claims);
  });
});

function own(token: string, changes: Partial<Parameters<typeof verifyOwnJwt>[1]> = {}) {
  const known = new Map([...keys.values()].map((key) => [key.kid, verifyingKey(key.publicJwk)]));
  return verifyOwnJwt(token, { typ: 'at+jwt', issuer: ISSUER, now: NOW, findKey: (kid) => known.get(kid), ...changes });
}

const encode = (value: unknown) => base64url.encode(JSON.stringify(value));

describe('a token of our own (RFC 8725)', () => {
  it.each(signingAlgs)('is read back when signed with %s', async (alg) => {
    expect(own(await signJwt(keyOf(alg), 'at+jwt', claims))).toEqual(claims);
  });

  it('lives until its last second', async () => {
    const token = await signJwt(keyOf('ES256'), 'at+jwt', claims);
    expect(own(token, { now: new Date(NOW.getTime() + 59_999) })).toEqual(claims);
    expect(own(token, { now: new Date(NOW.getTime() + 60_000) })).toBeUndefined();
  });

  const sign = (changes: object, typ = 'at+jwt', alg: SigningAlg = 'ES256') =>
    signJwt(keyOf(alg), typ, { ...claims, ...changes });
  const by = (header: object, payload: object = claims) =>
    new SignJWT({ ...payload }).setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: keyOf('ES256').kid, ...header });

  it.each<[string, () => string | Promise<string>]>([
    ['nothing', () => ''],
    ['no token', () => 'gate_at_AAAA'],
    ['two parts', () => `${encode({})}.${encode({})}`],
    ['four parts', async () => `${await sign({})}.AAAA`],
    ['a space after it', async () => `${await sign({})} `],
    ['a line feed after it', async () => `${await sign({})}\n`],
    ['padding', async () => `${await sign({})}=`],
    ['alg none', () => `${encode({ alg: 'none', typ: 'at+jwt' })}.${encode(claims)}.`],
    [
      'alg none with a signature',
      () => `${encode({ alg: 'none', typ: 'at+jwt', kid: keyOf('ES256').kid })}.${encode(claims)}.AAAA`,
    ],
    [
      'alg none, spelt otherwise',
      () => `${encode({ alg: 'nOnE', typ: 'at+jwt', kid: keyOf('ES256').kid })}.${encode(claims)}.AAAA`,
    ],
    [
      'HS256 under the public key (PEM)',
      () => {
        const { kid, publicJwk } = keyOf('RS256');
        const input = `${encode({ alg: 'HS256', typ: 'at+jwt', kid })}.${encode(claims)}`;
        const pem = createPublicKey({ key: publicJwk as JWK, format: 'jwk' }).export({ format: 'pem', type: 'spki' });
        return `${input}.${createHmac('sha256', pem).update(input).digest('base64url')}`;
      },
    ],
    [
      'another algorithm of the same RSA key',
      () =>
        new CompactSign(Buffer.from(JSON.stringify(claims)))
          .setProtectedHeader({ alg: 'PS256', typ: 'at+jwt', kid: keyOf('RS256').kid })
          .sign(keyOf('RS256').privateKey),
    ],
    ['the kid of another key', () => by({ kid: keyOf('PS256').kid }).sign(keyOf('ES256').privateKey)],
    ['an unknown kid', () => by({ kid: 'unknown' }).sign(keyOf('ES256').privateKey)],
    ['no kid', () => by({ kid: undefined }).sign(keyOf('ES256').privateKey)],
    [
      'a key it brings along',
      async () => {
        const evil = await generateSigningKey('ES256');
        return by({ jwk: evil.publicJwk, kid: evil.kid }).sign(evil.privateKey);
      },
    ],
    ['a key of somebody else under our kid', async () => by({}).sign((await generateSigningKey('ES256')).privateKey)],
    ['another type', () => sign({}, 'JWT')],
    ['no type', () => by({ typ: undefined }).sign(keyOf('ES256').privateKey)],
    ['another issuer', () => sign({ iss: 'https://gate.example/' })],
    ['no issuer', () => sign({ iss: undefined })],
    ['a list of issuers', () => sign({ iss: [ISSUER] })],
    ['no end', () => sign({ exp: undefined })],
    ['an end that is no number', () => sign({ exp: '9999999999' })],
    ['an end now', () => sign({ exp: IAT })],
    ['an end before', () => sign({ exp: IAT - 1 })],
    ['a beginning that is still to come', () => sign({ nbf: IAT + 60 })],
    [
      'a critical extension nobody knows',
      () => by({ crit: ['x'], x: 1 }).sign(keyOf('ES256').privateKey, { crit: { x: true } }),
    ],
    [
      'a payload that is not encoded (RFC 7797)',
      () => {
        const { kid, privateKey } = keyOf('ES256');
        const input = `${encode({ alg: 'ES256', typ: 'at+jwt', kid, b64: false, crit: ['b64'] })}.${encode(claims)}`;
        const signature = cryptoSign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' });
        return `${input}.${signature.toString('base64url')}`;
      },
    ],
    ['claims that are a list', () => signJwt(keyOf('ES256'), 'at+jwt', [claims] as unknown as Record<string, unknown>)],
    ['more than 8 KiB', () => sign({ text: 'x'.repeat(8192) })],
    ['a bit changed', async () => flipped(await sign({}))],
  ])('is not what has %s', async (_what, make) => {
    expect(own(await make())).toBeUndefined();
  });

  it('is asked for its end, type, issuer and key each time, however often it was read', async () => {
    const token = await signJwt(keyOf('ES256'), 'at+jwt', claims);
    const known = verifyingKey(keyOf('ES256').publicJwk);
    const findKey = () => known;
    for (let time = 0; time < 2; time += 1) expect(own(token, { findKey })).toEqual(claims);
    expect(own(token, { findKey, now: new Date(NOW.getTime() + 60_000) })).toBeUndefined();
    expect(own(token, { findKey, typ: 'logout+jwt' })).toBeUndefined();
    expect(own(token, { findKey, issuer: 'https://other.example' })).toBeUndefined();
    expect(own(token, { findKey: () => undefined })).toBeUndefined();
    expect(own(flipped(token), { findKey })).toBeUndefined();
  });

  it('has one spelling, and what it says cannot be changed by who reads it', async () => {
    const token = await signJwt(keyOf('ES256'), 'at+jwt', { ...claims, aud: ['a', 'b'] });
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const spellings = [...alphabet].map((last) => token.slice(0, -1) + last).filter((spelling) => own(spelling));
    expect(spellings).toEqual([token]);
    const read = own(token) as { aud: string[] };
    expect(() => read.aud.push('c')).toThrow(TypeError);
    expect(() => Object.assign(read, { sub: 'mallory' })).toThrow(TypeError);
  });

  it('may name its type in full (RFC 7515 §4.1.9)', async () => {
    const token = await by({ typ: 'application/at+jwt' }).sign(keyOf('ES256').privateKey);
    expect(decodeProtectedHeader(token).typ).toBe('application/at+jwt');
    expect(own(token)).toEqual(claims);
  });
});

/** Changes one bit of the signature's first character, which no decoder ignores. */
function flipped(token: string): string {
  const start = token.lastIndexOf('.') + 1;
  return `${token.slice(0, start)}${token[start] === 'A' ? 'B' : 'A'}${token.slice(start + 1)}`;
}
