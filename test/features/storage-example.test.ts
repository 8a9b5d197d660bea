/** The storage API of examples/photos under FAPI 2.0: it has a key instead of a secret, and what it is told is signed. */
import { exportJWK } from 'jose';
import * as client from 'openid-client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startArchiveApi } from '../../examples/photos/archive-api.ts';
import { startStorageApi } from '../../examples/photos/storage-api.ts';
import { addExchangePolicy } from '../../src/operator/exchange-policies.ts';
import { fapi2MessageSigning } from '../../src/protocol/profile.ts';
import { type ClientKey, clientKey } from '../support/client-key.ts';
import { freePort } from '../support/ports.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

let gatehouse: TestServer;
let storage: string;
let api: { close(): Promise<void> };
let batchKey: ClientKey;
beforeAll(async () => {
  gatehouse = await startTestServer({ env: { GATEHOUSE_PROFILE: 'fapi2-message-signing' } });
  const { issuer } = gatehouse;
  const port = await freePort();
  storage = `http://localhost:${port}`;
  const keyed = (id: string, key: ClientKey, more: object) =>
    gatehouse.client({
      client_id: id,
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [key.jwk] },
      introspection_signed_response_alg: 'PS256',
      ...more,
    });
  const apiKey = await clientKey('ES256');
  batchKey = await clientKey('ES256');
  await keyed('storage-api', apiKey, {
    grant_types: ['urn:ietf:params:oauth:grant-type:token-exchange'],
    dpop_bound_access_tokens: true,
    scope: '',
  });
  await keyed('batch', batchKey, { grant_types: ['client_credentials'], scope: 'storage.read' });
  await gatehouse.resource({
    resource: storage,
    name: 'Storage',
    scopes: { 'storage.read': 'Read your files' },
    access_token_format: 'opaque',
    introspection_clients: ['storage-api'],
  });
  const privateKey = { ...(await exportJWK(apiKey.privateKey)), kid: apiKey.jwk.kid, alg: 'ES256' } as const;
  const archivePort = await freePort();
  const archive = `http://localhost:${archivePort}`;
  await gatehouse.resource({
    resource: archive,
    name: 'Archive',
    scopes: { 'archive.read': 'Read what was put away' },
    access_token_format: 'jwt',
  });
  await addExchangePolicy(
    gatehouse.running.database.sql,
    {
      name: 'storage-to-archive',
      client: 'storage-api',
      source: storage,
      target: archive,
      scopes: { 'storage.read': ['archive.read'] },
    },
    { profile: fapi2MessageSigning, issuer },
    gatehouse.clock.now(),
  );
  const apis = [
    await startArchiveApi({ issuer, port: archivePort, resource: archive }),
    await startStorageApi({
      issuer,
      clientId: 'storage-api',
      privateKey,
      port,
      resource: storage,
      archiveApi: archive,
    }),
  ];
  api = { close: async () => void (await Promise.all(apis.map((each) => each.close()))) };
});
afterAll(async () => {
  await api.close();
  await gatehouse.close();
});

it('lets a bound token in with its proof, and with nothing else', async () => {
  const config = await client.discovery(
    new URL(gatehouse.issuer),
    'batch',
    undefined,
    client.PrivateKeyJwt({ key: batchKey.privateKey, kid: batchKey.jwk.kid }),
    { execute: [client.allowInsecureRequests] },
  );
  const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair());
  const { access_token } = await client.clientCredentialsGrant(config, { resource: storage }, { DPoP });
  const picture = new URL('/objects/dunes', storage);
  const ask = (url = picture) =>
    client.fetchProtectedResource(config, access_token, url, 'GET', undefined, undefined, { DPoP });
  const answer = await ask();
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'image/svg+xml']);
  // This one is in the archive, for which the storage gets a token that is bound to a key of its own.
  expect((await ask(new URL('/objects/harbour', storage))).status).toBe(200);
  const { told } = (await (await ask(new URL('/story', storage))).json()) as { told: unknown[] };
  expect(told[1]).toMatchObject({
    name: 'Archive API',
    sub: 'batch',
    actors: ['storage-api'],
    origin: { client: 'batch' },
  });
  const bare = await fetch(picture, { headers: { authorization: `Bearer ${access_token}` } });
  expect(bare.status).toBe(401);

  await client.tokenRevocation(config, access_token);
  await expect(ask()).rejects.toThrow('WWW-Authenticate');
});
