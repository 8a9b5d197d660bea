/** JWT-Secured Authorization Request: RFC 9101, by value, signed and encrypted. Not offered: objects by reference (§5.2). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { errorCodeOf } from '../support/attack-pages.ts';
import { decide, responseOf, signIn, TestBrowser } from '../support/browser.ts';
import { clientKey, rawJws } from '../support/client-key.ts';
import { encryptionKey, encryptTo, underHeader } from '../support/encrypted-objects.ts';
import { SIGNER_REDIRECT, type SigningWorld, sendObject, startSigningWorld } from '../support/request-objects.ts';

describe('RFC 9101', () => {
  let world: SigningWorld;
  /** Signed in and consented: what is good is answered at once. */
  let browser: TestBrowser;
  beforeAll(async () => {
    world = await startSigningWorld();
    browser = new TestBrowser(world);
    const login = await browser.visit((await sendObject(browser, await signed())).location ?? '');
    await decide(browser, await signIn(browser, login));
  });
  afterAll(() => world.close());

  const signed = (changes: Record<string, unknown> = {}, header: Record<string, unknown> = {}) =>
    world.key.sign(world.claims(changes), header);
  const BESIDE = { redirect_uri: SIGNER_REDIRECT, state: 'beside' };
  /** The answer to a request object, told at the address beside it where it is not good. */
  const answer = async (request: string, outer: Record<string, string | undefined> = BESIDE) =>
    Object.fromEntries(responseOf(await sendObject(browser, request, outer)));
  const GOOD = { code: expect.stringMatching(/^gate_ac_/), state: 'inside' };
  const BAD = { error: 'invalid_request_object', state: 'beside' };

  it('§4: the object holds all parameters of the request; nothing but client_id has to be beside it', async () => {
    expect(await answer(await signed(), {})).toMatchObject(GOOD);
  });

  it.each(['request', 'request_uri'])('§4: %s must not be in the object', async (name) => {
    expect(await answer(await signed({ [name]: await signed() }))).toMatchObject(BAD);
    expect(await answer(await signed({ [name]: '' }))).toMatchObject(BAD);
  });

  it('§4: numbers are JSON numbers, strings JSON strings', async () => {
    expect(await answer(await signed({ max_age: 3600 }))).toMatchObject(GOOD);
    for (const changes of [{ state: 5 }, { scope: ['openid'] }, { nonce: null }, { redirect_uri: [SIGNER_REDIRECT] }])
      expect(await answer(await signed(changes))).toMatchObject(BAD);
  });

  it('§4: iss and aud SHOULD be there', async () => {
    expect(await answer(await signed({ iss: undefined, aud: undefined }))).toMatchObject(GOOD);
  });

  it('§4: iss is the client', async () => {
    for (const iss of ['web', world.issuer, ['signer'], null])
      expect(await answer(await signed({ iss }))).toMatchObject(BAD);
  });

  it('§4: aud is the issuer, or has it among others', async () => {
    for (const aud of [[world.issuer], ['https://other.example', world.issuer]])
      expect(await answer(await signed({ aud }))).toMatchObject(GOOD);
    const wrong = [
      'https://other.example',
      `${world.issuer}/`,
      `${world.issuer}/authorize`,
      [],
      null,
      { [world.issuer]: 1 },
    ];
    for (const aud of wrong) expect(await answer(await signed({ aud }))).toMatchObject(BAD);
  });

  it('§4, RFC 7519 §4.1.4 and §4.1.5: exp is there and held to, nbf where it is there', async () => {
    const now = world.clock.now().getTime() / 1000;
    for (const changes of [{ exp: now - 1 }, { nbf: now + 60 }, { exp: '9999999999' }, { exp: undefined }])
      expect(await answer(await signed(changes))).toMatchObject(BAD);
    expect(await answer(await signed({ nbf: undefined }))).toMatchObject(GOOD);
  });

  it('§4: the object is signed by the client, not by somebody with a key of the same name', async () => {
    const stranger = await clientKey('ES256', 'signer-key');
    expect(await answer(await stranger.sign(world.claims()))).toMatchObject(BAD);
    expect(await answer(await signed())).toMatchObject(GOOD);
  });

  it('§5: request and request_uri are not used together', async () => {
    const both = await answer(await signed(), { ...BESIDE, request_uri: 'https://signer.example/request' });
    expect(both).toMatchObject({ error: 'invalid_request', state: 'beside' });
  });

  it('§5: client_id is required beside the object', async () => {
    const visit = await sendObject(browser, await signed(), { ...BESIDE, client_id: undefined });
    expect([visit.status, visit.location, errorCodeOf(visit.body)]).toEqual([400, undefined, 'invalid_request']);
  });

  it('§5: client_id in the object is the one beside it', async () => {
    expect(await answer(await signed({ client_id: 'web' }))).toMatchObject(BAD);
    // OpenID Connect Core §6.1 lets it stand outside alone.
    expect(await answer(await signed({ client_id: undefined }))).toMatchObject(GOOD);
  });

  it('§5: parameters may stand beside the object too, and do not count', async () => {
    const outer = {
      ...BESIDE,
      response_type: 'code',
      scope: 'nothing',
      nonce: 'n',
      response_mode: 'form_post',
      prompt: 'login',
    };
    expect(await answer(await signed(), outer)).toMatchObject(GOOD);
  });

  it('OpenID Connect Core §6.1: response_type beside the object is the one in it', async () => {
    expect(await answer(await signed(), { ...BESIDE, response_type: 'token' })).toMatchObject(BAD);
  });

  describe('§6.1: an encrypted object', () => {
    const encrypted = async (text: string, alg = 'ECDH-ES', header: Parameters<typeof encryptTo>[2] = {}) =>
      encryptTo(await encryptionKey(world.issuer, alg), text, header);

    it.each(['RSA-OAEP-256', 'ECDH-ES'])('is decrypted with a key of ours: %s', async (alg) => {
      expect(await answer(await encrypted(await signed(), alg))).toMatchObject(GOOD);
    });

    it('is signed, then encrypted: one without a signature in it is refused (§4, §10.2)', async () => {
      for (const text of [JSON.stringify(world.claims()), rawJws({ alg: 'none' }, world.claims())])
        expect(await answer(await encrypted(text))).toMatchObject(BAD);
    });

    it('is validated like a signed one when it was decrypted (§6.2, §6.3)', async () => {
      const stranger = await clientKey('ES256', 'signer-key');
      expect(await answer(await encrypted(await stranger.sign(world.claims())))).toMatchObject(BAD);
      expect(await answer(await encrypted(await signed({ client_id: 'web' })))).toMatchObject(BAD);
      expect(await answer(await encrypted(await signed({ scope: 'nothing' })))).toMatchObject({
        error: 'invalid_scope',
        state: 'inside',
      });
    });

    it('that cannot be decrypted is invalid_request_object', async () => {
      const request = await encrypted(await signed());
      const [head, ...rest] = request.split('.').reverse();
      const spoilt = [`${head?.startsWith('A') ? 'B' : 'A'}${head?.slice(1)}`, ...rest].reverse().join('.');
      const foreign = await clientKey('ECDH-ES', 'foreign', { crv: 'P-256' });
      const { kid } = await encryptionKey(world.issuer, 'ECDH-ES');
      for (const wrong of [
        spoilt,
        await encryptTo(foreign.jwk, await signed()),
        await encryptTo({ ...foreign.jwk, kid }, await signed()),
        underHeader(request, { alg: 'dir' }),
        underHeader(request, { alg: 'RSA1_5' }),
      ])
        expect(await answer(wrong)).toMatchObject(BAD);
    });

    it('§9.2, §10.2: the metadata says with what it may be encrypted, and the JWKS has a key for each', async () => {
      const address = `${world.issuer}/.well-known/openid-configuration`;
      const metadata = (await (await fetch(address)).json()) as Record<string, string[]>;
      const list = (what: string) => metadata[`request_object_encryption_${what}_values_supported`] ?? [];
      expect([list('alg').length, list('enc').length]).toEqual([2, 3]);
      for (const alg of list('alg'))
        for (const enc of list('enc'))
          expect(await answer(await encrypted(await signed(), alg, { enc }))).toMatchObject(GOOD);
    });
  });

  it('§6.2: a signature that is not good, or by an algorithm that is not for the key, is invalid_request_object', async () => {
    const [header, payload] = (await signed()).split('.');
    expect(await answer(`${header}.${payload}.${'A'.repeat(86)}`)).toMatchObject(BAD);
    expect(await answer(rawJws({ alg: 'RS256', kid: 'signer-key' }, world.claims(), 'AAAA'))).toMatchObject(BAD);
    expect(await answer(rawJws({ alg: 'HS256', kid: 'signer-key' }, world.claims(), 'AAAA'))).toMatchObject(BAD);
  });

  it('§6.3: only the parameters in the object are used, though the same ones stand beside it', async () => {
    const visit = await sendObject(browser, await signed(), {
      redirect_uri: `${SIGNER_REDIRECT}/other`,
      state: 'beside',
    });
    expect(visit.location?.startsWith(`${SIGNER_REDIRECT}?`)).toBe(true);
    expect(responseOf(visit).get('state')).toBe('inside');
    const none = await sendObject(browser, await signed({ redirect_uri: undefined }), BESIDE);
    expect([none.status, none.location]).toEqual([400, undefined]);
  });

  it('§6.3: the request in the object is validated like any other, its errors sent where it says', async () => {
    expect(await answer(await signed({ scope: 'nothing' }))).toMatchObject({ error: 'invalid_scope', state: 'inside' });
    expect(await answer(await signed({ response_type: undefined }))).toMatchObject({
      error: 'invalid_request',
      state: 'inside',
    });
  });

  it('§7: request_uri is not supported: request_uri_not_supported', async () => {
    const visit = await sendObject(browser, '', { ...BESIDE, request_uri: 'https://signer.example/request' });
    expect(Object.fromEntries(responseOf(visit))).toMatchObject({
      error: 'request_uri_not_supported',
      state: 'beside',
    });
  });

  it('§7, OpenID Connect Core §3.1.2.6: an unsigned object is request_not_supported', async () => {
    const expected = { error: 'request_not_supported', state: 'beside' };
    expect(await answer(rawJws({ alg: 'none' }, world.claims()))).toMatchObject(expected);
  });

  it('§10.8: an object whose sub is the client could be taken for a client assertion', async () => {
    expect(await answer(await signed({ sub: 'signer' }))).toMatchObject(BAD);
    expect(await answer(await signed({ sub: 'somebody' }))).toMatchObject(GOOD);
  });

  it('§10.5: a client that registered require_signed_request_object sends nothing else', async () => {
    const strict = await world.client({
      client_id: 'strict',
      redirect_uris: [SIGNER_REDIRECT],
      scope: 'openid photos.read',
      jwks: { keys: [world.key.jwk] },
      require_signed_request_object: true,
    });
    const { iss: _iss, aud: _aud, nbf: _nbf, exp: _exp, ...parameters } = world.claims({ client_id: strict.id });
    const plain = await browser.send('GET', `/authorize?${new URLSearchParams(parameters as Record<string, string>)}`);
    expect(responseOf(plain).get('error')).toBe('invalid_request');
    const object = await signed({ iss: strict.id, client_id: strict.id });
    expect((await sendObject(browser, object, { client_id: strict.id })).location).toMatch(/^\/consent/);
  });

  it.each(['oauth-authz-req+jwt', 'OAUTH-AUTHZ-REQ+JWT', 'application/oauth-authz-req+jwt', 'JWT', undefined])(
    '§10.8: of type %s it may be a request object',
    async (typ) => expect(await answer(await signed({}, typ === undefined ? {} : { typ }))).toMatchObject(GOOD),
  );

  it.each(['client-authentication+jwt', 'at+jwt', 'logout+jwt', 'dpop+jwt', ''])(
    '§10.8: of type %j it is something else',
    async (typ) => expect(await answer(await signed({}, { typ }))).toMatchObject(BAD),
  );

  it('§9.2, RFC 8414 §2: the metadata says that it is supported, and with which algorithms', async () => {
    const metadata = await (await fetch(`${world.issuer}/.well-known/oauth-authorization-server`)).json();
    expect(metadata).toMatchObject({
      request_parameter_supported: true,
      request_uri_parameter_supported: false,
      request_object_signing_alg_values_supported: expect.arrayContaining(['RS256', 'ES256', 'PS256']),
    });
  });
});
