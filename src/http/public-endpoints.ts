/** Public documents: metadata and keys, for everybody and every origin (RFC 8414 §3.2, RFC 7517). */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { AuthorizationServer } from '../protocol/authorization-server.ts';
import type { PublicEndpoint } from '../protocol/feature.ts';
import { sha256 } from '../protocol/secrets.ts';
import { note, tellable } from './errors.ts';
import { setApiHeaders } from './headers.ts';
import { route } from './routes.ts';

export function publicEndpoints(
  app: FastifyInstance,
  server: AuthorizationServer,
  endpoints: readonly PublicEndpoint[],
): void {
  app.addHook('onRequest', async (_request, reply) => {
    setApiHeaders(reply);
    reply.header('access-control-allow-origin', '*').header('cross-origin-resource-policy', 'cross-origin');
  });
  app.setErrorHandler((error, request, reply) => {
    const told = tellable(error);
    note(request, error, told);
    return reply.code(told.status).headers(told.headers).send({ error: told.code, error_description: told.message });
  });
  for (const endpoint of endpoints) {
    let last: WrittenDocument | undefined;
    const handler = async (request: FastifyRequest, reply: FastifyReply) => {
      const document = await endpoint.document(server);
      if (!last || last.document !== document) last = write(document);
      const { body, tag } = last;
      reply.header('cache-control', `public, max-age=${endpoint.maxAge}, must-revalidate`).header('etag', tag);
      if (request.headers['if-none-match'] === tag) return reply.code(304).send();
      return reply.type('application/json').send(body);
    };
    route(app, endpoint, { GET: handler, HEAD: handler });
  }
}

/** A document as it is sent, kept until the endpoint gives another one. */
interface WrittenDocument {
  readonly document: unknown;
  readonly body: string;
  readonly tag: string;
}

function write(document: unknown): WrittenDocument {
  const body = JSON.stringify(document);
  return { document, body, tag: `"${sha256(body).toString('base64url').slice(0, 22)}"` };
}
