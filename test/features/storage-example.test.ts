/** The storage API of examples/photos under FAPI 2.0: it has a key instead of a secret, and what it is told is signed. */
import { exportJWK } from 'jose';
import * as client from 'openid-client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startStorageApi } from '../../examples/photos/storage-api.ts';
import { type ClientKey, clientKey } from '../support/client-key.ts';
import { freePort, startTestServer, type TestServer } from '../support/server.ts';

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
  await keyed('storage-api', apiKey, { grant_types: [] });
  await keyed('batch', batchKey, { grant_types: ['client_credentials'], scope: 'storage.read' });
  await gatehouse.resource({
    resource: storage,
    name: 'Storage',
    scopes: { 'storage.read': 'Read your files' },
    access_token_format: 'opaque',
    introspection_clients: ['storage-api'],
  });
  const privateKey = { ...(await exportJWK(apiKey.privateKey)), kid: apiKey.jwk.kid, alg: 'ES256' } as const;
  api = await startStorageApi({ issuer, clientId: 'storage-api', privateKey, port, resource: storage });
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
  const picture = new URL('/objects/harbour', storage);
  const ask = () => client.fetchProtectedResource(config, access_token, picture, 'GET', undefined, undefined, { DPoP });
  const answer = await ask();
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'image/svg+xml']);
  const bare = await fetch(picture, { headers: { authorization: `Bearer ${access_token}` } });
  expect(bare.status).toBe(401);

  await client.tokenRevocation(config, access_token);
  await expect(ask()).rejects.toThrow('WWW-Authenticate');
});
