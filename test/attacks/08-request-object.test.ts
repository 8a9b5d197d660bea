/**
 * The attacker changes, forges or replays a request object, or puts something beside it, while the victim's browser is signed in
 * and has consented: whatever is good gets a code at once. Stopped by: the algorithm is on a list before a key is looked for, the
 * key is one the client registered, and nothing counts that was not signed (RFC 9101 §10, RFC 8725).
 */
import { createHash, createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { CompactEncrypt, type JWK } from 'jose';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { rotateKeys } from '../../src/features/key-rotation/index.ts';
import { postgresKeys } from '../../src/features/key-rotation/keys.pg.ts';
import { KeyEncryption } from '../../src/protocol/key-encryption.ts';
import { auditOf, tally } from '../support/attack-aftermath.ts';
import { expectErrorPage } from '../support/attack-pages.ts';
import { decide, post, responseOf, signIn, TestBrowser } from '../support/browser.ts';
import { clientKey, rawJws } from '../support/client-key.ts';
import { encryptionKey, encryptTo, underHeader } from '../support/encrypted-objects.ts';
import { SIGNER_REDIRECT, type SigningWorld, sendObject, startSigningWorld } from '../support/request-objects.ts';
import { TEST_KEY_ENCRYPTION_KEY } from '../support/template.ts';
import { introspect, WEB_REDIRECT } from '../support/world.ts';

describe('a request object', () => {
  let world: SigningWorld;
  let victim: TestBrowser;
  /** Somebody else came to hold it, and it was dropped. */
  let oldKey: JWK;
  beforeAll(async () => {
    world = await startSigningWorld();
    oldKey = await encryptionKey(world.issuer, 'ECDH-ES');
    const keys = postgresKeys(world.running.database.sql);
    await keys.alone(async (locked) => {
      await locked.remove(String(oldKey.kid));
      return true;
    });
    const encryption = new KeyEncryption([TEST_KEY_ENCRYPTION_KEY], randomBytes);
    await rotateKeys(keys, ['ECDH-ES'], encryption, world.clock.now());
    await vi.waitFor(async () => expect((await encryptionKey(world.issuer, 'ECDH-ES')).kid).not.toBe(oldKey.kid), {
      timeout: 5000,
    });
    victim = new TestBrowser(world);
    const login = await victim.visit((await sendObject(victim, await signed())).location ?? '');
    await decide(victim, await signIn(victim, login));
  });
  afterAll(() => world.close());

  const signed = (changes: Record<string, unknown> = {}, header: Record<string, unknown> = {}) =>
    world.key.sign(world.claims(changes), header);
  const now = () => world.clock.now().getTime() / 1000;
  const BESIDE = { redirect_uri: SIGNER_REDIRECT, state: 'beside' };

  it('that is good gets a code at once: the others are refused for what is wrong with them', async () => {
    const answer = responseOf(await sendObject(victim, await signed(), BESIDE));
    expect([answer.get('state'), (await world.redeemed(answer.get('code') ?? '')).status]).toEqual(['inside', 200]);
  });

  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const byOwnKey = (header: object, claims: object) => {
    const input = rawJws(header, claims).slice(0, -1);
    const signature = sign('sha256', Buffer.from(input), { key: own.privateKey, dsaEncoding: 'ieee-p1363' });
    return `${input}.${signature.toString('base64url')}`;
  };
  const UNSIGNED = 'request_not_supported';
  const INVALID = 'invalid_request_object';

  const objects: [string, string, () => string | Promise<string>][] = [
    ['unsigned', UNSIGNED, () => rawJws({ alg: 'none' }, world.claims())],
    ['unsigned, with the type', UNSIGNED, () => rawJws({ alg: 'none', typ: 'oauth-authz-req+jwt' }, world.claims())],
    ['unsigned, in another case', INVALID, () => rawJws({ alg: 'nOnE' }, world.claims())],
    ['signed for ES256 and stripped', INVALID, async () => `${(await signed()).split('.').slice(0, 2).join('.')}.`],
    ['without a signature part', INVALID, async () => (await signed()).split('.').slice(0, 2).join('.')],
    ['that is plain JSON', INVALID, () => JSON.stringify(world.claims())],
    [
      'with HS256 and the public key',
      INVALID,
      () => {
        const input = rawJws({ alg: 'HS256', kid: 'signer-key' }, world.claims()).slice(0, -1);
        const secret = JSON.stringify(world.key.jwk);
        return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
      },
    ],
    [
      'with HS256 and the client secret',
      INVALID,
      () => {
        const input = rawJws({ alg: 'HS256' }, world.claims()).slice(0, -1);
        return `${input}.${createHmac('sha256', world.signer.secret).update(input).digest('base64url')}`;
      },
    ],
    ['by a key of nobody', INVALID, () => byOwnKey({ alg: 'ES256' }, world.claims())],
    [
      'by another key under the right kid',
      INVALID,
      () => byOwnKey({ alg: 'ES256', kid: 'signer-key' }, world.claims()),
    ],
    [
      'with an embedded key',
      INVALID,
      () => byOwnKey({ alg: 'ES256', jwk: own.publicKey.export({ format: 'jwk' }) }, world.claims()),
    ],
    ['with the address of a key', INVALID, () => signed({}, { jku: 'https://evil.example/jwks' })],
    ['with the address of a certificate', INVALID, () => signed({}, { x5u: 'https://evil.example/cert' })],
    ['with critical extensions', INVALID, () => signed({}, { crit: ['x'], x: 1 })],
    [
      'with a payload that is not encoded',
      INVALID,
      () => rawJws({ alg: 'ES256', b64: false, crit: ['b64'] }, world.claims(), 'AAAA'),
    ],
    [
      'that was changed',
      INVALID,
      async () => {
        const [header, , signature] = (await signed()).split('.');
        return `${header}.${Buffer.from(JSON.stringify(world.claims({ scope: 'openid storage.read' }))).toString('base64url')}.${signature}`;
      },
    ],
    ['of another client', INVALID, async () => (await clientKey()).sign(world.claims({ iss: 'web' }))],
    ['for another server', INVALID, () => signed({ aud: 'https://other.example' })],
    ['for our token endpoint', INVALID, () => signed({ aud: `${world.issuer}/token` })],
    ['for several others', INVALID, () => signed({ aud: ['https://a.example', 'https://b.example'] })],
    ['for nobody', INVALID, () => signed({ aud: [] })],
    ['of another issuer', INVALID, () => signed({ iss: 'web' })],
    ['with the server as its issuer', INVALID, () => signed({ iss: world.issuer })],
    ['that is over', INVALID, () => signed({ exp: now() - 1 })],
    ['that is good for a year', INVALID, () => signed({ exp: now() + 31_536_000 })],
    ['older than 60 minutes', INVALID, () => signed({ nbf: now() - 3660, exp: now() + 60 })],
    ['that is good for ever', INVALID, () => signed({ exp: undefined })],
    ['that is good for ever, and begins somewhere', INVALID, () => signed({ exp: undefined, iat: now() })],
    ['made more than 60 minutes ago', INVALID, () => signed({ nbf: undefined, iat: now() - 3660 })],
    ['of the future', INVALID, () => signed({ nbf: now() + 90 })],
    ['whose times are texts', INVALID, () => signed({ exp: `${now() + 60}` })],
    ['with another client_id inside', INVALID, () => signed({ client_id: 'web' })],
    ['with a list of clients inside', INVALID, () => signed({ client_id: ['signer', 'web'] })],
    ['with an object inside', INVALID, async () => signed({ request: await signed() })],
    ['with the address of an object inside', INVALID, () => signed({ request_uri: 'https://evil.example/' })],
    ['that could be a client assertion', INVALID, () => signed({ sub: 'signer' })],
    ['with the type of a client assertion', INVALID, () => signed({}, { typ: 'client-authentication+jwt' })],
    ['with the type of an access token', INVALID, () => signed({}, { typ: 'at+jwt' })],
    [
      'encrypted to a key of nobody',
      INVALID,
      async () => encryptTo({ ...own.publicKey.export({ format: 'jwk' }), alg: 'ECDH-ES' }, await signed()),
    ],
    [
      'encrypted to a key of nobody under our kid',
      INVALID,
      async () => {
        const { kid } = await encryptionKey(world.issuer, 'ECDH-ES');
        return encryptTo({ ...own.publicKey.export({ format: 'jwk' }), alg: 'ECDH-ES', kid }, await signed());
      },
    ],
    ['encrypted to an old key', INVALID, async () => encryptTo(oldKey, await signed())],
    [
      'encrypted, and signed by nobody',
      INVALID,
      async () => encryptTo(await encryptionKey(world.issuer, 'ECDH-ES'), JSON.stringify(world.claims())),
    ],
    [
      'encrypted, and unsigned inside',
      INVALID,
      async () => encryptTo(await encryptionKey(world.issuer, 'ECDH-ES'), rawJws({ alg: 'none' }, world.claims())),
    ],
    [
      'encrypted with a password of a billion rounds',
      INVALID,
      async () =>
        underHeader(await encryptTo(await encryptionKey(world.issuer, 'ECDH-ES'), await signed()), {
          alg: 'PBES2-HS256+A128KW',
          p2s: 'c2FsdHNhbHQ',
          p2c: 1e9,
        }),
    ],
    [
      'encrypted with the client secret',
      INVALID,
      async () => {
        const secret = createHash('sha256').update(world.signer.secret).digest();
        const header = { alg: 'dir', enc: 'A256GCM' };
        return new CompactEncrypt(Buffer.from(await signed())).setProtectedHeader(header).encrypt(secret);
      },
    ],
    [
      'encrypted, and packed: a million letters in a few',
      INVALID,
      async () =>
        encryptTo(await encryptionKey(world.issuer, 'ECDH-ES'), await signed({ padding: 'x'.repeat(1_000_000) }), {
          zip: 'DEF',
        }),
    ],
    ['packed', INVALID, () => rawJws({ alg: 'ES256', zip: 'DEF' }, 'x'.repeat(5000), 'AAAA')],
    ['with NUL in a value', INVALID, () => signed({ nonce: 'a\0b' })],
    ['with half a character in a value', INVALID, () => signed({ nonce: '\uD83D' })],
    [
      'with a list where a text is',
      INVALID,
      () => signed({ redirect_uri: [SIGNER_REDIRECT, 'https://evil.example/'] }),
    ],
    ['with a structure where a text is', INVALID, () => signed({ scope: { toString: 'openid' } })],
    ['with a list of structures', INVALID, () => signed({ resource: [{ a: 1 }] })],
    ['with true for a text', INVALID, () => signed({ prompt: true })],
    ['of 40 kilobytes', INVALID, () => signed({ padding: 'x'.repeat(30_000) })],
  ];

  it.each(objects)('%s: %s, told at the proven address, and no code', async (_what, error, make) => {
    const request = await make();
    const before = await tally(world);
    // Posted, so that the longest fit.
    const visit = await victim.send('POST', '/authorize', { client_id: 'signer', ...BESIDE, request });
    const { error_description = '', ...rest } = Object.fromEntries(responseOf(visit));
    expect(rest).toEqual({ error, state: 'beside', iss: world.issuer });
    expect(error_description).toMatch(/^[\x20-\x21\x23-\x5B\x5D-\x7E]+$/);
    // And shown where there is no address beside it: what is inside proves nothing.
    expectErrorPage(await victim.send('POST', '/authorize', { client_id: 'signer', request }), 400, error);
    expect(await tally(world)).toEqual(before);
  });

  it('with prototype keys inside is read like any other, and changes nothing of ours', async () => {
    const text = JSON.stringify(world.claims({ claims: { id_token: { name: null } } })).replace(
      /\}$/,
      ',"__proto__":{"scope":"admin"},"constructor":{"prototype":{"polluted":true}}}',
    );
    const answer = responseOf(
      await sendObject(
        victim,
        await world.key.sign(text.replace('"name":null', '"__proto__":{"essential":true}')),
        BESIDE,
      ),
    );
    expect(answer.get('state')).toBe('inside');
    expect({}).not.toHaveProperty('polluted');
    expect({}).not.toHaveProperty('scope');
  });

  it.each<[string, Record<string, string>]>([
    ['a return address of another client', { redirect_uri: WEB_REDIRECT }],
    ['a foreign return address', { redirect_uri: 'https://evil.example/' }],
    ['another return address of the client', { redirect_uri: `${SIGNER_REDIRECT}/other` }],
    ['more scope', { scope: 'openid photos.read storage.read profile' }],
    ['a nonce', { nonce: 'injected' }],
    ['another state', { state: 'injected' }],
    ['another challenge', { code_challenge: 'A'.repeat(43), code_challenge_method: 'S256' }],
    ['another response mode', { response_mode: 'form_post' }],
    ['a prompt', { prompt: 'none' }],
    ['a resource', { resource: 'https://storage.example' }],
  ])('is not overridden by %s beside it', async (_what, outer) => {
    const visit = await sendObject(victim, await signed(), outer);
    expect(visit.location?.startsWith(`${SIGNER_REDIRECT}?`)).toBe(true);
    const answer = responseOf(visit);
    expect(answer.get('state')).toBe('inside');
    const { json } = await world.redeemed(answer.get('code') ?? '');
    expect(json.scope).toBe('openid photos.read');
    expect(Buffer.from(String(json.id_token).split('.')[1] ?? '', 'base64url').toString()).not.toContain('injected');
  });

  it('given twice, or with another client beside it, leaves open whom to answer', async () => {
    const request = await signed();
    const twice = await victim.send('GET', `/authorize?client_id=signer&request=${request}&request=${request}`);
    expectErrorPage(twice, 400, 'invalid_request');
    expectErrorPage(await sendObject(victim, request, { client_id: 'web' }), 400, 'invalid_request_object');
    expectErrorPage(await sendObject(victim, request, { client_id: 'nobody' }), 400, 'invalid_request');
  });

  it('is no token, no assertion and no hint (negative test 12)', async () => {
    const request = await signed({ sub: world.alice, scope: 'openid' }, { typ: 'at+jwt' });
    const userinfo = await fetch(`${world.issuer}/userinfo`, { headers: { authorization: `Bearer ${request}` } });
    expect(userinfo.status).toBe(401);
    expect(await introspect(world, request)).toEqual({ active: false });
    const hinted = await sendObject(
      victim,
      await signed({ id_token_hint: await signed({ sub: world.alice, at_hash: 'x' }) }),
    );
    expect(responseOf(hinted).get('error')).toBe('invalid_request');
    const refreshed = await post(
      `${world.issuer}/token`,
      { grant_type: 'refresh_token', refresh_token: request },
      { basic: world.signer },
    );
    expect(refreshed.status).toBe(400);
  });

  it('that is refused is one event in the audit trail', async () => {
    for (const outer of [BESIDE, {}]) {
      const trail = await auditOf(world, 'invalid_request_object', async () =>
        sendObject(victim, await signed({ iss: 'web' }), outer),
      );
      expect(trail.map(({ event, client_id, times }) => [event, client_id, times])).toEqual([
        ['invalid_request_object', 'signer', 1],
      ]);
    }
  });
});
