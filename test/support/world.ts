/** The usual cast: alice and bob, a photos API (JWT) and a storage API (opaque), and one client of each kind. */
import { authorizePath, decide, pkce, post, responseOf, signIn, TestBrowser } from './browser.ts';
import { startTestServer, type TestServer, type TestServerOptions } from './server.ts';

export const PHOTOS = 'https://photos.example';
export const STORAGE = 'https://storage.example';
export const WEB_REDIRECT = 'https://web.example/callback';
export const SPA_REDIRECT = 'https://spa.example/callback';

export interface World extends TestServer {
  readonly web: { id: string; secret: string };
  readonly spa: { id: string; secret: string };
  readonly batch: { id: string; secret: string };
  readonly photosApi: { id: string; secret: string };
  readonly storageApi: { id: string; secret: string };
  readonly alice: string;
  readonly bob: string;
}

const PERSONAL = 'openid profile email address phone offline_access';

export async function startWorld(options: TestServerOptions = {}): Promise<World> {
  const server = await startTestServer(options);
  const photosApi = await server.client({
    client_id: 'photos-api',
    client_name: 'Photos API',
    grant_types: ['client_credentials'],
    scope: 'storage.read',
  });
  const storageApi = await server.client({ client_id: 'storage-api', client_name: 'Storage API', grant_types: [] });
  await server.resource({
    resource: PHOTOS,
    name: 'Photos',
    scopes: { 'photos.read': 'See your photos', 'photos.write': 'Add photos' },
    access_token_format: 'jwt',
    introspection_clients: ['photos-api'],
  });
  await server.resource({
    resource: STORAGE,
    name: 'Storage',
    scopes: { 'storage.read': 'Read your files' },
    access_token_format: 'opaque',
    introspection_clients: ['storage-api'],
  });
  const scope = `${PERSONAL} photos.read photos.write storage.read`;
  const code = ['authorization_code', 'refresh_token'];
  const web = await server.client({
    client_id: 'web',
    client_name: 'Web',
    redirect_uris: [WEB_REDIRECT],
    grant_types: code,
    scope,
  });
  const spa = await server.client({
    client_id: 'spa',
    client_name: 'Spa',
    redirect_uris: [SPA_REDIRECT],
    grant_types: code,
    token_endpoint_auth_method: 'none',
    scope,
  });
  const batch = await server.client({
    client_id: 'batch',
    client_name: 'Batch',
    grant_types: ['client_credentials'],
    scope: 'photos.read storage.read',
  });
  const alice = await server.user({
    username: 'alice',
    password: 'wonderland',
    claims: { name: 'Alice Liddell', email: 'alice@people.example', email_verified: true, birthdate: '1992-05-04' },
  });
  const bob = await server.user({ username: 'bob', password: 'builder' });
  return { ...server, web, spa, batch, photosApi, storageApi, alice, bob };
}

export interface FlowOptions {
  readonly client?: 'web' | 'spa';
  readonly scope?: string;
  readonly browser?: TestBrowser;
  readonly parameters?: Record<string, string>;
}

/** Drives a browser through sign-in and consent (whichever is asked for) to a code. */
export async function getCode(
  world: World,
  options: FlowOptions = {},
): Promise<{ code: string; verifier: string; redirectUri: string; browser: TestBrowser }> {
  const { client = 'web', scope = 'openid photos.read', browser = new TestBrowser(world) } = options;
  const { verifier, challenge } = pkce();
  const redirectUri = client === 'web' ? WEB_REDIRECT : SPA_REDIRECT;
  let page = await browser.visit(
    authorizePath({
      client_id: world[client].id,
      redirect_uri: redirectUri,
      scope,
      code_challenge: challenge,
      ...options.parameters,
    }),
  );
  if (page.url.includes('/login')) page = await signIn(browser, page);
  if (page.url.includes('/consent')) page = await decide(browser, page);
  const code = responseOf(page).get('code');
  if (code === null) throw new Error(`no code: ${page.location}`);
  return { code, verifier, redirectUri, browser };
}

/** Redeems a code as its client. */
export function redeem(
  world: World,
  flow: { code: string; verifier: string; redirectUri: string },
  client: 'web' | 'spa' = 'web',
  extra: Record<string, string> = {},
) {
  const fields = {
    grant_type: 'authorization_code',
    code: flow.code,
    code_verifier: flow.verifier,
    redirect_uri: flow.redirectUri,
    ...extra,
  };
  return client === 'web'
    ? post(`${world.issuer}/token`, fields, { basic: world.web })
    : post(`${world.issuer}/token`, { ...fields, client_id: world.spa.id });
}

export function refresh(
  world: World,
  refreshToken: string,
  client: 'web' | 'spa' = 'web',
  extra: Record<string, string> = {},
) {
  const fields = { grant_type: 'refresh_token', refresh_token: refreshToken, ...extra };
  return client === 'web'
    ? post(`${world.issuer}/token`, fields, { basic: world.web })
    : post(`${world.issuer}/token`, { ...fields, client_id: world.spa.id });
}

/** Asks what a token is worth, as the API it is for by default. */
export async function introspect(world: World, token: string, as: { id: string; secret: string } = world.photosApi) {
  return (await post(`${world.issuer}/token_info`, { token }, { basic: as })).json;
}
