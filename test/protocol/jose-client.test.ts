import { createHmac, generateKeyPairSync } from 'node:crypto';
import {
  CompactEncrypt,
  CompactSign,
  compactDecrypt,
  compactVerify,
  decodeProtectedHeader,
  exportJWK,
  type GenerateKeyPairOptions,
  generateKeyPair,
  importJWK,
} from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import type { AuthorizationServer } from '../../src/protocol/authorization-server.ts';
import { checkClientMetadata } from '../../src/protocol/client.ts';
import { encryptForClient, type JsonWebKeySet, verifyJwtOf } from '../../src/protocol/client-keys.ts';
import { OAuthError } from '../../src/protocol/errors.ts';
import {
  algsOf,
  type ClientJwk,
  type ClientJwtRules,
  checkTimes,
  clientSigningAlgs,
  encryptionAlgs,
  encryptionEncs,
  JwtRefused,
  problemOfKey,
  verifyClientJwt,
} from '../../src/protocol/jose-client.ts';
import { fapi2Security, oauth21 } from '../../src/protocol/profile.ts';
import { type ClientKey, clientKey, rawJws } from '../support/client-key.ts';
import { forgeriesOf, isFulfilled, OTHER_S } from './forged-signatures.ts';
import { clientOf, rulesOfEverything } from './samples.ts';

const ALGS = clientSigningAlgs(oauth21);
const RULES: ClientJwtRules = { algs: ALGS, typs: ['jwt', 'oauth-authz-req+jwt'], longest: 4096 };
const CLAIMS = { iss: 'client', text: 'schön 🗝', number: 1 };

const keys = new Map<string, ClientKey>();
beforeAll(async () => {
  for (const alg of ALGS) keys.set(alg, await clientKey(alg));
});
function keyOf(alg: string): ClientKey {
  const key = keys.get(alg);
  if (!key) throw new Error(`no ${alg} key`);
  return key;
}

/** Verifies against one key, as the only one there is. */
const verify = (jwt: string, jwk: ClientJwk | undefined = keyOf('ES256').jwk, rules: Partial<ClientJwtRules> = {}) =>
  verifyClientJwt(jwt, { ...RULES, ...rules }, async () => jwk);

const refusal = (promise: Promise<unknown>): Promise<JwtRefused> =>
  promise.then(
    () => {
      throw new Error('it was accepted');
    },
    (error: unknown) => {
      if (!(error instanceof JwtRefused)) throw error;
      return error;
    },
  );

describe('a JWT that a client signed', () => {
  it.each(ALGS)('gives its claims with %s, and nothing with a changed one', async (alg) => {
    const jwt = await keyOf(alg).sign(CLAIMS);
    expect(await verify(jwt, keyOf(alg).jwk)).toEqual(CLAIMS);
    const [header, , signature] = jwt.split('.');
    const changed = `${header}.${Buffer.from('{"iss":"other"}').toString('base64url')}.${signature}`;
    expect((await refusal(verify(changed, keyOf(alg).jwk))).message).toBe('its signature is not good');
    const other = await clientKey(alg);
    expect((await refusal(verify(jwt, other.jwk))).message).toBe('its signature is not good');
  });

  it('is of the same algorithm under its old and its new name (RFC 9864)', async () => {
    const { jwk, sign } = keyOf('Ed25519');
    expect(await verify(await sign(CLAIMS), { ...jwk, alg: 'EdDSA' }, { algs: ['EdDSA'] })).toEqual(CLAIMS);
  });

  it.each([
    ['none', undefined],
    ['JWT', { typ: 'JWT' }],
    ['a type of the list', { typ: 'oauth-authz-req+jwt' }],
    ['another case', { typ: 'OAuth-AuthZ-Req+JWT' }],
    ['the whole media type', { typ: 'application/oauth-authz-req+jwt' }],
  ])('may have the type: %s', async (_what, header) => {
    expect(await verify(await keyOf('ES256').sign(CLAIMS, header))).toEqual(CLAIMS);
  });

  it.each<[string, Record<string, unknown>, RegExp]>([
    ['another type', { typ: 'client-authentication+jwt' }, /typ/],
    ['a type that is no text', { typ: 1 }, /typ/],
    ['an embedded key', { jwk: { kty: 'EC' } }, /header has jwk/],
    ['the address of a key', { jku: 'https://evil.example/jwks' }, /header has jku/],
    ['the address of a certificate', { x5u: 'https://evil.example/cert' }, /header has x5u/],
    ['critical extensions', { crit: ['exp'], exp: 1 }, /header has crit/],
    ['a kid that is no text', { kid: 7 }, /kid/],
  ])('is refused for %s, though its signature is good', async (_what, header, why) => {
    const asked: unknown[] = [];
    const jwt = await keyOf('ES256').sign(CLAIMS, header);
    const { message } = await refusal(
      verifyClientJwt(jwt, RULES, async (found) => {
        asked.push(found);
        return keyOf('ES256').jwk;
      }),
    );
    expect(message).toMatch(why);
    // Refused by the header alone: no key was looked for.
    expect(asked).toEqual([]);
  });

  it.each<[string, () => string]>([
    ['none', () => rawJws({ alg: 'none' }, CLAIMS)],
    ['none, with something where the signature was', () => rawJws({ alg: 'none' }, CLAIMS, 'AAAA')],
    ['None', () => rawJws({ alg: 'None' }, CLAIMS)],
    ['no alg', () => rawJws({ typ: 'JWT' }, CLAIMS, 'AAAA')],
    ['an alg that is no text', () => rawJws({ alg: ['ES256'] }, CLAIMS, 'AAAA')],
    ['an alg every object has', () => rawJws({ alg: 'constructor' }, CLAIMS, 'AAAA')],
    ['RS512', () => rawJws({ alg: 'RS512' }, CLAIMS, 'AAAA')],
    ['ES256K', () => rawJws({ alg: 'ES256K' }, CLAIMS, 'AAAA')],
    [
      'HS256 with the public key as the secret',
      () => {
        const input = rawJws({ alg: 'HS256', kid: 'key-ES256' }, CLAIMS).slice(0, -1);
        return `${input}.${createHmac('sha256', JSON.stringify(keyOf('ES256').jwk))
          .update(input)
          .digest('base64url')}`;
      },
    ],
  ])('with alg %s is refused before any key is looked for', async (_what, jwt) => {
    let asked = false;
    const { unsigned } = await refusal(
      verifyClientJwt(jwt(), RULES, async () => {
        asked = true;
        return keyOf('ES256').jwk;
      }),
    );
    expect([asked, unsigned]).toEqual([false, decodeProtectedHeader(jwt()).alg === 'none']);
  });

  it('with an algorithm the client has not registered is refused', async () => {
    const jwt = await keyOf('RS256').sign(CLAIMS);
    expect((await refusal(verify(jwt, keyOf('RS256').jwk, { algs: ['PS256'] }))).message).toMatch(/alg/);
  });

  it.each<[string, (jwt: string) => string | Promise<string>]>([
    ['two parts', (jwt) => jwt.split('.').slice(0, 2).join('.')],
    ['four parts', (jwt) => `${jwt}.AA`],
    ['five parts, encrypted', () => 'a.b.c.d.e'],
    ['JSON serialization', () => '{"payload":"e30","signatures":[]}'],
    ['padding', (jwt) => `${jwt}=`],
    ['white space', (jwt) => `${jwt}\n`],
    ['a header that is a list', () => rawJws([], CLAIMS, 'AA')],
    ['a header that is no JSON', () => rawJws('{', CLAIMS, 'AA')],
    ['claims that are a list', () => keyOf('ES256').sign('[]')],
    ['claims that are null', () => keyOf('ES256').sign('null')],
    ['claims that are no JSON', () => keyOf('ES256').sign('{"iss":')],
    [
      'claims that are not UTF-8',
      () => keyOf('ES256').sign(Buffer.from('7b2269737322 3a22ff227d'.replace(' ', ''), 'hex')),
    ],
    ['no signature', (jwt) => jwt.slice(0, jwt.lastIndexOf('.') + 1)],
    ['more characters than allowed', () => keyOf('ES256').sign({ long: 'x'.repeat(4000) })],
  ])('is refused with %s', async (_what, change) => {
    await refusal(verify(await change(await keyOf('ES256').sign(CLAIMS))));
  });

  it('is refused when its parts are not base64url as everybody writes it: one JWT, one text', async () => {
    const jwt = await keyOf('ES256').sign(CLAIMS);
    expect((await refusal(verify(jwt.replace('.', 'A.')))).message).toBe('it is malformed');
  });

  it.each(ALGS)('is judged as jose judges it, whatever its signature with %s is', async (alg) => {
    const { jwk, sign } = keyOf(alg);
    const jwt = await sign(CLAIMS);
    const end = jwt.lastIndexOf('.') + 1;
    const key = await importJWK(jwk, alg);
    const accepted: string[] = [];
    for (const [what, signature] of forgeriesOf(alg, Buffer.from(jwt.slice(end), 'base64url'))) {
      const changed = jwt.slice(0, end) + signature.toString('base64url');
      const byJose = await isFulfilled(compactVerify(changed, key));
      const byUs = await isFulfilled(verify(changed, jwk), JwtRefused);
      expect(byUs, what).toBe(byJose);
      if (byUs) accepted.push(what);
    }
    expect(accepted).toEqual(alg === 'ES256' ? ['the good one', OTHER_S] : ['the good one']);
  });

  it('has one spelling of its signature', async () => {
    const jwt = await keyOf('ES256').sign(CLAIMS);
    // 64 bytes are 86 characters, the last of which has four loose bits.
    const loose = jwt.slice(0, -1) + String.fromCharCode(jwt.charCodeAt(jwt.length - 1) + 1);
    expect(Buffer.from(loose.slice(-86), 'base64url')).toEqual(Buffer.from(jwt.slice(-86), 'base64url'));
    expect((await refusal(verify(loose))).message).toBe('its signature is not good');
  });

  // A pattern that backtracks would hang here until the test is given up.
  it.each([
    ['a megabyte', 'x'.repeat(1e6)],
    ['many dots', `${'a.'.repeat(2000)}a`],
    ['a long part and a wrong end', `${'a'.repeat(4000)}!`],
  ])('is refused when it is %s', async (_what, text) => void (await refusal(verify(text))));
});

describe('the key of a client', () => {
  const rsa = async (modulusLength: number, publicExponent = 65_537) =>
    generateKeyPairSync('rsa', { modulusLength, publicExponent }).publicKey.export({ format: 'jwk' }) as ClientJwk;

  it.each<[string, () => ClientJwk]>([
    ['another curve', () => ({ ...keyOf('EdDSA').jwk, alg: undefined })],
    ['another use', () => ({ ...keyOf('ES256').jwk, use: 'enc' })],
    ['another alg', () => ({ ...keyOf('ES256').jwk, alg: 'ECDH-ES' })],
    ['its private part', () => ({ ...keyOf('ES256').jwk, d: 'AAAA' })],
    ['a point that is not on the curve', () => ({ ...keyOf('ES256').jwk, x: 'AAAA' })],
    ['a secret', () => ({ kty: 'oct', k: 'AAAA' })],
  ])('is not used with %s', async (_what, jwk) => {
    expect((await refusal(verify(await keyOf('ES256').sign(CLAIMS), jwk()))).message).toBe(
      'no key of the client fits it',
    );
  });

  it('is for one algorithm: an RSA key for RS256 does not check PS256', async () => {
    const { privateKey, jwk } = keyOf('RS256');
    const { subtle } = globalThis.crypto;
    const pkcs8 = await subtle.exportKey('pkcs8', privateKey);
    const pss = await subtle.importKey('pkcs8', pkcs8, { name: 'RSA-PSS', hash: 'SHA-256' }, false, ['sign']);
    const jwt = await new CompactSign(Buffer.from('{}')).setProtectedHeader({ alg: 'PS256' }).sign(pss);
    expect((await refusal(verify(jwt, jwk))).message).toBe('no key of the client fits it');
    expect(await verify(jwt, { ...jwk, alg: undefined })).toEqual({});
  });

  it.each<[string, () => ClientJwk | Promise<ClientJwk>, RegExp]>([
    ['1024 bits', () => rsa(1024), /RSA key of less/],
    ['an exponent of 1', async () => ({ ...(await rsa(2048)), e: 'AQ' }), /exponent/],
    [
      'a long exponent',
      async () => ({ ...(await rsa(2048)), e: Buffer.alloc(32, 255).toString('base64url') }),
      /exponent/,
    ],
    [
      'a modulus of 16384 bits',
      async () => ({ kty: 'RSA', e: 'AQAB', n: Buffer.alloc(2048, 255).toString('base64url') }),
      /RSA key of less/,
    ],
    ['a megabyte', async () => ({ ...(await rsa(2048)), x5c: ['x'.repeat(1e6)] }), /too large/],
    ['a private member', async () => ({ ...(await rsa(2048)), p: 'AAAA' }), /private/],
    ['a prime of a kind that is new', () => ({ kty: 'AKP', priv: 'AAAA' }), /private/],
    ['a symmetric key', () => ({ kty: 'oct' }), /private or symmetric/],
    ['a kind nobody knows', () => ({ kty: 'XX' }), /not a key/],
    ['an empty kid', async () => ({ ...(await rsa(2048)), kid: '' }), /kid/],
    ['a kid that is a number', async () => ({ ...(await rsa(2048)), kid: 1 }), /kid/],
  ])('is refused with %s', async (_what, jwk, why) => expect(problemOfKey(await jwk())).toMatch(why));

  it('is fine with 2048 and 4096 bits, on every curve', async () => {
    expect(problemOfKey(await rsa(2048))).toBeUndefined();
    expect(problemOfKey(await rsa(4096, 3))).toBeUndefined();
    for (const namedCurve of ['P-256', 'P-384', 'P-521'])
      expect(
        problemOfKey(generateKeyPairSync('ec', { namedCurve }).publicKey.export({ format: 'jwk' }) as ClientJwk),
      ).toBeUndefined();
  });
});

describe('which key of a client', () => {
  const setOf = (...jwks: ClientJwk[]): JsonWebKeySet => ({ keys: jwks });
  /** A server that knows nothing but key sets at addresses: the first answer, and the one that was fetched anew. */
  function serverWith(...sets: JsonWebKeySet[]) {
    const asked: boolean[] = [];
    const remoteKeys = {
      async fetch(_uri: string, anew: boolean) {
        asked.push(anew);
        return sets[anew ? 1 : 0] ?? setOf();
      },
    };
    return { server: { remoteKeys } as unknown as AuthorizationServer, asked };
  }
  const BY_ADDRESS = clientOf({ jwks_uri: 'https://app.example/jwks' });

  it('by kid, out of several', async () => {
    const [one, two] = [await clientKey('ES256', 'one'), await clientKey('ES256', 'two')];
    const client = clientOf({ jwks: setOf(one.jwk, two.jwk) });
    const { server, asked } = serverWith();
    expect(await verifyJwtOf(client, await two.sign(CLAIMS), RULES, server)).toEqual(CLAIMS);
    for (const header of [{ kid: 'one' }, { kid: 'three' }, { kid: '__proto__' }, { kid: undefined }])
      await refusal(verifyJwtOf(client, await two.sign(CLAIMS, header as { kid: string }), RULES, server));
    // Nor is one of them taken because it happens to fit.
    const unnamed = { kid: undefined } as unknown as { kid: string };
    for (const key of [one, two]) await refusal(verifyJwtOf(client, await key.sign(CLAIMS, unnamed), RULES, server));
    expect(asked).toEqual([]);
  });

  it('without kid only when there is one that fits (OpenID Connect Core §10.1)', async () => {
    const { jwk, sign } = await clientKey('ES256', 'one');
    const client = clientOf({ jwks: setOf(jwk, keyOf('RS256').jwk, { ...keyOf('ES256').jwk, use: 'enc' }) });
    const jwt = await sign(CLAIMS, { kid: undefined } as unknown as { kid: string });
    expect(await verifyJwtOf(client, jwt, RULES, serverWith().server)).toEqual(CLAIMS);
  });

  it('none, for a client without keys', async () => {
    const jwt = await keyOf('ES256').sign(CLAIMS);
    await refusal(verifyJwtOf(clientOf(), jwt, RULES, serverWith().server));
  });

  it('from jwks_uri, fetched anew once when it is not there', async () => {
    const { jwk, sign } = keyOf('ES256');
    const first = serverWith(setOf(jwk));
    expect(await verifyJwtOf(BY_ADDRESS, await sign(CLAIMS), RULES, first.server)).toEqual(CLAIMS);
    expect(first.asked).toEqual([false]);
    const changed = serverWith(setOf(), setOf(jwk));
    expect(await verifyJwtOf(BY_ADDRESS, await sign(CLAIMS), RULES, changed.server)).toEqual(CLAIMS);
    expect(changed.asked).toEqual([false, true]);
    const gone = serverWith(setOf(), setOf());
    await refusal(verifyJwtOf(BY_ADDRESS, await sign(CLAIMS), RULES, gone.server));
    expect(gone.asked).toEqual([false, true]);
  });

  describe('to encrypt to', () => {
    const pairOf = async (
      alg: string,
      kid: string,
      more: Record<string, unknown> = {},
      options: GenerateKeyPairOptions = {},
    ) => {
      const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true, ...options });
      return { jwk: { ...(await exportJWK(publicKey)), kid, ...more } as ClientJwk, privateKey };
    };

    it.each(encryptionAlgs.flatMap((alg) => encryptionEncs.map((enc) => [alg, enc])))(
      '%s with %s opens for the client only, compressed never',
      async (alg, enc) => {
        const { jwk, privateKey } = await pairOf(alg, 'enc', { use: 'enc', alg });
        const client = clientOf({ jwks: setOf(keyOf('ES256').jwk, keyOf('RS256').jwk, jwk) });
        const jwt = await keyOf('ES256').sign(CLAIMS);
        const jwe = await encryptForClient(jwt, client, { alg, enc }, serverWith().server);
        const { plaintext, protectedHeader } = await compactDecrypt(jwe, privateKey);
        expect(Buffer.from(plaintext).toString()).toBe(jwt);
        expect(protectedHeader).toMatchObject({ alg, enc, kid: 'enc', cty: 'JWT' });
        expect(protectedHeader).not.toHaveProperty('zip');
      },
    );

    it('JSON is not announced as a JWT (RFC 7519 §5.2)', async () => {
      const { jwk, privateKey } = await pairOf('ECDH-ES', 'enc');
      const jwe = await encryptForClient(
        '{"sub":"ü"}',
        clientOf({ jwks: setOf(jwk) }),
        { alg: 'ECDH-ES', enc: 'A256GCM' },
        serverWith().server,
      );
      expect(Buffer.from((await compactDecrypt(jwe, privateKey)).plaintext).toString()).toBe('{"sub":"ü"}');
      expect(decodeProtectedHeader(jwe)).not.toHaveProperty('cty');
    });

    it.each(['P-256', 'P-384', 'P-521'])('may be on the curve %s', async (crv) => {
      const { jwk, privateKey } = await pairOf('ECDH-ES+A256KW', 'enc', {}, { crv });
      const jwe = await encryptForClient(
        '{}',
        clientOf({ jwks: setOf(jwk) }),
        { alg: 'ECDH-ES+A256KW', enc: 'A128GCM' },
        serverWith().server,
      );
      expect((await compactDecrypt(jwe, privateKey)).plaintext.length).toBe(2);
    });

    it('one that says so before one that says nothing, and none that is for signing', async () => {
      const any = await pairOf('ECDH-ES', 'any');
      const enc = await pairOf('ECDH-ES', 'enc', { use: 'enc' });
      const sig = await pairOf('ECDH-ES', 'sig', { use: 'sig' });
      const kidFor = async (...all: ClientJwk[]) =>
        decodeProtectedHeader(
          await encryptForClient(
            '{}',
            clientOf({ jwks: setOf(...all) }),
            { alg: 'ECDH-ES', enc: 'A256GCM' },
            serverWith().server,
          ),
        ).kid;
      expect(await kidFor(sig.jwk, any.jwk, enc.jwk)).toBe('enc');
      expect(await kidFor(sig.jwk, any.jwk)).toBe('any');
      await expect(kidFor(sig.jwk)).rejects.toThrow(OAuthError);
    });

    it.each([
      ['RSA1_5', 'A256GCM'],
      ['dir', 'A256GCM'],
      ['RSA-OAEP', 'A256GCM'],
      ['PBES2-HS256+A128KW', 'A256GCM'],
      ['ECDH-ES', 'A128CBC'],
      ['ECDH-ES', 'constructor'],
    ])('nothing is encrypted with %s and %s', async (alg, enc) => {
      const { jwk } = await pairOf('ECDH-ES', 'enc');
      const rsa = await pairOf('RSA-OAEP', 'rsa');
      const client = clientOf({ jwks: setOf(jwk, rsa.jwk) });
      const refused = encryptForClient('{}', client, { alg, enc }, serverWith().server);
      await expect(refused).rejects.toMatchObject({
        code: 'invalid_request',
        cause: { message: expect.stringContaining(client.id) },
      });
    });

    it('is looked for anew where the client publishes its keys', async () => {
      const { jwk, privateKey } = await pairOf('ECDH-ES', 'enc');
      const { server, asked } = serverWith(setOf(keyOf('ES256').jwk), setOf(jwk));
      const jwe = await encryptForClient('{}', BY_ADDRESS, { alg: 'ECDH-ES', enc: 'A256GCM' }, server);
      expect((await compactDecrypt(jwe, privateKey)).plaintext.length).toBe(2);
      expect(asked).toEqual([false, true]);
    });

    it('a request object encrypted to somebody is none we read', async () => {
      const key = await importJWK((await pairOf('ECDH-ES', 'enc')).jwk, 'ECDH-ES');
      const jwe = await new CompactEncrypt(Buffer.from('{}'))
        .setProtectedHeader({ alg: 'ECDH-ES', enc: 'A256GCM' })
        .encrypt(key);
      expect((await refusal(verify(jwe))).message).toBe('it is not a signed JWT');
    });
  });
});

describe('the times of a JWT', () => {
  const NOW = new Date('2026-03-01T12:00:00Z');
  const at = (seconds: number) => NOW.getTime() / 1000 + seconds;
  const check = (claims: Record<string, unknown>) => () => checkTimes(claims, NOW, { longest: 3600 });

  it.each<[string, Record<string, unknown>]>([
    ['none', {}],
    ['an hour', { nbf: at(0), exp: at(3600) }],
    ['a clock that is 10 seconds ahead', { iat: at(10), nbf: at(10), exp: at(3610) }],
    ['just not over', { exp: at(0.5) }],
    ['begun an hour ago', { iat: at(-3599), exp: at(0.5) }],
  ])('are good: %s', (_what, claims) => expect(check(claims)).not.toThrow());

  it.each<[string, Record<string, unknown>, RegExp]>([
    ['over', { exp: at(-1) }, /expired/],
    ['over this very moment', { exp: at(0) }, /expired/],
    ['nbf a minute ahead', { nbf: at(60) }, /not good yet/],
    ['nbf 31 seconds ahead', { nbf: at(31) }, /not good yet/],
    ['iat a minute ahead', { iat: at(60) }, /not good yet/],
    ['nbf 61 minutes ago', { nbf: at(-3660), exp: at(10) }, /too old/],
    ['iat 61 minutes ago', { iat: at(-3660) }, /too old/],
    ['good for a year', { exp: at(31_536_000) }, /too long/],
    ['good for 61 minutes', { nbf: at(0), exp: at(3660) }, /too long/],
    ['exp as text', { exp: String(at(60)) }, /exp is not a number/],
    ['nbf null', { nbf: null }, /nbf is not a number/],
  ])('are not: %s', (_what, claims, why) => expect(check(claims)).toThrow(why));
});

describe('keys in client metadata (RFC 7591 §2)', () => {
  const rules = rulesOfEverything();
  const BASE = { redirect_uris: ['https://app.example/callback'] };
  const register = (more: Record<string, unknown>) => checkClientMetadata({ ...BASE, ...more }, rules);

  it('are kept as they were sent', () => {
    const jwks = { keys: [keyOf('ES256').jwk, keyOf('RS256').jwk] };
    expect(register({ jwks }).metadata.jwks).toEqual(jwks);
    expect(register({ jwks_uri: 'https://app.example/jwks' }).metadata.jwks_uri).toBe('https://app.example/jwks');
  });

  it.each<[string, () => Record<string, unknown>, RegExp]>([
    [
      'both',
      () => ({ jwks: { keys: [keyOf('ES256').jwk] }, jwks_uri: 'https://app.example/jwks' }),
      /^jwks: and jwks_uri exclude/,
    ],
    ['no key', () => ({ jwks: { keys: [] } }), /^jwks: holds no key/],
    ['no set', () => ({ jwks: keyOf('ES256').jwk }), /^jwks: must be a JWK Set/],
    ['51 keys', () => ({ jwks: { keys: Array.from({ length: 51 }, () => keyOf('ES256').jwk) } }), /^jwks.keys/],
    [
      'a private key',
      () => ({ jwks: { keys: [keyOf('ES256').jwk, { ...keyOf('RS256').jwk, d: 'AA' }] } }),
      /^jwks.keys.1: holds a private/,
    ],
    ['a secret', () => ({ jwks: { keys: [{ kty: 'oct', k: 'AAAA' }] } }), /^jwks.keys.0: holds a private/],
    [
      'one kid twice',
      () => ({ jwks: { keys: [keyOf('ES256').jwk, { ...keyOf('RS256').jwk, kid: 'key-ES256' }] } }),
      /two keys/,
    ],
    ['an address without TLS', () => ({ jwks_uri: 'http://app.example/jwks' }), /^jwks_uri: must be an https/],
    ['an address that is a script', () => ({ jwks_uri: 'javascript:alert(1)' }), /^jwks_uri/],
    ['an address with a password', () => ({ jwks_uri: 'https://a:b@app.example/jwks' }), /^jwks_uri/],
    ['request_object_signing_alg without keys', () => ({ request_object_signing_alg: 'ES256' }), /needs jwks/],
    [
      'request_object_signing_alg none',
      () => ({ request_object_signing_alg: 'none', jwks_uri: 'https://app.example/jwks' }),
      /^request_object_signing_alg/,
    ],
    [
      'request_object_signing_alg HS256',
      () => ({ request_object_signing_alg: 'HS256', jwks_uri: 'https://app.example/jwks' }),
      /^request_object_signing_alg/,
    ],
  ])('are refused: %s', (_what, more, why) => {
    expect(() => register(more())).toThrow(why);
    expect(() => register(more())).toThrow(OAuthError);
  });
});

describe('what a client may sign with', () => {
  it.each([
    ['what it registered', 'ES256', oauth21, ['ES256']],
    ['by either of its names', 'Ed25519', fapi2Security, ['Ed25519']],
    ['any of the profile, where it registered none', undefined, fapi2Security, clientSigningAlgs(fapi2Security)],
    ['nothing, where the profile came to forbid what it registered', 'RS256', fapi2Security, []],
  ])('%s', (_title, registered, profile, algs) => {
    expect(algsOf(registered, profile)).toEqual(algs);
  });
});
