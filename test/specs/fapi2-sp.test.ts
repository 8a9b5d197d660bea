/** FAPI 2.0 Security Profile (Final): the clauses that no module of the certification plans plays. */
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { post } from '../support/browser.ts';
import { clientKey } from '../support/client-key.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let metadata: Record<string, unknown>;
let keyed: Record<string, unknown>;
beforeAll(async () => {
  server = await startTestServer({ env: { GATEHOUSE_PROFILE: 'fapi2-security' } });
  const answer = await fetch(`${server.issuer}/.well-known/openid-configuration`);
  metadata = (await answer.json()) as typeof metadata;
  keyed = {
    redirect_uris: ['https://app.example/callback'],
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [(await clientKey()).jwk] },
  };
});
afterAll(() => server.close());

it('§5.3.2.1-1: one document at the addresses of OpenID Connect Discovery and RFC 8414', async () => {
  const other = await fetch(`${server.issuer}/.well-known/oauth-authorization-server`);
  expect(await other.json()).toEqual(metadata);
  expect(metadata.issuer).toBe(server.issuer);
});

it('§5.3.2.1-2: the password grant is neither announced nor registered', async () => {
  expect(metadata.grant_types_supported).toContain('authorization_code');
  expect(metadata.grant_types_supported).not.toContain('password');
  const grantTypes = { grant_types: ['authorization_code', 'password'] };
  await expect(server.client({ ...keyed, ...grantTypes })).rejects.toThrow(/^grant_types: /);
});

describe('§5.3.2.1-3, §5.3.2.1-6: a client without a key or certificate cannot be registered', () => {
  it.each(['none', 'client_secret_basic', 'client_secret_post', 'client_secret_jwt'])('%s', async (method) => {
    expect(metadata.token_endpoint_auth_methods_supported).not.toContain(method);
    await expect(server.client({ ...keyed, token_endpoint_auth_method: method })).rejects.toThrow(
      /^token_endpoint_auth_method: /,
    );
  });
});

it('§5.3.2.2-1: code is the one response type', async () => {
  expect(metadata.response_types_supported).toEqual(['code']);
  for (const type of ['code id_token', 'token', 'id_token'])
    await expect(server.client({ ...keyed, response_types: ['code', type] })).rejects.toThrow(/^response_types: /);
});

it('§5.3.2.2-4: a request that is pushed without authentication is refused', async () => {
  const { id } = await server.client(keyed);
  const fields = { client_id: id, response_type: 'code', redirect_uri: 'https://app.example/callback' };
  const { status, json } = await post(`${server.issuer}/par`, fields);
  expect([status, json.error]).toEqual([401, 'invalid_client']);
});

describe('§5.3.2.2-8: responses go to http on loopback, and for native clients, only', () => {
  const register = (uri: string, type: string) =>
    server.client({ ...keyed, redirect_uris: [uri], application_type: type });

  it.each(['http://app.example/callback', 'http://127.0.0.2/callback'])('%s is nobody’s', async (uri) => {
    for (const type of ['web', 'native']) await expect(register(uri, type)).rejects.toThrow(/^redirect_uris: /);
  });

  it('http://127.0.0.1/callback is for native clients', async () => {
    await expect(register('http://127.0.0.1/callback', 'web')).rejects.toThrow(/^redirect_uris: .*5\.3\.2\.2-8/);
    await expect(register('http://127.0.0.1/callback', 'native')).resolves.toBeDefined();
  });
});

it('§5.2.3-3: the authorization endpoint tells no other origin that its scripts may read it', async () => {
  const origin = { origin: 'https://app.example' };
  const preflight = { ...origin, 'access-control-request-method': 'GET' };
  for (const [method, headers] of [
    ['OPTIONS', preflight],
    ['GET', origin],
  ] as const) {
    const answer = await fetch(`${server.issuer}/authorize`, { method, headers });
    expect([...answer.headers.keys()].filter((name) => name.startsWith('access-control-'))).toEqual([]);
  }
});

it('§5.4.1-2: RSA keys, ours and those of clients, have 2048 bits', async () => {
  const { keys } = (await (await fetch(`${server.issuer}/jwks`)).json()) as { keys: { kty: string; n?: string }[] };
  const moduli = keys.flatMap(({ n }) => (n === undefined ? [] : [Buffer.from(n, 'base64url').length * 8]));
  expect(moduli.length).toBeGreaterThan(0);
  for (const bits of moduli) expect(bits).toBeGreaterThanOrEqual(2048);
  const short = { kty: 'RSA', alg: 'PS256', kid: 'short', e: 'AQAB', n: Buffer.alloc(128, 0xa5).toString('base64url') };
  await expect(server.client({ ...keyed, jwks: { keys: [short] } })).rejects.toThrow(/^jwks\.keys\.0: /);
});

it('§5.4.1-3: keys on short elliptic curves cannot be registered', async () => {
  const point = Buffer.alloc(24, 7).toString('base64url');
  const short = { kty: 'EC', crv: 'P-192', kid: 'short', x: point, y: point };
  await expect(server.client({ ...keyed, jwks: { keys: [short] } })).rejects.toThrow(/^jwks\.keys\.0: /);
});

it('§5.4.2-1: keys come over TLS', async () => {
  const { jwks: _inline, ...bare } = keyed;
  await expect(server.client({ ...bare, jwks_uri: 'http://app.example/jwks' })).rejects.toThrow(/^jwks_uri: .*https/);
});

it('§5.4.2-3: two keys with one kid cannot be registered', async () => {
  const [one, two] = [await clientKey('ES256', 'same'), await clientKey('ES256', 'same')];
  await expect(server.client({ ...keyed, jwks: { keys: [one.jwk, two.jwk] } })).rejects.toThrow(/^jwks: .*one kid/);
});

it('takes the registrations that docs/fapi.md shows', async () => {
  const page = await readFile(new URL('../../docs/fapi.md', import.meta.url), 'utf8');
  const [key, certificate, signing] = [...page.matchAll(/```json\n([\s\S]*?)```/g)].map(([, json = '']) =>
    JSON.parse(json),
  );
  for (const client of [key, certificate])
    await expect(server.client(client)).resolves.toMatchObject({ id: client.client_id });
  const stricter = { ...key, ...signing, client_id: 'signing', profile: 'fapi2-message-signing' };
  await expect(server.client(stricter)).resolves.toMatchObject({ id: 'signing' });
  const unsigned = { ...key, client_id: 'unsigned', profile: 'fapi2-message-signing' };
  await expect(server.client(unsigned)).rejects.toThrow(/FAPI 2\.0 MS 5\.3\.1/);
});
