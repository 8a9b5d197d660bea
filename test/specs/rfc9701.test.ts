/** JWT responses of introspection: RFC 9701. One test for each demand on a server. */
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encryptionKey } from '../support/encryption-key.ts';
import {
  claimsOf,
  type FapiClient,
  type FapiTokens,
  type FapiWorld,
  sendAs,
  startFapiWorld,
  tokensFor,
  userinfoAs,
} from '../support/fapi-world.ts';

const SIGNED = 'application/token-introspection+jwt';

describe('RFC 9701', () => {
  let world: FapiWorld;
  let tokens: FapiTokens;
  beforeAll(async () => {
    world = await startFapiWorld();
    tokens = await tokensFor(world, world.app, { fields: { scope: 'photos.read' } });
  });
  afterAll(() => world.close());

  const ask = (token: string, accept: string | undefined = SIGNED, client: FapiClient = world.photosApi) =>
    sendAs(world, client, '/token_info', { token }, { headers: accept === '' ? {} : { accept } });

  it('§4: it is asked for by Accept, in any case and among others', async () => {
    for (const accept of [SIGNED, SIGNED.toUpperCase(), `application/json;q=0.5, ${SIGNED}`])
      expect((await ask(tokens.access_token, accept)).headers.get('content-type')).toContain(SIGNED);
    for (const accept of ['', 'application/json', '*/*', 'application/jwt'])
      expect((await ask(tokens.access_token, accept)).headers.get('content-type')).toContain('application/json');
  });

  it('§4, §5: only who authenticates is answered', async () => {
    const stranger = { ...world.photosApi, key: world.evil.key };
    expect((await ask(tokens.access_token, SIGNED, stranger)).status).toBe(401);
  });

  it('§5, FAPI 2.0 MS §5.5.1-1: it is a signed JWT of its own type, with its own media type, by a key that is published', async () => {
    const { status, text, headers } = await ask(tokens.access_token);
    expect([status, headers.get('content-type')?.split(';')[0]]).toEqual([200, SIGNED]);
    const keys = (await (await fetch(`${world.issuer}/jwks`)).json()) as JSONWebKeySet;
    const { protectedHeader } = await jwtVerify(text, createLocalJWKSet(keys), {
      issuer: world.issuer,
      audience: 'photos-api',
      typ: 'token-introspection+jwt',
    });
    expect(protectedHeader).toEqual({ alg: 'PS256', typ: 'token-introspection+jwt', kid: expect.any(String) });
  });

  it('§5: its claims are iss, aud, iat and token_introspection, and the answer is in the last', async () => {
    const { text } = await ask(tokens.access_token);
    const claims = claimsOf(text);
    expect(Object.keys(claims).sort()).toEqual(['aud', 'iat', 'iss', 'token_introspection']);
    expect(claims.token_introspection).toEqual((await ask(tokens.access_token, '')).json);
    expect(Math.abs(Number(claims.iat) - Date.now() / 1000)).toBeLessThan(60);
  });

  it('§5: of a token that is not active it says just that', async () => {
    for (const token of ['unknown', tokens.access_token.slice(0, -1)])
      expect(claimsOf((await ask(token)).text).token_introspection).toEqual({ active: false });
  });

  it('§5: a token that is not for the caller is not active for it', async () => {
    const { text } = await ask(tokens.access_token, SIGNED, world.evil);
    expect(claimsOf(text)).toMatchObject({ aud: 'evil', token_introspection: { active: false } });
  });

  it('§6: a client registers the algorithm, of the server’s', async () => {
    for (const alg of ['PS256', 'ES256', 'EdDSA']) {
      const client = await world.fapiClient(`api-${alg.toLowerCase()}`, { introspection_signed_response_alg: alg });
      expect(claimsOf((await ask('x', '', client)).text, 0).alg).toBe(alg);
    }
    for (const alg of ['none', 'HS256', 'RS256'])
      await expect(world.fapiClient('api-wrong', { introspection_signed_response_alg: alg })).rejects.toThrow(
        'introspection_signed_response_alg',
      );
  });

  it('§6: a client registers encryption: signed first, and A128CBC-HS256 where it names no method', async () => {
    const key = await encryptionKey('RSA-OAEP-256');
    const client = await world.fapiClient(
      'api-sealed',
      { jwks: { keys: [world.app.key.jwk, ...key.jwks.keys] }, introspection_encrypted_response_alg: 'RSA-OAEP-256' },
      world.app.key,
    );
    const { text, header } = await key.open((await ask('x', SIGNED, client)).text, 'A128CBC-HS256');
    expect([header.cty, claimsOf(text).aud]).toEqual(['JWT', 'api-sealed']);
    const lone = { introspection_encrypted_response_enc: 'A256GCM' };
    await expect(world.fapiClient('api-lone', lone)).rejects.toThrow('introspection_encrypted_response_enc');
  });

  it('§7: the metadata says what can be had', async () => {
    const metadata = await (await fetch(`${world.issuer}/.well-known/oauth-authorization-server`)).json();
    expect(metadata).toMatchObject({
      introspection_signing_alg_values_supported: ['PS256', 'ES256', 'EdDSA'],
      introspection_encryption_alg_values_supported: ['RSA-OAEP-256', 'ECDH-ES', 'ECDH-ES+A256KW'],
      introspection_encryption_enc_values_supported: ['A128CBC-HS256', 'A256GCM', 'A128GCM'],
    });
  });

  it('§8.1: it passes for no access token', async () => {
    const { text } = await ask(tokens.access_token);
    expect(claimsOf(text)).not.toHaveProperty('sub');
    expect(claimsOf(text)).not.toHaveProperty('exp');
    expect((await userinfoAs(world, text, world.app.proof)).status).toBe(401);
    expect((await ask(text, '')).json).toEqual({ active: false });
  });
});
