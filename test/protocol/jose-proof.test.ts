/** JWTs that bring their key: what jose makes of them is what we must. */
import { createHash, generateKeyPairSync } from 'node:crypto';
import {
  CompactSign,
  calculateJwkThumbprint,
  compactVerify,
  EmbeddedJWK,
  exportJWK,
  generateKeyPair,
  type JWK,
} from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import { clientSigningAlgs, JwtRefused } from '../../src/protocol/jose-client.ts';
import { verifyProofJwt } from '../../src/protocol/jose-proof.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { rawJws } from '../support/client-key.ts';
import { forgeriesOf, isFulfilled, OTHER_S } from './forged-signatures.ts';

const ALGS = clientSigningAlgs(oauth21);
const RULES = { algs: ALGS, typ: 'dpop+jwt', longest: 8192 };
const CLAIMS = { jti: 'schön 🗝' };

interface Prover {
  readonly jwk: JWK;
  sign(header?: Record<string, unknown>, claims?: string): Promise<string>;
}

async function prover(alg: string, options = {}): Promise<Prover> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true, ...options });
  const jwk = await exportJWK(publicKey);
  return {
    jwk,
    sign: (header = {}, claims = JSON.stringify(CLAIMS)) =>
      new CompactSign(Buffer.from(claims))
        .setProtectedHeader({ alg, typ: 'dpop+jwt', jwk, ...header })
        .sign(privateKey, { crit: { exp: false } }),
  };
}

const provers = new Map<string, Prover>();
beforeAll(async () => {
  for (const alg of ALGS) provers.set(alg, await prover(alg));
});
function proverOf(alg: string): Prover {
  const found = provers.get(alg);
  if (!found) throw new Error(`no ${alg} key`);
  return found;
}

const verify = async (jwt: string) => verifyProofJwt(jwt, RULES);
const refusal = (jwt: string) =>
  verify(jwt).then(
    () => 'it was accepted',
    (error: unknown) => (error instanceof JwtRefused ? error.message : `${error}`),
  );

describe('a JWT that brings its key', () => {
  it.each(ALGS)('gives its claims and the thumbprint of its key with %s, as jose has it', async (alg) => {
    const { jwk, sign } = proverOf(alg);
    const thumbprint = await calculateJwkThumbprint(jwk, 'sha256');
    expect(await verify(await sign())).toEqual({ claims: CLAIMS, thumbprint });
    // What else is there, and where, changes nothing.
    const mixed = Object.fromEntries(Object.entries({ use: 'sig', ...jwk, kid: 'x', alg }).toReversed());
    expect((await verify(await sign({ jwk: mixed }))).thumbprint).toBe(thumbprint);
  });

  it.each(ALGS)('is judged as jose judges it, whatever its signature with %s is', async (alg) => {
    const jwt = await proverOf(alg).sign();
    const end = jwt.lastIndexOf('.') + 1;
    const accepted: string[] = [];
    for (const [what, signature] of forgeriesOf(alg, Buffer.from(jwt.slice(end), 'base64url'))) {
      const changed = jwt.slice(0, end) + signature.toString('base64url');
      const byUs = await isFulfilled(verify(changed), JwtRefused);
      expect(byUs, what).toBe(await isFulfilled(compactVerify(changed, EmbeddedJWK)));
      if (byUs) accepted.push(what);
    }
    expect(accepted).toEqual(alg === 'ES256' ? ['the good one', OTHER_S] : ['the good one']);
  });

  it('is refused with the key of somebody else beside the signature', async () => {
    for (const alg of ALGS) {
      const { jwk } = await prover(alg);
      expect(await refusal(await proverOf(alg).sign({ jwk }))).toBe('its signature is not good');
    }
  });

  const es256 = () => proverOf('ES256').jwk;
  it.each<[string, () => unknown, RegExp]>([
    ['no key', () => undefined, /no jwk/],
    ['null', () => null, /no jwk/],
    ['a list', () => [es256()], /no jwk/],
    ['text', () => JSON.stringify(es256()), /no jwk/],
    ['nothing in it', () => ({}), /not a key/],
    ['a private key', () => ({ ...es256(), d: 'AAAA' }), /private/],
    ['a secret', () => ({ kty: 'oct', k: 'AAAA' }), /private or symmetric/],
    ['no y', () => ({ ...es256(), y: undefined }), /not a key/],
    ['a point that is not on the curve', () => ({ ...es256(), y: es256().x }), /not a key/],
    ['a number for x', () => ({ ...es256(), x: 1 }), /not a key/],
    ['another kty', () => ({ ...es256(), kty: 'OKP' }), /not a key/],
    ['a kty every object has', () => ({ ...es256(), kty: 'constructor' }), /not a key/],
    ['another curve', () => curve('P-384'), /not a key for its alg/],
    ['a key of another alg', () => proverOf('EdDSA').jwk, /not a key for its alg/],
    ['a key for encryption', () => ({ ...es256(), use: 'enc' }), /not a key for its alg/],
    ['an alg of its own', () => ({ ...es256(), alg: 'ES384' }), /not a key for its alg/],
  ])('is refused with %s as its key', async (_what, jwk, why) => {
    expect(await refusal(rawJws({ alg: 'ES256', typ: 'dpop+jwt', jwk: jwk() }, CLAIMS, Buffer.alloc(64)))).toMatch(why);
  });

  const curve = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve }).publicKey.export({ format: 'jwk' });

  it.each([
    [1024, 'AQAB', /less than 2048/],
    [8192, 'AQAB', /more than 4096/],
    [2048, 'AQ', /exponent/],
    [2048, 'AQAAAQ', /exponent/],
  ])(
    'is refused with an RSA key of %i bits and the exponent %s: too weak, or too dear to verify',
    async (bits, e, why) => {
      const n = Buffer.alloc(bits / 8, 255).toString('base64url');
      const jwt = rawJws({ alg: 'RS256', typ: 'dpop+jwt', jwk: { kty: 'RSA', n, e } }, CLAIMS, Buffer.alloc(bits / 8));
      expect(await refusal(jwt)).toMatch(why);
    },
  );

  it.each<[string, Record<string, unknown>, RegExp]>([
    ['another type', { typ: 'jwt' }, /typ/],
    ['no type', { typ: undefined }, /typ/],
    ['critical extensions', { crit: ['exp'], exp: 1 }, /crit/],
  ])('is refused for %s', async (_what, header, why) => {
    expect(await refusal(await proverOf('ES256').sign(header))).toMatch(why);
  });

  it.each(['none', 'HS256', 'ES384', 'constructor', undefined, 7])('is refused with the alg %s', async (alg) => {
    expect(await refusal(rawJws({ alg, typ: 'dpop+jwt', jwk: es256() }, CLAIMS, 'AAAA'))).toMatch(/alg|not signed/);
  });

  it('is refused with a secret made of its own key', async () => {
    const input = rawJws({ alg: 'HS256', typ: 'dpop+jwt', jwk: es256() }, CLAIMS);
    const mac = createHash('sha256').update(JSON.stringify(es256())).update(input).digest();
    expect(await refusal(input + mac.toString('base64url'))).toBe('its alg is not accepted');
  });

  it.each([
    ['claims that are a list', '[]'],
    ['claims that are no JSON', '{"jti":'],
  ])('is refused with %s', async (_what, claims) => {
    expect(await refusal(await proverOf('ES256').sign({}, claims))).toBe('it is malformed');
  });
});
