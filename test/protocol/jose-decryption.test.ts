import fc from 'fast-check';
import { compactDecrypt } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import type { PublicJwk } from '../../src/protocol/jose.ts';
import { encryptionEncs, JwtRefused } from '../../src/protocol/jose-client.ts';
import {
  type DecryptionAlg,
  type DecryptionKey,
  decryptionAlgs,
  decryptJwe,
  generateDecryptionKey,
  looksEncrypted,
  restoreDecryptionKey,
} from '../../src/protocol/jose-decryption.ts';
import { encryptTo, underHeader } from '../support/encrypted-objects.ts';

const RULES = { algs: decryptionAlgs, encs: encryptionEncs, typs: ['oauth-authz-req+jwt', 'jwt'], longest: 4096 };
const INSIDE = 'a.signed.jwt';
const CANNOT = /^it cannot be decrypted: it was changed, or is not encrypted to a key of this server$/;

interface Pair {
  readonly jwk: PublicJwk;
  readonly key: DecryptionKey;
}

async function pair(alg: DecryptionAlg): Promise<Pair> {
  const { publicJwk, pkcs8 } = await generateDecryptionKey(alg);
  return { jwk: publicJwk, key: restoreDecryptionKey(publicJwk.kid, alg, pkcs8) };
}

describe('what is encrypted to us', () => {
  const pairs = new Map<string, Pair>();
  const of = (alg: string) => {
    const found = pairs.get(alg);
    if (!found) throw new Error(alg);
    return found;
  };
  let stranger: Pair;
  beforeAll(async () => {
    for (const alg of decryptionAlgs) pairs.set(alg, await pair(alg));
    stranger = await pair('ECDH-ES');
  });

  const asked: unknown[] = [];
  const opened = (jwe: string, rules: Partial<typeof RULES> = {}) =>
    decryptJwe(jwe, { ...RULES, ...rules }, (alg, kid) => {
      asked.push([alg, kid]);
      const key = pairs.get(alg)?.key;
      return kid === undefined || kid === key?.kid ? key : undefined;
    });

  const choices = decryptionAlgs.flatMap((alg) => encryptionEncs.map((enc) => [alg, enc] as const));

  it.each(choices)('is read: %s with %s', async (alg, enc) => {
    const jwe = await encryptTo(of(alg).jwk, INSIDE, { enc });
    expect(looksEncrypted(jwe)).toBe(true);
    expect(await opened(jwe)).toBe(INSIDE);
    expect(await opened(await encryptTo(of(alg).jwk, INSIDE, { enc, kid: undefined, cty: undefined }))).toBe(INSIDE);
  });

  it('may say what it is, as its kind has it and in any case', async () => {
    for (const header of [
      { typ: 'JWT' },
      { typ: 'application/OAUTH-authz-req+jwt', cty: 'oauth-authz-req+jwt' },
      { cty: 'jwt' },
    ])
      expect(await opened(await encryptTo(of('ECDH-ES').jwk, INSIDE, header))).toBe(INSIDE);
  });

  it.each(choices)('is refused with any character changed: %s with %s', async (alg, enc) => {
    const jwe = await encryptTo(of(alg).jwk, INSIDE, { enc });
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=';
    const changes = fc.tuple(fc.nat(jwe.length - 1), fc.constantFrom(...alphabet));
    await fc.assert(
      fc.asyncProperty(changes, async ([at, character]) => {
        fc.pre(jwe[at] !== character);
        await expect(opened(jwe.slice(0, at) + character + jwe.slice(at + 1))).rejects.toThrow(JwtRefused);
      }),
      { numRuns: 150 },
    );
    // The last of every part is the one that has bits to spare.
    for (const { index: at = 0, 0: last } of jwe.matchAll(/[^.](?=\.|$)/g))
      for (const character of alphabet.replace(last, ''))
        await expect(opened(jwe.slice(0, at) + character + jwe.slice(at + 1))).rejects.toThrow(JwtRefused);
  });

  describe('under a header that nobody should write', () => {
    const headers: [string, Record<string, unknown>, RegExp][] = [
      ...[
        'RSA1_5',
        'RSA-OAEP',
        'RSA-OAEP-512',
        'dir',
        'none',
        'A256KW',
        'A256GCMKW',
        'ECDH-ES+A256KW',
        'rsa-oaep-256',
      ].map((alg): [string, Record<string, unknown>, RegExp] => [`alg ${alg}`, { alg }, /an alg that is not accepted/]),
      ['a password', { alg: 'PBES2-HS256+A128KW', p2s: 'c2FsdHNhbHQ', p2c: 1e9 }, /an alg that is not accepted/],
      ['no alg', { alg: undefined }, /an alg that is not accepted/],
      ['a list of algs', { alg: ['ECDH-ES'] }, /an alg that is not accepted/],
      ['an enc of another size', { enc: 'A192GCM' }, /an enc that is not accepted/],
      ['no enc', { enc: undefined }, /an enc that is not accepted/],
      ['zip', { zip: 'DEF' }, /compressed/],
      ['zip of an unknown kind', { zip: null }, /compressed/],
      ['crit', { crit: ['exp'], exp: 1 }, /crit/],
      ['a key', { jwk: {} }, /jwk/],
      ['the address of a key', { jku: 'https://evil.example/' }, /jku/],
      ['the address of a certificate', { x5u: 'https://evil.example/' }, /x5u/],
      ['the type of something else', { typ: 'at+jwt' }, /typ/],
      ['a type that is no text', { typ: 5 }, /typ/],
      ['contents of another type', { cty: 'application/json' }, /typ/],
      ['a kid that is no text', { kid: { a: 1 } }, /kid/],
    ];

    it.each(headers)('%s: it is refused before a key is looked for', async (_what, changes, why) => {
      const jwe = await encryptTo(of('ECDH-ES').jwk, INSIDE);
      asked.length = 0;
      await expect(opened(underHeader(jwe, changes))).rejects.toThrow(why);
      expect(asked).toEqual([]);
    });
  });

  it('is never unpacked, however well it is packed and encrypted', async () => {
    const jwe = await encryptTo(of('ECDH-ES').jwk, 'a'.repeat(1_000_000), { zip: 'DEF' });
    expect(jwe.length).toBeLessThan(RULES.longest);
    const { plaintext } = await compactDecrypt(jwe, of('ECDH-ES').key.privateKey, { maxDecompressedLength: Infinity });
    expect(plaintext).toHaveLength(1_000_000);
    await expect(opened(jwe)).rejects.toThrow(/compressed/);
  });

  it('is refused in the same words for whatever decryption stumbles over', async () => {
    const [rsa, ec] = [of('RSA-OAEP-256').jwk, of('ECDH-ES').jwk];
    const jwe = await encryptTo(ec, INSIDE);
    const parts = jwe.split('.');
    const wrapped = (await encryptTo(rsa, INSIDE)).split('.');
    const replaced = (of: string[], at: number, part: string) =>
      of.map((old, index) => (index === at ? part : old)).join('.');
    const stumbling: [string, string | Promise<string>][] = [
      ['to a stranger', encryptTo(stranger.jwk, INSIDE)],
      ['to a stranger under our kid', encryptTo({ ...stranger.jwk, kid: ec.kid }, INSIDE)],
      ['to a kid that is the key of the other algorithm', underHeader(jwe, { kid: rsa.kid })],
      ['for RSA, and it is not', underHeader(jwe, { alg: 'RSA-OAEP-256', kid: rsa.kid })],
      ['for ECDH-ES, and it is not', underHeader(wrapped.join('.'), { alg: 'ECDH-ES', kid: ec.kid })],
      ['with the other content encryption', underHeader(jwe, { enc: 'A128GCM' })],
      ['without epk', underHeader(jwe, { epk: undefined })],
      ['with an epk of another curve', underHeader(jwe, { epk: { kty: 'EC', crv: 'P-384', x: 'AA', y: 'AA' } })],
      [
        'with an epk that is on no curve',
        underHeader(jwe, {
          epk: {
            kty: 'EC',
            crv: 'P-256',
            x: Buffer.alloc(32, 1).toString('base64url'),
            y: Buffer.alloc(32, 2).toString('base64url'),
          },
        }),
      ],
      ['with an apu that is none', underHeader(jwe, { apu: 5 })],
      ['with a header of more', underHeader(jwe, { more: true })],
      ['with an encrypted key beside an agreed one', replaced(parts, 1, 'AAAA')],
      ['with an initialization vector of another length', replaced(parts, 2, 'AAAA')],
      ['with a short tag', replaced(parts, 4, 'AAAA')],
      ['with another ciphertext', replaced(parts, 3, 'AAAA')],
      ['with a short encrypted key', replaced(wrapped, 1, 'AAAA')],
      ['with a long encrypted key', replaced(wrapped, 1, 'A'.repeat(1024))],
      ['with an encrypted key that is larger than the modulus', replaced(wrapped, 1, `${'_'.repeat(341)}w`)],
    ];
    for (const [what, made] of stumbling) await expect(opened(await made), what).rejects.toThrow(CANNOT);
  });

  it('is measured before it is read', async () => {
    const jwe = await encryptTo(of('ECDH-ES').jwk, 'x'.repeat(4096));
    await expect(opened(jwe)).rejects.toThrow(/too long/);
    await expect(opened(`${'x'.repeat(5000)}`)).rejects.toThrow(/too long/);
    expect(await opened(jwe, { longest: jwe.length })).toHaveLength(4096);
  });

  it.each([
    '',
    '....',
    'a.b.c',
    'a..b.c',
    'a..b.c.d.e',
    'é..b.c.d',
    'a b..c.d.e',
    'e30=..AA.AA.AA',
    'bnVsbA..AA.AA.AA',
    'W10..AA.AA.AA',
    'e30..AA.AA.AA',
  ])('%j is not that', async (text) => {
    await expect(opened(text)).rejects.toThrow(JwtRefused);
  });

  it('keeps to the algorithms it is told', async () => {
    const jwe = await encryptTo(of('ECDH-ES').jwk, INSIDE, { enc: 'A128GCM' });
    await expect(opened(jwe, { algs: ['RSA-OAEP-256'] as never })).rejects.toThrow(/alg/);
    await expect(opened(jwe, { encs: ['A256GCM'] as never })).rejects.toThrow(/enc/);
    expect(await opened(jwe, { encs: ['A128GCM'] as never })).toBe(INSIDE);
  });

  it('looks like five parts; a signed JWT has three', () => {
    for (const text of ['....', 'a..b.c.d']) expect(looksEncrypted(text)).toBe(true);
    for (const text of ['', 'a.b.c', 'a.b.c.d', 'a.b.c.d.e.f']) expect(looksEncrypted(text)).toBe(false);
  });
});
