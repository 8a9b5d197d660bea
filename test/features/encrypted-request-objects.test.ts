import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encryptionEncs } from '../../src/protocol/jose-client.ts';
import { decryptionAlgs } from '../../src/protocol/jose-decryption.ts';
import { decide, pkce, post, responseOf, signIn, TestBrowser } from '../support/browser.ts';
import { rawJws } from '../support/client-key.ts';
import { pushedPath } from '../support/dpop-world.ts';
import { encryptionKey, encryptTo } from '../support/encrypted-objects.ts';
import {
  type FapiClient,
  type FapiWorld,
  goThrough,
  redeemAs,
  seconds,
  sendAs,
  startFapiWorld,
} from '../support/fapi-world.ts';
import { SIGNER_REDIRECT, type SigningWorld, sendObject, startSigningWorld } from '../support/request-objects.ts';
import type { TestServer } from '../support/server.ts';

const BESIDE = { redirect_uri: SIGNER_REDIRECT, state: 'beside' };
const CODE = expect.stringMatching(/^gate_ac_/);

describe('encrypted request objects', () => {
  let world: SigningWorld;
  let node: TestServer;
  /** Signed in and consented: what is good is answered at once. */
  let browser: TestBrowser;
  beforeAll(async () => {
    world = await startSigningWorld();
    node = await world.node();
    browser = new TestBrowser(world);
    const login = await browser.visit((await sendObject(browser, await signed())).location ?? '');
    await decide(browser, await signIn(browser, login));
  });
  afterAll(async () => {
    await node.close();
    await world.close();
  });

  const signed = (changes: Record<string, unknown> = {}, header: Record<string, unknown> = {}) =>
    world.key.sign(world.claims(changes), header);
  const encrypted = async (text: string, alg = 'ECDH-ES', header: Parameters<typeof encryptTo>[2] = {}) =>
    encryptTo(await encryptionKey(world.issuer, alg), text, header);
  /** What comes of an object; told at the address beside it where it is not good. */
  const answer = async (request: string, outer: Record<string, string> = {}) =>
    Object.fromEntries(responseOf(await sendObject(browser, request, { ...BESIDE, ...outer })));
  const pushed = (request: string, at = world.issuer, client = world.signer) =>
    post(`${at}/par`, { request }, { basic: client });

  const choices = decryptionAlgs.flatMap((alg) => encryptionEncs.map((enc) => [alg, enc] as const));

  it.each(choices)('are read, by value and pushed: %s with %s', async (alg, enc) => {
    const request = await encrypted(await signed(), alg, { enc });
    // Nothing of it is readable on the way.
    for (const part of request.split('.')) expect(Buffer.from(part, 'base64url').toString()).not.toContain('photos');
    const { code, state } = await answer(request);
    expect([code, state]).toEqual([CODE, 'inside']);
    expect(await world.redeemed(String(code))).toMatchObject({ status: 200, json: { scope: 'openid photos.read' } });
    const push = await pushed(request);
    expect(push.status).toBe(201);
    const visit = await browser.visit(pushedPath(String(push.json.request_uri), 'signer'));
    expect(responseOf(visit).get('code')).toEqual(CODE);
  });

  it('may leave out kid, typ and cty; there is one key for each algorithm', async () => {
    for (const alg of decryptionAlgs) {
      const request = await encrypted(await signed(), alg, { kid: undefined, cty: undefined });
      expect(await answer(request)).toMatchObject({ code: CODE });
    }
    const typed = await encrypted(await signed(), 'ECDH-ES', { typ: 'oauth-authz-req+jwt' });
    expect(await answer(typed)).toMatchObject({ code: CODE });
  });

  it('are read by every node, whose key it ever was', async () => {
    const request = await encryptTo(await encryptionKey(node.issuer, 'RSA-OAEP-256'), await signed());
    expect((await pushed(request)).status).toBe(201);
    const other = await encrypted(await signed({ aud: node.issuer }));
    expect((await pushed(other, node.issuer)).status).toBe(201);
  });

  it('cost no round trip more', async () => {
    const [plain, hidden] = [await signed(), await encrypted(await signed())];
    const nothing = async () => undefined;
    expect(await world.roundTripsOf(nothing, () => pushed(plain))).toBe(1);
    expect(await world.roundTripsOf(nothing, () => pushed(hidden))).toBe(1);
    const direct = await world.roundTripsOf(nothing, () => sendObject(browser, plain));
    expect(await world.roundTripsOf(nothing, () => sendObject(browser, hidden))).toBe(direct);
  });

  describe('are refused, by value and pushed,', () => {
    const objects: [string, () => Promise<string>][] = [
      ['with claims that nobody signed', () => encrypted(JSON.stringify(world.claims()))],
      ['with an unsigned object in them', () => encrypted(rawJws({ alg: 'none' }, world.claims()))],
      ['with an object whose signature was cut off', async () => encrypted((await signed()).replace(/[^.]*$/, ''))],
      [
        'with an object somebody else signed',
        async () => encrypted(rawJws({ alg: 'ES256', kid: 'signer-key' }, world.claims(), Buffer.alloc(64, 1))),
      ],
      ['with an encrypted one in them', async () => encrypted(await encrypted(await signed()))],
      ['with nothing in them', () => encrypted('')],
      ['with an object for another server', async () => encrypted(await signed({ aud: 'https://other.example' }))],
      ['with an object for another client', async () => encrypted(await signed({ client_id: 'web' }))],
      ['with an object that is over', async () => encrypted(await signed({ exp: 1 }))],
      ['with an object in the object', async () => encrypted(await signed({ request: await signed() }))],
      [
        'with the type of a client assertion on the signed one',
        async () => encrypted(await signed({}, { typ: 'client-authentication+jwt' })),
      ],
      ['packed', async () => encrypted(await signed(), 'ECDH-ES', { zip: 'DEF' })],
      ['with crit', async () => encrypted(await signed(), 'ECDH-ES', { crit: ['exp'], exp: 1 } as never)],
      ['of another type', async () => encrypted(await signed(), 'ECDH-ES', { typ: 'at+jwt' })],
      ['to a kid nobody has', async () => encrypted(await signed(), 'ECDH-ES', { kid: 'nobody' })],
      ['by RSA-OAEP with SHA-1', async () => encrypted(await signed(), 'RSA-OAEP-256', { alg: 'RSA-OAEP' })],
      ['by another form of ECDH-ES', async () => encrypted(await signed(), 'ECDH-ES', { alg: 'ECDH-ES+A256KW' })],
      ['with another size', async () => encrypted(await signed(), 'ECDH-ES', { enc: 'A256CBC-HS512' })],
      ['of 60 kilobytes', async () => encrypted(await signed({ padding: 'x'.repeat(32_000) }))],
      [
        'changed in one character',
        async () => {
          const jwe = await encrypted(await signed());
          const at = jwe.lastIndexOf('.') - 10;
          return jwe.slice(0, at) + (jwe[at] === 'A' ? 'B' : 'A') + jwe.slice(at + 1);
        },
      ],
    ];

    it.each(objects)('%s', async (_what, make) => {
      const request = await make();
      const visit = await browser.send('POST', '/authorize', { client_id: 'signer', ...BESIDE, request });
      expect(Object.fromEntries(responseOf(visit))).toMatchObject({ error: 'invalid_request_object', state: 'beside' });
      const { status, json } = await pushed(request);
      expect([status, json.error]).toEqual([400, 'invalid_request_object']);
      expect(json).not.toHaveProperty('request_uri');
    });
  });

  describe('of a client that registered how it encrypts', () => {
    const register = (id: string, metadata: Record<string, unknown>) =>
      world.client({
        client_id: id,
        redirect_uris: [SIGNER_REDIRECT],
        scope: 'openid photos.read',
        jwks: { keys: [world.key.jwk] },
        ...metadata,
      });
    const object = (id: string) => signed({ iss: id, client_id: id });
    const outcome = async (client: { id: string; secret: string }, request: string) => {
      const { status, json } = await pushed(request, world.issuer, client);
      return json.error === undefined ? status : [status, json.error];
    };
    const REFUSED = [400, 'invalid_request_object'];

    it('have to be encrypted so', async () => {
      const client = await register('exact', {
        request_object_encryption_alg: 'RSA-OAEP-256',
        request_object_encryption_enc: 'A256GCM',
      });
      const jws = await object('exact');
      expect(await outcome(client, await encrypted(jws, 'RSA-OAEP-256', { enc: 'A256GCM' }))).toBe(201);
      expect(await outcome(client, jws)).toEqual(REFUSED);
      expect(await outcome(client, await encrypted(jws, 'ECDH-ES', { enc: 'A256GCM' }))).toEqual(REFUSED);
      expect(await outcome(client, await encrypted(jws, 'RSA-OAEP-256', { enc: 'A128GCM' }))).toEqual(REFUSED);
      const { error, state } = await answer(jws, { client_id: 'exact' });
      expect([error, state]).toEqual(['invalid_request_object', 'beside']);
    });

    it('use A128CBC-HS256 where it named no content encryption (OpenID Connect Registration §2)', async () => {
      const client = await register('default', { request_object_encryption_alg: 'ECDH-ES' });
      const jws = await object('default');
      expect(await outcome(client, await encrypted(jws, 'ECDH-ES', { enc: 'A128CBC-HS256' }))).toBe(201);
      expect(await outcome(client, await encrypted(jws, 'ECDH-ES', { enc: 'A256GCM' }))).toEqual(REFUSED);
    });

    it.each<[string, Record<string, unknown>]>([
      ['request_object_encryption_alg', { request_object_encryption_alg: 'RSA1_5' }],
      ['request_object_encryption_alg', { request_object_encryption_alg: 'RSA-OAEP' }],
      ['request_object_encryption_alg', { request_object_encryption_alg: 'dir' }],
      ['request_object_encryption_alg', { request_object_encryption_alg: 'PBES2-HS256+A128KW' }],
      ['request_object_encryption_alg', { request_object_encryption_alg: 'ECDH-ES', jwks: undefined }],
      [
        'request_object_encryption_enc',
        { request_object_encryption_alg: 'ECDH-ES', request_object_encryption_enc: 'A192GCM' },
      ],
      ['request_object_encryption_enc', { request_object_encryption_enc: 'A256GCM' }],
    ])('must have registered %s rightly: not %j', async (field, metadata) => {
      await expect(register('wrong', metadata)).rejects.toThrow(new RegExp(`^${field}: `));
    });
  });
});

describe('encrypted request objects under FAPI 2.0', () => {
  let world: FapiWorld;
  let client: FapiClient;
  beforeAll(async () => {
    world = await startFapiWorld('fapi2-message-signing', {}, { require_signed_request_object: true });
    client = await world.fapiClient('hides', {
      request_object_signing_alg: 'ES256',
      request_object_encryption_alg: 'RSA-OAEP-256',
      request_object_encryption_enc: 'A256GCM',
    });
  });
  afterAll(() => world.close());

  it('are pushed, as oauth4webapi signs them, and lead to tokens', async () => {
    const { verifier, challenge } = pkce();
    const asked = {
      response_type: 'code',
      redirect_uri: client.redirectUri,
      scope: 'openid photos.read',
      code_challenge: challenge,
      code_challenge_method: 'S256',
    };
    // The library goes by the clock of this machine, which is where the server's still is.
    const jws = await oauth.issueRequestObject({ issuer: world.issuer }, { client_id: client.id }, asked, {
      key: client.key.privateKey,
      kid: client.key.jwk.kid,
    });
    const request = await encryptTo(await encryptionKey(world.issuer, 'RSA-OAEP-256'), jws);
    const { status, json } = await sendAs(world, client, '/par', { request });
    expect(status).toBe(201);
    const page = await goThrough(new TestBrowser(world), pushedPath(String(json.request_uri), client.id));
    const code = String(responseOf(page).get('code'));
    expect((await redeemAs(world, client, { code, verifier })).json).toMatchObject({ scope: 'openid photos.read' });
  });

  it('are held to all that signed ones are held to, and to being encrypted', async () => {
    const now = seconds(world);
    const claims = (changes: Record<string, unknown>) => ({
      iss: client.id,
      aud: world.issuer,
      nbf: now,
      exp: now + 300,
      client_id: client.id,
      response_type: 'code',
      redirect_uri: client.redirectUri,
      scope: 'openid',
      code_challenge: pkce().challenge,
      code_challenge_method: 'S256',
      ...changes,
    });
    const key = await encryptionKey(world.issuer, 'RSA-OAEP-256');
    const outcome = async (request: string) => {
      const { status, json } = await sendAs(world, client, '/par', { request });
      return json.error === undefined ? status : [status, json.error];
    };
    expect(await outcome(await encryptTo(key, await client.key.sign(claims({}))))).toBe(201);
    const refused = [400, 'invalid_request_object'];
    for (const changes of [{ exp: undefined }, { nbf: undefined }, { aud: undefined }, { exp: now + 4200 }])
      expect(await outcome(await encryptTo(key, await client.key.sign(claims(changes))))).toEqual(refused);
    expect(await outcome(await client.key.sign(claims({})))).toEqual(refused);
    expect(await outcome(await encryptTo(key, rawJws({ alg: 'none' }, claims({}))))).toEqual(refused);
  });

  it('are announced as they are taken', async () => {
    const metadata = await (await fetch(`${world.issuer}/.well-known/oauth-authorization-server`)).json();
    expect(metadata).toMatchObject({
      request_object_encryption_alg_values_supported: ['RSA-OAEP-256', 'ECDH-ES'],
      request_object_encryption_enc_values_supported: ['A128CBC-HS256', 'A256GCM', 'A128GCM'],
    });
  });
});
