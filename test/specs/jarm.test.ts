/** JWT Secured Authorization Response Mode for OAuth 2.0 (JARM), and FAPI 2.0 Message Signing §5.4. One test for each demand. */
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formsOf, responseOf, TestBrowser } from '../support/browser.ts';
import { pushedPath } from '../support/dpop-world.ts';
import { encryptionKey } from '../support/encryption-key.ts';
import {
  claimsOf,
  type FapiClient,
  type FapiWorld,
  goThrough,
  pushAs,
  seconds,
  startFapiWorld,
} from '../support/fapi-world.ts';

describe('JARM', () => {
  let world: FapiWorld;
  beforeAll(async () => {
    world = await startFapiWorld();
  });
  afterAll(() => world.close());

  const pageFor = async (
    fields: Record<string, string | undefined>,
    client: FapiClient = world.app,
    decision: 'allow' | 'deny' = 'allow',
  ) => {
    const { uri } = await pushAs(world, client, { response_mode: 'jwt', prompt: 'consent', ...fields });
    return goThrough(new TestBrowser(world), pushedPath(uri, client.id), undefined, decision);
  };
  const answerFor = async (...asked: Parameters<typeof pageFor>) =>
    responseOf(await pageFor(...asked)).get('response') ?? '';

  it('§2.1: iss is the server, aud the client, exp within ten minutes', async () => {
    const claims = claimsOf(await answerFor({}));
    expect(claims).toMatchObject({ iss: world.issuer, aud: 'app' });
    expect(Number(claims.exp)).toBeGreaterThan(seconds(world) + 10);
    expect(Number(claims.exp)).toBeLessThanOrEqual(seconds(world) + 600);
  });

  it('§2.1.1: of a code response it has code and state, and state only where it was sent', async () => {
    const all = claimsOf(await answerFor({}));
    expect(Object.keys(all).sort()).toEqual(['aud', 'code', 'exp', 'iss', 'state']);
    expect(all.state).toBe('af0ifjsldkj');
    expect(claimsOf(await answerFor({ state: undefined }))).not.toHaveProperty('state');
  });

  it('§2.1: of an error response it has error, its description and state', async () => {
    const claims = claimsOf(await answerFor({}, world.app, 'deny'));
    expect(Object.keys(claims).sort()).toEqual(['aud', 'error', 'error_description', 'exp', 'iss', 'state']);
    expect(claims.error).toBe('access_denied');
    expect(claimsOf(await answerFor({ prompt: 'none' })).error).toBe('login_required');
  });

  it('§2.2: it is signed with a key that is published', async () => {
    const keys = (await (await fetch(`${world.issuer}/jwks`)).json()) as JSONWebKeySet;
    const { protectedHeader } = await jwtVerify(await answerFor({}), createLocalJWKSet(keys), { audience: 'app' });
    expect(protectedHeader).toMatchObject({ alg: 'PS256', kid: expect.any(String) });
  });

  it('§2.2: where the client registered encryption, it is signed and then encrypted', async () => {
    const key = await encryptionKey('ECDH-ES');
    const client = await world.fapiClient(
      'sealed',
      { jwks: { keys: [world.app.key.jwk, ...key.jwks.keys] }, authorization_encrypted_response_alg: 'ECDH-ES' },
      world.app.key,
    );
    const { text, header } = await key.open(await answerFor({}, client), 'A128CBC-HS256');
    expect([header.cty, claimsOf(text).aud]).toEqual(['JWT', 'sealed']);
  });

  it('§2.3: the response is one parameter and nothing beside it', async () => {
    expect([...responseOf(await pageFor({})).keys()]).toEqual(['response']);
  });

  it('§2.3.1: query.jwt is in the query', async () => {
    const page = await pageFor({ response_mode: 'query.jwt' });
    expect(page.location).toMatch(/^https:\/\/app\.example\/callback\?response=[\w-]+\.[\w-]+\.[\w-]+$/);
  });

  it('§2.3.2: fragment.jwt is in the fragment, and no mode of FAPI’s', async () => {
    const { status, json } = await pushAs(world, world.app, { response_mode: 'fragment.jwt' });
    expect([status, json.error]).toEqual([400, 'invalid_request']);
  });

  it('§2.3.3: form_post.jwt is posted', async () => {
    const page = await pageFor({ response_mode: 'form_post.jwt' });
    const [form] = formsOf(page);
    expect([form?.action, Object.keys(form?.fields ?? {})]).toEqual([world.app.redirectUri, ['response']]);
    expect(page.headers.get('cache-control')).toContain('no-store');
  });

  it('§2.3.4: jwt is query.jwt for a code', async () => {
    expect((await pageFor({})).location).toMatch(/\?response=/);
  });

  it('§3: a client registers the algorithm, and none is none of them', async () => {
    for (const alg of ['PS256', 'ES256', 'EdDSA']) {
      const client = await world.fapiClient(`alg-${alg.toLowerCase()}`, { authorization_signed_response_alg: alg });
      expect(claimsOf(await answerFor({}, client), 0).alg).toBe(alg);
    }
    for (const alg of ['none', 'HS256', 'RS256'])
      await expect(world.fapiClient('wrong', { authorization_signed_response_alg: alg })).rejects.toThrow(
        'authorization_signed_response_alg',
      );
  });

  it('§3: enc needs alg beside it, and alg a key', async () => {
    const enc = { authorization_encrypted_response_enc: 'A256GCM' };
    await expect(world.fapiClient('lone', enc)).rejects.toThrow('authorization_encrypted_response_enc');
    const alg = { authorization_encrypted_response_alg: 'RSA-OAEP-256' };
    await expect(world.fapiClient('keyless', alg)).rejects.toThrow('authorization_encrypted_response_alg');
  });

  it('§4: the metadata says what can be had', async () => {
    const metadata = await (await fetch(`${world.issuer}/.well-known/oauth-authorization-server`)).json();
    expect(metadata).toMatchObject({
      response_modes_supported: ['query', 'jwt', 'query.jwt', 'form_post.jwt', 'form_post'],
      authorization_signing_alg_values_supported: ['PS256', 'ES256', 'EdDSA'],
      authorization_encryption_alg_values_supported: ['RSA-OAEP-256', 'ECDH-ES', 'ECDH-ES+A256KW'],
      authorization_encryption_enc_values_supported: ['A128CBC-HS256', 'A256GCM', 'A128GCM'],
    });
  });

  it('FAPI 2.0 MS §5.4.1-1: who registered it for all gets no other, errors neither', async () => {
    const client = await world.fapiClient('signed-only', { response_modes: ['jwt'] });
    expect((await pushAs(world, client, { response_mode: 'query' })).json.error).toBe('invalid_request');
    expect((await pushAs(world, client)).json.error).toBe('invalid_request');
    expect(claimsOf(await answerFor({}, client, 'deny')).error).toBe('access_denied');
  });
});
