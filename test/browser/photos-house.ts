/** Gatehouse with the people of the demo data and the applications of examples/photos around it, all on free ports. */
import { startPhotosApi } from '../../examples/photos/photos-api.ts';
import { startStorageApi } from '../../examples/photos/storage-api.ts';
import { startWebApp } from '../../examples/photos/web-app.ts';
import { DEMO_USERS } from '../../src/operator/demo-data.ts';
import { freePort, startTestServer, type TestServer } from '../support/server.ts';

export interface PhotosHouse extends TestServer {
  /** Origin of the web app, which serves the browser-only app too. */
  readonly web: string;
  /** Resource indicators, which are the addresses too. */
  readonly photosApi: string;
  readonly storageApi: string;
  /** What the batch job is started with. */
  readonly batch: { issuer: string; clientId: string; clientSecret: string; photosApi: string };
}

export async function startPhotosHouse(): Promise<PhotosHouse> {
  const gatehouse = await startTestServer();
  const { issuer } = gatehouse;
  const [port, photosPort, storagePort] = await Promise.all([freePort(), freePort(), freePort()]);
  const web = `http://localhost:${port}`;
  const photosApi = `http://localhost:${photosPort}`;
  const storageApi = `http://localhost:${storagePort}`;
  await gatehouse.resource({
    resource: photosApi,
    name: 'Photos',
    scopes: { 'photos.read': 'See your photos', 'photos.write': 'Add photos and change them' },
    access_token_format: 'jwt',
  });
  await gatehouse.resource({
    resource: storageApi,
    name: 'Storage',
    scopes: { 'storage.read': 'Read your stored files' },
    access_token_format: 'opaque',
    introspection_clients: ['storage-api'],
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
  const machine = (scope: string) => ({ grant_types: ['client_credentials'], scope });
  const batchClient = await register('photos-batch', machine('photos.read'));
  const photosClient = await register('photos-api', machine('storage.read'));
  const storageClient = await register('storage-api', { grant_types: [] });
  for (const user of DEMO_USERS) await gatehouse.user(user);

  const servers = [
    await startStorageApi({ ...storageClient, port: storagePort, resource: storageApi }),
    await startPhotosApi({ ...photosClient, port: photosPort, resource: photosApi, storageApi, allowedOrigins: [web] }),
    await startWebApp({ ...webClient, port, origin: web, photosApi, spaClientId: spaClient.clientId }),
  ];
  return {
    ...gatehouse,
    web,
    photosApi,
    storageApi,
    batch: { ...batchClient, photosApi },
    async close() {
      await Promise.all(servers.map((server) => server.close()));
      await gatehouse.close();
    },
  };
}
