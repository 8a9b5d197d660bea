/**
 * Endpoints that clients call: POST, form in, JSON out, never cached (RFC 6749 §3.2, §5.1). Client authentication and
 * the refusal of repeated parameters happen here, before any endpoint's own code.
 *
 * CORS: browser code of a client's own origins may read the answers. A preflight does not say for which client it asks,
 * so it is answered for every registered origin; the real answer is readable only by origins of the client it is for.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { AuthorizationServer } from '../protocol/authorization-server.ts';
import { findClient } from '../protocol/client.ts';
import { authenticateClient, claimedClientId } from '../protocol/client-authentication.ts';
import { OAuthError } from '../protocol/errors.ts';
import type { ClientEndpoint } from '../protocol/feature.ts';
import { type EndpointRequest, extended } from '../protocol/message.ts';
import { claimMarks } from '../protocol/replay.ts';
import { note, tellable } from './errors.ts';
import { setApiHeaders } from './headers.ts';
import { queryOf, toEndpointRequest } from './message.ts';
import { route } from './routes.ts';

const EXPOSED = 'WWW-Authenticate, DPoP-Nonce, X-Request-Id';

export function clientEndpoints(
  app: FastifyInstance,
  server: AuthorizationServer,
  endpoints: readonly ClientEndpoint[],
): void {
  app.addHook('onRequest', (_request, reply, done) => {
    setApiHeaders(reply);
    done();
  });
  app.setErrorHandler((error, request, reply) => {
    const told = tellable(error);
    note(request, error, told);
    return reply.code(told.status).headers(told.headers).send({ error: told.code, error_description: told.message });
  });
  for (const endpoint of endpoints) {
    const { bodyLimit } = endpoint;
    const handlers = {
      POST: (request: FastifyRequest, reply: FastifyReply) => answer(endpoint, request, reply, server),
      ...(endpoint.cors &&
        server.profile.browserClients && {
          OPTIONS: (request: FastifyRequest, reply: FastifyReply) => preflight(request, reply, server),
        }),
    };
    route(app, endpoint, handlers, bodyLimit === undefined ? {} : { bodyLimit });
  }
}

async function answer(endpoint: ClientEndpoint, raw: FastifyRequest, reply: FastifyReply, server: AuthorizationServer) {
  // In a URL they would end in logs and histories.
  if (queryOf(raw) !== '') throw new OAuthError('invalid_request', 'Parameters belong in the body.');
  const request = toEndpointRequest(raw, server.context.now());
  const cors = endpoint.cors && server.profile.browserClients;
  if (cors && request.origin !== undefined) await allowOrigin(request, reply, server);
  request.parameters.refuseRepeats();
  const { client, marks } = await authenticateClient(request, server, endpoint);
  if (!endpoint.claimsMarks) await claimMarks(marks, server.replayMarks);
  const response = await endpoint.handle(extended(request, { client, marks }), server);
  reply.code(response.status).headers(response.headers ?? {});
  return response.body === undefined ? reply.send() : reply.send(response.body);
}

/** Set before anything can fail, so that browser code can read the refusal too. */
async function allowOrigin(request: EndpointRequest, reply: FastifyReply, server: AuthorizationServer): Promise<void> {
  reply.header('vary', 'Origin');
  const client = await findClient(server.catalogue, claimedClientId(request, server));
  if (request.origin !== undefined && client?.origins.has(request.origin)) {
    reply.header('access-control-allow-origin', request.origin).header('access-control-expose-headers', EXPOSED);
  }
}

/** Shared with the userinfo endpoint. */
export async function preflight(request: FastifyRequest, reply: FastifyReply, server: AuthorizationServer) {
  const { origin } = request.headers;
  reply.header('vary', 'Origin').code(204);
  if (origin !== undefined && origin.length < 500 && (await server.catalogue.isClientOrigin(origin))) {
    reply
      .header('access-control-allow-origin', origin)
      .header('access-control-allow-methods', 'POST, GET')
      .header('access-control-allow-headers', 'authorization, content-type, dpop')
      .header('access-control-max-age', '600');
  }
  return reply.send();
}
