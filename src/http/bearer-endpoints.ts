/**
 * Endpoints that take an access token addressed to us: RFC 6750, OAuth 2.1 §5.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { readAccessToken } from '../protocol/access-token.ts';
import type { AuthorizationServer } from '../protocol/authorization-server.ts';
import { findClient } from '../protocol/client.ts';
import { OAuthError } from '../protocol/errors.ts';
import type { BearerEndpoint } from '../protocol/feature.ts';
import { type EndpointRequest, Parameters, parseForm } from '../protocol/message.ts';
import { preflight } from './client-endpoints.ts';
import { note, tellable } from './errors.ts';
import { setApiHeaders } from './headers.ts';
import { queryOf, toEndpointRequest } from './message.ts';
import { route } from './routes.ts';

/** No token at all: the challenge then carries no error (RFC 6750 §3.1). */
class NoToken extends OAuthError {
  constructor() {
    super('invalid_token', 'An access token is required.');
  }
}

export function bearerEndpoints(
  app: FastifyInstance,
  server: AuthorizationServer,
  endpoints: readonly BearerEndpoint[],
): void {
  app.addHook('onRequest', async (_request, reply) => setApiHeaders(reply));
  app.setErrorHandler((error, request, reply) => {
    const told = tellable(error);
    note(request, error, told);
    reply.code(told.status).headers(told.headers);
    if (told.status < 500 && told.status !== 405 && told.status !== 413) {
      reply.header('www-authenticate', challenge(server.issuer, told, error instanceof NoToken));
    }
    return error instanceof NoToken ? reply.send() : reply.send({ error: told.code, error_description: told.message });
  });
  for (const endpoint of endpoints) {
    const handler = (request: FastifyRequest, reply: FastifyReply) => answer(endpoint, request, reply, server);
    route(app, endpoint, {
      GET: handler,
      POST: handler,
      OPTIONS: (request, reply) => preflight(request, reply, server),
    });
  }
}

function challenge(issuer: string, told: OAuthError, bare: boolean): string {
  const error = bare ? '' : `, error="${told.code}", error_description="${told.message}"`;
  const scope = told.code === 'insufficient_scope' ? ', scope="openid"' : '';
  return `Bearer realm="${issuer}"${error}${scope}`;
}

async function answer(endpoint: BearerEndpoint, raw: FastifyRequest, reply: FastifyReply, server: AuthorizationServer) {
  const request = toEndpointRequest(raw, server.context.now());
  const token = await readAccessToken(presentedToken(raw, request), request.now, server);
  if (token === undefined || token.kind !== 'access_token' || !token.audience.includes(server.issuer)) {
    // An openid token that does not name us is for somebody else, and one for us alone may lack the scope.
    if (token && !token.scope.includes(endpoint.scope))
      throw new OAuthError('insufficient_scope', 'The token lacks the scope for this.');
    throw new OAuthError('invalid_token', 'The access token is not valid here.');
  }
  request.trace.clientId = token.clientId;
  request.trace.userId = token.user?.id ?? '';
  if (request.origin !== undefined) await allowOrigin(request.origin, token.clientId, reply, server);
  // A token without a user is not one short of a scope: nobody can be asked for more.
  if (token.user && !token.scope.includes(endpoint.scope))
    throw new OAuthError('insufficient_scope', 'The token lacks the scope for this.');
  const response = await endpoint.handle(request, token, server);
  return reply.code(response.status).send(response.body);
}

/**
 * The one token of a request: from the header, or from the form of a POST (OpenID Connect Core §5.3.1), never from the
 * URL, where logs and histories would keep it.
 */
function presentedToken(raw: FastifyRequest, request: EndpointRequest): string {
  if (new Parameters(parseForm(queryOf(raw))).get('access_token') !== undefined) {
    throw new OAuthError('invalid_request', 'An access token does not belong in the URL.');
  }
  if (request.authorization.length > 1) throw new OAuthError('invalid_request', 'More than one Authorization header.');
  request.parameters.refuseRepeats();
  const [header] = request.authorization;
  const inForm = raw.method === 'POST' ? request.parameters.get('access_token') : undefined;
  if (header !== undefined && inForm !== undefined)
    throw new OAuthError('invalid_request', 'The access token was sent twice.');
  const inHeader = /^bearer +(\S+)$/i.exec(header ?? '')?.[1];
  if (header !== undefined && inHeader === undefined) {
    throw /^bearer\b/i.test(header)
      ? new OAuthError('invalid_request', 'The Authorization header is malformed.')
      : new NoToken();
  }
  const token = inHeader ?? inForm;
  if (token === undefined) throw new NoToken();
  return token;
}

async function allowOrigin(
  origin: string,
  clientId: string,
  reply: FastifyReply,
  server: AuthorizationServer,
): Promise<void> {
  reply.header('vary', 'Origin');
  const client = await findClient(server.catalogue, clientId);
  if (client?.origins.has(origin)) {
    reply
      .header('access-control-allow-origin', origin)
      .header('access-control-expose-headers', 'WWW-Authenticate, X-Request-Id');
  }
}
