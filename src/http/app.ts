/**
 * The edge: the Fastify application. Four encapsulated contexts by who calls, each with its own error renderer; the
 * endpoints in them come from the registries.
 */
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
import { addressTest } from './addresses.ts';
import { loadAssets, serveAssets } from './assets.ts';
import { bearerEndpoints } from './bearer-endpoints.ts';
import { browserEndpoints, showError } from './browser-endpoints.ts';
import { type CertificateReader, certificateReader } from './client-certificate.ts';
import { clientEndpoints } from './client-endpoints.ts';
import { type ClientLogo, serveClientLogos } from './client-logos.ts';
import { cookiesOf } from './cookies.ts';
import { note, tellable } from './errors.ts';
import { setCommonHeaders } from './headers.ts';
import { inStep } from './in-step.ts';
import { type Metrics, type Observed, observe } from './observe.ts';
import { publicEndpoints } from './public-endpoints.ts';
import { tlsOptions } from './tls.ts';

declare module 'fastify' {
  interface FastifyInstance {
    door: Door;
  }
}

/** Where requests come in. */
export interface Door {
  /** What its published addresses begin with. */
  readonly origin: string;
  readonly certificate: CertificateReader;
}

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

/** Bytes. Browser endpoints take more (browser-endpoints.ts), and what says so (`ClientEndpoint.bodyLimit`). */
const BODY_LIMIT = 16 * 1024;

/** The door for everybody: all endpoints, and the pages. */
export async function createApp(options: AppOptions): Promise<App> {
  const { config, server } = options;
  // Where clients with certificates have a door of their own, certificates count there only.
  const app = await foundation(options, server.issuer, config.mutualTls?.door === undefined);
  const folder = fileURLToPath(new URL('../../views', import.meta.url));
  const views = new Eta({ views: folder, cache: true });
  // The plugin would make an object for it in each request, pages or not; our views are given all they show.
  app.decorateReply('locals', null);
  await app.register(fastifyView, {
    engine: { eta: views },
    root: folder,
    viewExt: 'eta',
  });

  const { assets, shell } = await loadAssets(config.brand);
  const edge = { server, cookies: cookiesOf(server.issuer), shell };
  await app.register(async (context) => clientEndpoints(context, server, endpointsFor('client', server)));
  await app.register(async (context) => bearerEndpoints(context, server, endpointsFor('bearer', server)));
  await app.register(async (context) => publicEndpoints(context, server, endpointsFor('public', server)));
  await app.register(async (context) => {
    // Only here: nobody else sends cookies or is asked for one.
    await context.register(fastifyCookie);
    browserEndpoints(context, edge, endpointsFor('browser', server));
  });

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

/**
 * The door for clients with certificates (RFC 8705 §5): what they call, and nothing that a browser would open.
 * @param origin the address they know it by
 */
export async function createMutualTlsApp(options: AppOptions, origin: string): Promise<App> {
  const { server } = options;
  const app = await foundation(options, origin, true);
  await app.register(async (context) => clientEndpoints(context, server, endpointsFor('client', server)));
  await app.register(async (context) => bearerEndpoints(context, server, endpointsFor('bearer', server)));
  serveHealth(app, options.unready);
  app.setNotFoundHandler((_request, reply) => refuseAddress(reply, 404, 'There is nothing at this address.'));
  app.setErrorHandler((error, request, reply) => {
    const told = tellable(error);
    note(request, error, told);
    return refuseAddress(reply, told.status, told.message);
  });
  return app;
}

/** What both doors stand on. */
async function foundation(options: AppOptions, origin: string, certificatesCount: boolean): Promise<App> {
  const { config, server, logger } = options;
  const { mutualTls } = config;
  const hsts = server.issuer.startsWith('https:') && !isLoopback(new URL(server.issuer));
  const https = tlsOptions(config, certificatesCount && mutualTls?.asks === true);
  const app = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    // Lines say whose they are (`requestId`): a logger for each request would be made for most of them to say nothing.
    childLoggerFactory: (logger) => logger,
    genReqId: () => server.context.random(9).toString('base64url'),
    trustProxy: config.trustedProxies.length > 0 ? addressTest(config.trustedProxies) : false,
    bodyLimit: BODY_LIMIT,
    // Idle connections are closed at once when draining; busy ones finish.
    forceCloseConnections: 'idle',
    // A connection that was accepted before the door shut is answered, even if its request comes a moment later.
    return503OnClosing: false,
    requestTimeout: 30_000,
    exposeHeadRoutes: false,
    // Ours is strict and runs where its errors are rendered; see message.ts.
    routerOptions: { querystringParser: () => ({}) },
    // An address that does not decode has no route, so no context of ours; Fastify's own answer would echo it.
    frameworkErrors: (_error, _request, reply) =>
      void refuseAddress(reply as unknown as FastifyReply, 400, 'The address is malformed.'),
    ...(https && { https }),
  }) as unknown as FastifyInstance;
  app.decorate('door', { origin, certificate: certificateReader(config, certificatesCount) });

  observe(app, options.metrics, options.audit);
  app.addHook('onRequest', (_request, reply, done) => {
    setCommonHeaders(reply, hsts);
    done();
  });
  app.addHook('preHandler', inStep());
  app.removeAllContentTypeParsers();
  await app.register(fastifyFormbody, {
    // A parser's own limit comes before the application's.
    bodyLimit: BODY_LIMIT,
    parser: (text) => text as unknown as Record<string, unknown>,
  });
  return app;
}

function endpointsFor<Caller extends Endpoint['caller']>(caller: Caller, { registries }: AuthorizationServer) {
  return registries.endpoints.filter(
    (endpoint): endpoint is Extract<Endpoint, { caller: Caller }> => endpoint.caller === caller,
  );
}

function refuseAddress(reply: FastifyReply, status: number, description: string): FastifyReply {
  return reply
    .code(status)
    .header('cache-control', 'no-store')
    .header('x-content-type-options', 'nosniff')
    .send({ error: 'invalid_request', error_description: description });
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
