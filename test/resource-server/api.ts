/** An API over real HTTP, guarded by the plugin under test, and a way to ask it with exactly the headers one wants. */
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import type { ServerOptions } from 'node:https';
import Fastify, { type FastifyInstance } from 'fastify';
import { type ResourceServerPluginOptions, resourceServer } from 'gatehouse/resource-server';

export const RESOURCE = 'https://photos.example';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly json: Record<string, unknown> | undefined;
}

export interface Api {
  readonly origin: string;
  /** @param authorization one header for each value */
  get(path: string, ...authorization: string[]): Promise<Answer>;
  /** @param headers a list of values makes a header of each */
  ask(method: string, path: string, headers: Record<string, string | string[]>): Promise<Answer>;
  close(): Promise<void>;
}

type ApiOptions = Omit<ResourceServerPluginOptions, 'resource'> & { readonly resource?: string };

/**
 * `/photos` needs `photos.read`, `/albums` two scopes, `/me` just a token, and so does `/twice`, which asks two times;
 * `/vault` needs a good sign-in, `/prints` authorization details; `/open` forgets to ask for anything.
 *
 * @param https the API speaks TLS with this
 */
export async function startApi(options: ApiOptions, https?: ServerOptions): Promise<Api> {
  const app = https ? (Fastify({ https }) as unknown as FastifyInstance) : Fastify();
  await app.register(resourceServer, { resource: RESOURCE, ...options });
  const { requireScope, requireToken } = app;
  app.get('/photos', { preHandler: requireScope('photos.read') }, async ({ accessToken }) => ({
    sub: accessToken.sub,
    clientId: accessToken.clientId,
    scope: [...accessToken.scope],
    audience: accessToken.audience,
    expiresAt: accessToken.expiresAt,
    extra: accessToken.claims.extra,
  }));
  app.get('/albums', { onRequest: requireScope('photos.read', 'photos.write') }, async () => 'albums');
  app.get('/me', { onRequest: requireScope() }, async ({ accessToken }) => accessToken.sub);
  app.get('/twice', { onRequest: [requireScope(), requireScope('photos.read')] }, async () => 'twice');
  const goodSignIn = { scope: ['photos.read'], acrValues: ['urn:gold', 'urn:silver'], maxAge: 300 };
  app.get('/vault', { onRequest: requireToken(goodSignIn) }, async ({ accessToken }) => ({
    acr: accessToken.acr,
    authTime: accessToken.authTime,
  }));
  const prints = requireToken({ authorizationDetails: ['photo_print'] });
  app.get('/prints', { onRequest: prints }, async ({ accessToken }) => accessToken.authorizationDetails);
  app.post('/photos', { preHandler: requireScope('photos.write') }, async () => 'stored');
  app.get('/open', async ({ accessToken }) => accessToken.sub);
  const origin = await app.listen({ host: '127.0.0.1', port: 0 });
  return {
    origin,
    get: (path, ...authorization) => ask('GET', `${origin}${path}`, { authorization }),
    ask: (method, path, headers) => ask(method, `${origin}${path}`, headers),
    close: () => app.close(),
  };
}

export function ask(
  method: string,
  url: string,
  headers: Record<string, string | string[]> = {},
  body = '',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(url, { method, headers, agent: false }, async (response) => {
      const text = (await response.toArray()).join('');
      const isJson = response.headers['content-type']?.startsWith('application/json') === true;
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        text,
        json: isJson ? JSON.parse(text) : undefined,
      });
    });
    request.on('error', reject).end(body);
  });
}
