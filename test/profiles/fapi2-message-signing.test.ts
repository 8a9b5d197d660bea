/**
 * The profile `fapi2-message-signing`: FAPI 2.0 Message Signing, Final. All of the Security Profile, and each client signs its
 * requests, has its responses signed, or its introspection: by its metadata, at least one of them.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectErrorPage } from '../support/attack-pages.ts';
import { authorizePath, pkce, responseOf, TestBrowser } from '../support/browser.ts';
import { pushedPath } from '../support/dpop-world.ts';
import {
  claimsOf,
  type FapiClient,
  type FapiWorld,
  goThrough,
  pushAs,
  seconds,
  sendAs,
  startFapiWorld,
} from '../support/fapi-world.ts';

const PARTS: [string, Record<string, unknown>][] = [
  ['signed requests', { require_signed_request_object: true }],
  ['signed responses', { response_modes: ['jwt'] }],
  ['signed introspection', { introspection_signed_response_alg: 'PS256' }],
];

describe.each([
  ['a server under fapi2-message-signing', 'fapi2-message-signing', {}],
  [
    'a client with that profile of a server under fapi2-security',
    'fapi2-security',
    { profile: 'fapi2-message-signing' },
  ],
  ['a client with that profile of a server under oauth21', 'oauth21', { profile: 'fapi2-message-signing' }],
])('%s', (_what, serverProfile, extra) => {
  let world: FapiWorld;
  beforeAll(async () => {
    // Those of the cast have to choose a part as well.
    world = await startFapiWorld(serverProfile, {}, { ...extra, introspection_signed_response_alg: 'PS256' });
  });
  afterAll(() => world.close());

  const register = (id: string, metadata: Record<string, unknown>) =>
    world.fapiClient(id, { ...extra, introspection_signed_response_alg: undefined, ...metadata });

  it('MS §5.3.1, §5.4.1, §5.5.1: registers no client without any of the parts', async () => {
    for (const metadata of [
      {},
      { require_signed_request_object: false },
      { response_modes: ['query'] },
      { response_modes: ['jwt', 'query'] },
    ]) {
      const refused = register('unsigned', metadata);
      await expect(refused).rejects.toThrow(/require_signed_request_object.*response_modes.*introspection_signed/);
      await expect(refused).rejects.toThrow(/FAPI 2\.0 MS 5\.3\.1/);
    }
  });

  it.each(PARTS)('registers one with %s alone', async (what, metadata) => {
    const id = what.replace(' ', '-');
    expect((await register(id, metadata)).id).toBe(id);
  });

  it('registers none that contradicts the Security Profile', async () => {
    const signed = { require_signed_request_object: true };
    await expect(register('pkce', { ...signed, require_pkce: false })).rejects.toThrow(/5\.3\.2\.2-5/);
    const secret = { ...signed, token_endpoint_auth_method: 'client_secret_basic', jwks: undefined };
    await expect(register('secret', secret)).rejects.toThrow(/token_endpoint_auth_method/);
  });

  describe('signed requests', () => {
    let client: FapiClient;
    beforeAll(async () => {
      client = await register('signs-requests', { require_signed_request_object: true });
    });

    const object = (changes: Record<string, unknown> = {}, header: Record<string, unknown> = {}) => {
      const now = seconds(world);
      const claims: Record<string, unknown> = {
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
      };
      const given = Object.entries(claims).filter(([, value]) => value !== undefined);
      return client.key.sign(Object.fromEntries(given), header);
    };
    const push = async (request: string) => sendAs(world, client, '/par', { request });

    it('are demanded', async () => {
      const { status, json } = await pushAs(world, client);
      expect([status, json.error]).toEqual([400, 'invalid_request']);
      expect((await push(await object())).status).toBe(201);
    });

    it('MS §5.3.1: say from when until when they are good, and for whom', async () => {
      const now = seconds(world);
      expect((await push(await object({ nbf: now + 8, aud: [world.issuer, 'https://other.example'] }))).status).toBe(
        201,
      );
      for (const changes of [
        { exp: undefined },
        { nbf: undefined },
        { aud: undefined },
        { aud: 'https://other.example' },
        { exp: now - 1 },
        { exp: now + 4200 },
        { nbf: now - 4200 },
      ]) {
        const { status, json } = await push(await object(changes));
        expect([changes, status, json.error]).toEqual([changes, 400, 'invalid_request_object']);
      }
    });

    it('MS §5.3.1-5: are taken with typ oauth-authz-req+jwt, and as nothing else', async () => {
      for (const typ of ['oauth-authz-req+jwt', 'OAuth-Authz-Req+JWT', 'application/oauth-authz-req+jwt'])
        expect([typ, (await push(await object({}, { typ }))).status]).toEqual([typ, 201]);
      for (const typ of ['client-authentication+jwt', 'dpop+jwt', 'at+jwt']) {
        const { status, json } = await push(await object({}, { typ }));
        expect([typ, status, json.error]).toEqual([typ, 400, 'invalid_request_object']);
      }
    });

    it('are pushed, too', async () => {
      const outer = { client_id: client.id, request: await object(), response_type: undefined, state: undefined };
      const page = await new TestBrowser(world).visit(authorizePath({ ...outer, code_challenge_method: undefined }));
      expectErrorPage(page, 400, 'invalid_request');
    });
  });

  it('MS §5.4.1-1: signed responses are demanded and given', async () => {
    const client = await register('signed-answers', { response_modes: ['jwt'] });
    expect((await pushAs(world, client, { response_mode: 'query' })).json.error).toBe('invalid_request');
    const { uri } = await pushAs(world, client, { response_mode: 'jwt' });
    const page = await goThrough(new TestBrowser(world), pushedPath(uri, client.id));
    const response = responseOf(page).get('response') ?? '';
    expect([claimsOf(response, 0).alg, claimsOf(response).aud]).toEqual(['PS256', client.id]);
  });

  it('MS §5.5.1-1: signed introspection is given, asked for or not', async () => {
    const client = await register('asks-signed', { introspection_signed_response_alg: 'PS256' });
    const { text } = await sendAs(world, client, '/token_info', { token: 'x' });
    expect([claimsOf(text, 0).typ, claimsOf(text).aud]).toEqual(['token-introspection+jwt', client.id]);
  });
});
