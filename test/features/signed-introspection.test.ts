/** Signed introspection, RFC 9701: for APIs that want to prove later what they were told. Read by a client of others. */
import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encryptionKey } from '../support/encryption-key.ts';
import {
  claimsOf,
  type FapiTokens,
  type FapiWorld,
  PHOTOS,
  sendAs,
  startFapiWorld,
  tokensFor,
} from '../support/fapi-world.ts';

const SIGNED = 'application/token-introspection+jwt';

describe('signed introspection', () => {
  let world: FapiWorld;
  let tokens: FapiTokens;
  beforeAll(async () => {
    world = await startFapiWorld();
    tokens = await tokensFor(world, world.app, { fields: { scope: 'photos.read' } });
  });
  afterAll(() => world.close());

  const ask = (client: Parameters<typeof sendAs>[1], token: string, accept?: string) =>
    sendAs(world, client, '/token_info', { token }, { headers: accept === undefined ? {} : { accept } });

  it('an API (oauth4webapi) asks for it and checks it', async () => {
    const as = {
      issuer: world.issuer,
      jwks_uri: `${world.issuer}/jwks`,
      introspection_endpoint: `${world.issuer}/token_info`,
    };
    const client = { client_id: 'photos-api', introspection_signed_response_alg: 'PS256' };
    const auth = oauth.PrivateKeyJwt({ key: world.photosApi.key.privateKey, kid: 'photos-api-key' });
    const insecure = { [oauth.allowInsecureRequests]: true };
    for (const [token, active] of [
      [tokens.access_token, true],
      ['unknown', false],
    ] as const) {
      const options = { ...insecure, requestJwtResponse: true };
      const response = await oauth.introspectionRequest(as, client, auth, token, options);
      expect(await oauth.processIntrospectionResponse(as, client, response)).toMatchObject({ active });
      await oauth.validateApplicationLevelSignature(as, response, insecure);
    }
  });

  it('says the same as the plain answer', async () => {
    const plain = await ask(world.photosApi, tokens.access_token);
    const signed = await ask(world.photosApi, tokens.access_token, SIGNED);
    expect(plain.headers.get('content-type')).toMatch(/^application\/json/);
    expect(signed.headers.get('content-type')).toMatch(new RegExp(`^${SIGNED.replace('+', '\\+')}`));
    expect(claimsOf(signed.text).token_introspection).toEqual(plain.json);
    expect(plain.json).toMatchObject({ active: true, aud: PHOTOS, scope: 'photos.read' });
  });

  it('is for whom it is told, and tells others nothing, signed', async () => {
    const { text } = await ask(world.evil, tokens.access_token, SIGNED);
    expect(claimsOf(text)).toEqual({
      iss: world.issuer,
      aud: 'evil',
      iat: expect.any(Number),
      token_introspection: { active: false },
    });
  });

  it('comes without being asked for to an API that registered it', async () => {
    const client = await world.fapiClient('proving', { introspection_signed_response_alg: 'ES256' });
    for (const accept of [undefined, 'application/json', SIGNED]) {
      const { text, headers } = await ask(client, tokens.access_token, accept);
      expect(headers.get('content-type')).toContain(SIGNED);
      expect(claimsOf(text, 0)).toMatchObject({ alg: 'ES256', typ: 'token-introspection+jwt' });
    }
  });

  it.each([
    ['RSA-OAEP-256', 'A256GCM'],
    ['ECDH-ES', 'A128CBC-HS256'],
  ])('is encrypted with %s and %s for an API that registered it', async (alg, enc) => {
    const key = await encryptionKey(alg);
    const id = `sealed-${alg.toLowerCase()}`;
    const client = await world.fapiClient(
      id,
      {
        jwks: { keys: [world.app.key.jwk, ...key.jwks.keys] },
        introspection_signed_response_alg: 'PS256',
        introspection_encrypted_response_alg: alg,
        introspection_encrypted_response_enc: enc,
      },
      world.app.key,
    );
    const { text, header } = await key.open((await ask(client, 'unknown')).text, enc);
    expect([header.cty, claimsOf(text).aud]).toEqual(['JWT', id]);
  });

  it('is no answer to who does not authenticate', async () => {
    const stranger = { id: 'photos-api', key: world.evil.key };
    const { status, json } = await ask(stranger, tokens.access_token, SIGNED);
    expect([status, json.error]).toEqual([401, 'invalid_client']);
  });
});
