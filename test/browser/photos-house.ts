/** Gatehouse with the people of the demo data and the applications of examples/photos around it, all on free ports. */
import { startArchiveApi } from '../../examples/photos/archive-api.ts';
import { startPhotosApi } from '../../examples/photos/photos-api.ts';
import { startStorageApi } from '../../examples/photos/storage-api.ts';
import { startWebApp } from '../../examples/photos/web-app.ts';
import { DEMO_USERS } from '../../src/operator/demo-data.ts';
import { addExchangePolicy } from '../../src/operator/exchange-policies.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { freePort } from '../support/ports.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

export interface PhotosHouse extends TestServer {
  /** Origin of the web app, which serves the browser-only app too. */
  readonly web: string;
  /** Resource indicators, which are the addresses too. */
  readonly photosApi: string;
  readonly storageApi: string;
  readonly archiveApi: string;
  /** What the batch job is started with. */
  readonly batch: { issuer: string; clientId: string; clientSecret: string; photosApi: string };
}

export async function startPhotosHouse(): Promise<PhotosHouse> {
  const gatehouse = await startTestServer();
  const { issuer } = gatehouse;
  const [port, photosPort, storagePort, archivePort] = await Promise.all([
    freePort(),
    freePort(),
    freePort(),
    freePort(),
  ]);
  const web = `http://localhost:${port}`;
  const photosApi = `http://localhost:${photosPort}`;
  const storageApi = `http://localhost:${storagePort}`;
  const archiveApi = `http://localhost:${archivePort}`;
  await gatehouse.resource({
    resource: photosApi,
    name: 'Photos',
    scopes: { 'photos.read': 'See your photos', 'photos.write': 'Add photos and change them' },
    access_token_format: 'jwt',
    introspection_clients: ['photos-api'],
    may_act: { sub: 'photos-api' },
  });
  await gatehouse.resource({
    resource: storageApi,
    name: 'Storage',
    scopes: { 'storage.read': 'Read your stored files' },
    access_token_format: 'opaque',
    introspection_clients: ['storage-api'],
  });
  await gatehouse.resource({
    resource: archiveApi,
    name: 'Archive',
    scopes: { 'archive.read': 'Read what was put away' },
    access_token_format: 'jwt',
  });
  const register = async (client_id: string, metadata: Record<string, unknown>) => {
    const { id, secret } = await gatehouse.client({ client_id, ...metadata });
    return { issuer, clientId: id, clientSecret: secret };
  };
  const code = ['authorization_code', 'refresh_token'];
  const webClient = await register('photos-web', {
    client_name: 'Photos Web',
    redirect_uris: [`${web}/callback`],
    post_logout_redirect_uris: [`${web}/`],
    grant_types: code,
    scope: 'openid profile email offline_access photos.read photos.write',
  });
  const spaClient = await register('photos-spa', {
    client_name: 'Photos in the Browser',
    redirect_uris: [`${web}/spa/callback`],
    grant_types: code,
    token_endpoint_auth_method: 'none',
    scope: 'openid photos.read',
  });
  const batchClient = await register('photos-batch', { grant_types: ['client_credentials'], scope: 'photos.read' });
  const exchanging = { grant_types: ['urn:ietf:params:oauth:grant-type:token-exchange'], scope: '' };
  const photosClient = await register('photos-api', exchanging);
  const storageClient = await register('storage-api', exchanging);
  for (const policy of [
    { client: 'photos-api', source: photosApi, target: storageApi, scopes: { 'photos.read': ['storage.read'] } },
    { client: 'storage-api', source: storageApi, target: archiveApi, scopes: { 'storage.read': ['archive.read'] } },
  ]) {
    const rules = { profile: oauth21, issuer };
    const { database } = gatehouse.running;
    await addExchangePolicy(database.sql, { name: `of-${policy.client}`, ...policy }, rules, gatehouse.clock.now());
  }
  for (const user of DEMO_USERS) await gatehouse.user(user);

  const servers = [
    await startArchiveApi({ issuer, port: archivePort, resource: archiveApi }),
    await startStorageApi({ ...storageClient, port: storagePort, resource: storageApi, archiveApi }),
    await startPhotosApi({ ...photosClient, port: photosPort, resource: photosApi, storageApi, allowedOrigins: [web] }),
    await startWebApp({ ...webClient, port, origin: web, photosApi, spaClientId: spaClient.clientId }),
  ];
  return {
    ...gatehouse,
    web,
    photosApi,
    storageApi,
    archiveApi,
    batch: { ...batchClient, photosApi },
    async close() {
      await Promise.all(servers.map((server) => server.close()));
      await gatehouse.close();
    },
  };
}
