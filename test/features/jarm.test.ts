/** JARM: signed and encrypted authorization responses in each of their modes, errors included, read by a client of others. */
import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectErrorPage } from '../support/attack-pages.ts';
import { formsOf, TestBrowser, type Visit } from '../support/browser.ts';
import { pushedPath } from '../support/dpop-world.ts';
import { encryptionKey } from '../support/encryption-key.ts';
import {
  claimsOf,
  type FapiClient,
  type FapiWorld,
  goThrough,
  pushAs,
  redeemAs,
  startFapiWorld,
} from '../support/fapi-world.ts';

/** Where the one parameter is, by the mode that was asked for. */
const MODES: Record<string, (page: Visit) => URLSearchParams> = {
  jwt: (page) => new URL(page.location ?? '').searchParams,
  'query.jwt': (page) => new URL(page.location ?? '').searchParams,
  'fragment.jwt': (page) => new URLSearchParams(new URL(page.location ?? '').hash.slice(1)),
  'form_post.jwt': (page) => new URLSearchParams(formsOf(page)[0]?.fields),
};

describe('JARM', () => {
  let world: FapiWorld;
  beforeAll(async () => {
    world = await startFapiWorld('oauth21');
  });
  afterAll(() => world.close());

  const answerTo = async (
    client: FapiClient,
    response_mode: string | undefined,
    decision: 'allow' | 'deny' = 'allow',
  ) => {
    const { uri, verifier } = await pushAs(world, client, { response_mode, prompt: 'consent' });
    const page = await goThrough(new TestBrowser(world), pushedPath(uri, client.id), undefined, decision);
    return { page, verifier };
  };
  const read = (client: FapiClient, parameters: URLSearchParams, alg = 'RS256') =>
    oauth.validateJwtAuthResponse(
      { issuer: world.issuer, jwks_uri: `${world.issuer}/jwks` },
      { client_id: client.id, authorization_signed_response_alg: alg },
      parameters,
      'af0ifjsldkj',
      { [oauth.allowInsecureRequests]: true },
    );

  describe.each(Object.entries(MODES))('%s', (mode, parametersOf) => {
    it('carries the code, and a client (oauth4webapi) reads it', async () => {
      const { page, verifier } = await answerTo(world.app, mode);
      const parameters = parametersOf(page);
      expect([...parameters.keys()]).toEqual(['response']);
      const answer = await read(world.app, parameters);
      const code = answer.get('code') ?? '';
      expect((await redeemAs(world, world.app, { code, verifier })).status).toBe(200);
    });

    it('carries errors just as well', async () => {
      const { page } = await answerTo(world.app, mode, 'deny');
      const parameters = parametersOf(page);
      expect([...parameters.keys()]).toEqual(['response']);
      await expect(read(world.app, parameters)).rejects.toMatchObject({ error: 'access_denied' });
      expect(claimsOf(parameters.get('response') ?? '')).toEqual({
        error: 'access_denied',
        error_description: expect.any(String),
        state: 'af0ifjsldkj',
        iss: world.issuer,
        aud: 'app',
        exp: expect.any(Number),
      });
    });
  });

  it.each(['ES256', 'PS256', 'RS256', 'EdDSA'])('is signed with %s where the client registered it', async (alg) => {
    const client = await world.fapiClient(`signed-${alg.toLowerCase()}`, { authorization_signed_response_alg: alg });
    const { page } = await answerTo(client, 'jwt');
    const parameters = MODES.jwt?.(page) ?? new URLSearchParams();
    expect(claimsOf(parameters.get('response') ?? '', 0)).toMatchObject({ alg, kid: expect.any(String) });
    expect((await read(client, parameters, alg)).has('code')).toBe(true);
  });

  it.each([
    ['RSA-OAEP-256', 'A256GCM'],
    ['ECDH-ES', undefined],
    ['ECDH-ES+A256KW', 'A128GCM'],
  ])('is encrypted with %s and %s for a client that registered it, errors too', async (alg, enc) => {
    const key = await encryptionKey(alg);
    const client = await world.fapiClient(
      `sealed-${alg.toLowerCase().replace('+', '-')}`,
      {
        jwks: { keys: [world.app.key.jwk, ...key.jwks.keys] },
        authorization_encrypted_response_alg: alg,
        ...(enc !== undefined && { authorization_encrypted_response_enc: enc }),
      },
      world.app.key,
    );
    for (const decision of ['allow', 'deny'] as const) {
      const { page } = await answerTo(client, 'jwt', decision);
      const response = MODES.jwt?.(page).get('response') ?? '';
      const { text, header } = await key.open(response, enc ?? 'A128CBC-HS256');
      expect(header.cty).toBe('JWT');
      const inner = read(client, new URLSearchParams({ response: text }));
      if (decision === 'allow') expect((await inner).has('code')).toBe(true);
      else await expect(inner).rejects.toMatchObject({ error: 'access_denied' });
    }
  });

  it('is all a client gets that registered it: other modes are refused at the push and on a page', async () => {
    const client = await world.fapiClient('jwt-only', { response_modes: ['jwt'] });
    for (const mode of [undefined, 'query', 'form_post', 'query.jwt', 'pigeon']) {
      const { status, json } = await pushAs(world, client, { response_mode: mode });
      expect([mode, status, json.error]).toEqual([mode, 400, 'invalid_request']);
      const asked = { client_id: client.id, response_type: 'code', redirect_uri: client.redirectUri, scope: 'openid' };
      const plain = new URLSearchParams({ ...asked, ...(mode !== undefined && { response_mode: mode }) });
      expectErrorPage(await new TestBrowser(world).visit(`/authorize?${plain}`), 400, 'invalid_request');
    }
    const { page } = await answerTo(client, 'jwt');
    expect((await read(client, MODES.jwt?.(page) ?? new URLSearchParams())).has('code')).toBe(true);
  });

  it('is announced', async () => {
    const metadata = await (await fetch(`${world.issuer}/.well-known/openid-configuration`)).json();
    expect(metadata).toMatchObject({
      response_modes_supported: expect.arrayContaining(Object.keys(MODES)),
      authorization_signing_alg_values_supported: ['ES256', 'RS256', 'PS256', 'EdDSA'],
      authorization_encryption_alg_values_supported: ['RSA-OAEP-256', 'ECDH-ES', 'ECDH-ES+A256KW'],
      authorization_encryption_enc_values_supported: ['A128CBC-HS256', 'A256GCM', 'A128GCM'],
    });
  });

  it('is not to be had with keys or algorithms that do not fit', async () => {
    for (const metadata of [
      { authorization_signed_response_alg: 'none' },
      { authorization_signed_response_alg: 'HS256' },
      { authorization_encrypted_response_enc: 'A256GCM' },
      { authorization_encrypted_response_alg: 'RSA1_5' },
      { authorization_encrypted_response_alg: 'RSA-OAEP-256' },
    ])
      await expect(world.fapiClient('misfit', metadata)).rejects.toThrow(Object.keys(metadata)[0] ?? '');
  });
});
