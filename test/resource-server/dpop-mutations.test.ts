/**
 * Properties of DPoP proofs at an API: no change to a good proof that changes what it means is accepted, and no input makes
 * the judgement fail instead of refuse. RFC 9449 §4.3, §7.
 */

import fc from 'fast-check';
import { createTokenVerifier, type TokenVerifier } from 'gatehouse/resource-server';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RESOURCE } from './api.ts';
import { ForeignIssuer } from './foreign-issuer.ts';
import { makeProofKey, type ProofKey, prove } from './proof-key.ts';

const PHOTOS = `${RESOURCE}/photos`;
const RUNS = { numRuns: 150 };

let issuer: ForeignIssuer;
let tokens: TokenVerifier;
let key: ProofKey;
let token: string;

beforeAll(async () => {
  issuer = await ForeignIssuer.start();
  tokens = createTokenVerifier({ issuer: issuer.issuer, resource: RESOURCE, token: { kind: 'jwt' } });
  key = await makeProofKey();
  token = await issuer.sign({ ...issuer.claims(RESOURCE), cnf: { jkt: key.jkt } });
});
afterAll(() => issuer.close());

/** `undefined` when the proof was accepted. */
async function refusalOf(proof: string | readonly string[], presented = token) {
  const dpop = typeof proof === 'string' ? [proof] : proof;
  const verdict = await tokens.verify({ method: 'GET', url: '/photos', authorization: [`DPoP ${presented}`], dpop });
  return verdict.accepted ? undefined : verdict.refusal;
}

const expectRefusal = (refusal: Awaited<ReturnType<typeof refusalOf>>) =>
  expect(refusal?.status === 400 || refusal?.status === 401).toBe(true);

test('a good proof is accepted: what follows is refused for what was changed', async () => {
  expect(await refusalOf(await prove(key, 'GET', PHOTOS, token))).toBeUndefined();
});

test('no bit of a proof can be flipped', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.integer({ min: 0, max: 7 }), async (at, bit) => {
      const parts = (await prove(key, 'GET', PHOTOS, token)).split('.').map((part) => Buffer.from(part, 'base64url'));
      const whole = Buffer.concat(parts);
      whole.writeUInt8(whole.readUInt8(at % whole.length) ^ (1 << bit), at % whole.length);
      let start = 0;
      const flipped = parts.map(({ length }) => {
        start += length;
        return whole.subarray(start - length, start).toString('base64url');
      });
      expectRefusal(await refusalOf(flipped.join('.')));
    }),
    RUNS,
  );
});

test('no claim that the proof must have can be another value', async () => {
  const claim = fc.constantFrom('jti', 'htm', 'htu', 'iat', 'ath');
  await fc.assert(
    fc.asyncProperty(claim, fc.jsonValue(), async (name, value) => {
      // Any text is a jti.
      fc.pre(name !== 'jti' || typeof value !== 'string' || value === '');
      const proof = await prove(key, 'GET', PHOTOS, token, { claims: { [name]: value } });
      expectRefusal(await refusalOf(proof));
    }),
    RUNS,
  );
});

test('no other URL is taken for this one', async () => {
  await fc.assert(
    fc.asyncProperty(fc.webUrl({ withQueryParameters: true, withFragments: true }), async (htu) => {
      expectRefusal(await refusalOf(await prove(key, 'GET', htu, token)));
    }),
    RUNS,
  );
  const paths = fc.webPath().filter((path) => new URL(RESOURCE + path).pathname !== '/photos');
  await fc.assert(
    fc.asyncProperty(paths, async (path) => {
      expectRefusal(await refusalOf(await prove(key, 'GET', RESOURCE + path, token)));
    }),
    RUNS,
  );
});

test('no other header is taken for a proof’s', async () => {
  const member = fc.constantFrom('typ', 'jwk');
  await fc.assert(
    fc.asyncProperty(member, fc.jsonValue(), async (name, value) => {
      const proof = await prove(key, 'GET', PHOTOS, token, { header: { [name]: value } });
      expectRefusal(await refusalOf(proof));
    }),
    RUNS,
  );
});

test('no text is taken for a proof or a token, and none makes the judgement fail', async () => {
  const text = fc.string({ unit: 'binary', maxLength: 300 });
  await fc.assert(
    fc.asyncProperty(text, text, fc.array(text, { maxLength: 3 }), async (credentials, url, dpop) => {
      const authorization = fc.sample(
        fc.constantFrom([credentials], [`DPoP ${credentials}`], [`Bearer ${credentials}`]),
        1,
      );
      for (const values of authorization) {
        const verdict = await tokens.verify({ method: 'GET', url, authorization: values, dpop });
        expect(verdict.accepted).toBe(false);
      }
      expectRefusal(await refusalOf(dpop));
    }),
    RUNS,
  );
});

test('whatever an issuer puts into cnf, only the thumbprint of the proof’s key lets the token in', async () => {
  await fc.assert(
    fc.asyncProperty(fc.jsonValue(), async (cnf) => {
      const odd = await issuer.sign({ ...issuer.claims(RESOURCE), cnf });
      expectRefusal(await refusalOf(await prove(key, 'GET', PHOTOS, odd), odd));
    }),
    RUNS,
  );
});
