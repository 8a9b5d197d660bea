/** Two small listeners beside the application: metrics on a port of their own, and the door while the database is awaited. */
import { randomBytes } from 'node:crypto';
import Fastify, { type FastifyInstance } from 'fastify';
import type { Config } from '../config.ts';
import type { ReadableMetrics } from './observe.ts';
import { tlsOptions } from './tls.ts';

interface Door {
  close(): Promise<void>;
}

/** Prometheus metrics; on a port that is not for the public. */
export async function serveMetrics(host: string, port: number, metrics: ReadableMetrics): Promise<Door> {
  const app = Fastify();
  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.read()));
  await app.listen({ host, port });
  return app;
}

/** Answers 503 to everything but `/healthz`, saying what is waited for: an orchestrator sees it alive and not ready. */
export async function waitingRoom(config: Config, reason: () => string): Promise<Door> {
  const https = tlsOptions(config, false);
  const genReqId = () => randomBytes(9).toString('base64url');
  const app = Fastify({ genReqId, ...(https && { https }) }) as unknown as FastifyInstance;
  app.addHook('onRequest', async (request, reply) => {
    reply
      .header('x-request-id', request.id)
      .header('cache-control', 'no-store')
      .header('x-content-type-options', 'nosniff');
  });
  // Whatever is sent is not read.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => {
    payload.resume();
    done(null);
  });
  app.get('/healthz', async () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) => reply.code(503).send({ status: 'not ready', reason: reason() }));
  app.setNotFoundHandler((_request, reply) =>
    reply.code(503).header('retry-after', '2').send({ error: 'temporarily_unavailable' }),
  );
  await app.listen({ port: config.port, host: config.host });
  return app;
}
