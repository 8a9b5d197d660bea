/**
 * The edge: the Fastify application. Four encapsulated contexts by who calls, each with its own error renderer; the
 * endpoints in them come from the registries.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fastifyCookie from '@fastify/cookie';
import fastifyFormbody from '@fastify/formbody';
import fastifyView from '@fastify/view';
import { Eta } from 'eta';
import Fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyReply, LogController } from 'fastify';
import type { Config } from '../config.ts';
import type { AuthorizationServer } from '../protocol/authorization-server.ts';
import { OAuthError } from '../protocol/errors.ts';
import type { Endpoint } from '../protocol/feature.ts';
import { isLoopback } from '../protocol/redirect-uri.ts';
import { loadAssets, serveAssets } from './assets.ts';
import { bearerEndpoints } from './bearer-endpoints.ts';
import { browserEndpoints, showError } from './browser-endpoints.ts';
import { clientEndpoints } from './client-endpoints.ts';
import { type ClientLogo, serveClientLogos } from './client-logos.ts';
import { cookiesOf } from './cookies.ts';
import { setCommonHeaders } from './headers.ts';
import { type Metrics, type Observed, observe } from './observe.ts';
import { publicEndpoints } from './public-endpoints.ts';

/** The application, for whoever starts and stops it. */
export type App = FastifyInstance;

export interface AppOptions {
  readonly config: Config;
  readonly server: AuthorizationServer;
  readonly logger: FastifyBaseLogger;
  readonly metrics: Metrics;
  audit(event: Observed): void;
  /** Why this process should not be sent requests, or `undefined`. */
  unready(): Promise<string | undefined>;
  clientLogo(clientId: string): Promise<ClientLogo | undefined>;
}

/** Bytes. Browser endpoints take more (browser-endpoints.ts). */
const BODY_LIMIT = 16 * 1024;

export async function createApp(options: AppOptions): Promise<App> {
  const { config, server, logger } = options;
  const hsts = server.issuer.startsWith('https:') && !isLoopback(new URL(server.issuer));
  const app = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => server.context.random(9).toString('base64url'),
    trustProxy: config.trustedProxies.length > 0 ? [...config.trustedProxies] : false,
    bodyLimit: BODY_LIMIT,
    // Idle connections are closed at once when draining; busy ones finish.
    forceCloseConnections: 'idle',
    requestTimeout: 30_000,
    exposeHeadRoutes: false,
    // Ours is strict and runs where its errors are rendered; see message.ts.
    routerOptions: { querystringParser: () => ({}) },
    // An address that does not decode has no route, so no context of ours; Fastify's own answer would echo it.
    frameworkErrors: (_error, _request, reply) => void refuseAddress(reply as unknown as FastifyReply),
    ...(config.tls && {
      https: {
        cert: readFileSync(config.tls.cert),
        key: readFileSync(config.tls.key),
        minVersion: 'TLSv1.2' as const,
        // RFC 9325 §4.2; TLS 1.3 has no others.
        ciphers:
          'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384',
      },
    }),
  }) as unknown as FastifyInstance;

  observe(app, options.metrics, options.audit);
  app.addHook('onRequest', async (_request, reply) => setCommonHeaders(reply, hsts));
  app.removeAllContentTypeParsers();
  await app.register(fastifyFormbody, {
    // A parser's own limit comes before the application's.
    bodyLimit: BODY_LIMIT,
    parser: (text) => text as unknown as Record<string, unknown>,
  });
  await app.register(fastifyCookie);
  const folder = fileURLToPath(new URL('../../views', import.meta.url));
  const views = new Eta({ views: folder, cache: true });
  await app.register(fastifyView, {
    engine: { eta: views },
    root: folder,
    viewExt: 'eta',
  });

  const { assets, shell } = await loadAssets(config.brand);
  const edge = { server, cookies: cookiesOf(server.issuer), shell };
  const of = <Caller extends Endpoint['caller']>(caller: Caller) =>
    server.registries.endpoints.filter(
      (endpoint): endpoint is Extract<Endpoint, { caller: Caller }> => endpoint.caller === caller,
    );
  await app.register(async (context) => clientEndpoints(context, server, of('client')));
  await app.register(async (context) => bearerEndpoints(context, server, of('bearer')));
  await app.register(async (context) => publicEndpoints(context, server, of('public')));
  await app.register(async (context) => browserEndpoints(context, edge, of('browser')));

  serveAssets(app, assets);
  serveClientLogos(app, options.clientLogo);
  serveHealth(app, options.unready);
  app.setNotFoundHandler((request, reply) =>
    showError(
      new OAuthError('invalid_request', 'There is no page at this address.', { status: 404 }),
      request,
      reply,
      edge,
    ),
  );
  app.setErrorHandler((error, request, reply) => showError(error, request, reply, edge));
  return app;
}

function refuseAddress(reply: FastifyReply): FastifyReply {
  return reply
    .code(400)
    .header('cache-control', 'no-store')
    .header('x-content-type-options', 'nosniff')
    .send({ error: 'invalid_request', error_description: 'The address is malformed.' });
}

/** `/healthz`: the process answers. `/readyz`: it should be sent requests. */
function serveHealth(app: FastifyInstance, unready: AppOptions['unready']): void {
  app.get('/healthz', async (_request, reply) => reply.header('cache-control', 'no-store').send({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) => {
    const reason = await unready();
    reply.header('cache-control', 'no-store');
    return reason === undefined
      ? reply.send({ status: 'ready' })
      : reply.code(503).send({ status: 'not ready', reason });
  });
}
