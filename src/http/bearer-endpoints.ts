/**
 * Endpoints that take an access token addressed to us: RFC 6750, OAuth 2.1 §5, RFC 9449 §7.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { readAccessToken } from '../protocol/access-token.ts';
import type { AuthorizationServer } from '../protocol/authorization-server.ts';
import { findClient } from '../protocol/client.ts';
import { confirms } from '../protocol/confirmation.ts';
import { OAuthError } from '../protocol/errors.ts';
import type { BearerEndpoint } from '../protocol/feature.ts';
import type { StandingToken } from '../protocol/ledger.ts';
import { type EndpointRequest, Parameters, parseForm } from '../protocol/message.ts';
import { claimMarks } from '../protocol/replay.ts';
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

/** RFC 6750 §3.1: the challenge names the scope that would do. */
class InsufficientScope extends OAuthError {
  readonly scope: string;

  constructor(scope: string) {
    super('insufficient_scope', 'The token lacks the scope for this.');
    this.scope = scope;
  }
}

/** What is wrong with a proof is, where a token is used, a matter of authentication (RFC 9449 §7.1, §9). */
const UNAUTHENTICATED = new Set(['invalid_token', 'invalid_dpop_proof', 'use_dpop_nonce']);

export function bearerEndpoints(
  app: FastifyInstance,
  server: AuthorizationServer,
  endpoints: readonly BearerEndpoint[],
): void {
  app.addHook('onRequest', (_request, reply, done) => {
    setApiHeaders(reply);
    done();
  });
  app.setErrorHandler((error, request, reply) => {
    const told = tellable(error);
    note(request, error, told);
    const status = UNAUTHENTICATED.has(told.code) ? 401 : told.status;
    reply.code(status);
    if ([400, 401, 403].includes(status)) reply.header('www-authenticate', challenge(told, request, server));
    reply.headers(told.headers);
    return error instanceof NoToken ? reply.send() : reply.send({ error: told.code, error_description: told.message });
  });
  for (const endpoint of endpoints) {
    const handler = (request: FastifyRequest, reply: FastifyReply) => answer(endpoint, request, reply, server);
    route(app, endpoint, {
      GET: handler,
      POST: handler,
      ...(server.profile.browserClients && {
        OPTIONS: (request: FastifyRequest, reply: FastifyReply) => preflight(request, reply, server),
      }),
    });
  }
}

/**
 * RFC 6750 §3, RFC 9449 §7.1: what went wrong is told under the scheme that was used; whoever came without a token that is
 * good hears of the other scheme too.
 */
function challenge(error: OAuthError, request: FastifyRequest, server: AuthorizationServer): string {
  const methods = [...server.registries.confirmationMethods.values()];
  const others = methods.flatMap((method) => method.challenge?.(server) ?? []);
  const scope = error instanceof InsufficientScope ? `, scope="${error.scope}"` : '';
  const words = `error="${error.code}", error_description="${error.message}"${scope}`;
  const used = others.find(({ scheme }) => scheme === schemeOf(request.headers.authorization));
  if (used) return `${used.scheme} ${words}, ${used.parameters}`;
  const bearer = `Bearer realm="${server.issuer}"${error instanceof NoToken ? '' : `, ${words}`}`;
  const offers = UNAUTHENTICATED.has(error.code) ? others : [];
  return [bearer, ...offers.map(({ scheme, parameters }) => `${scheme} ${parameters}`)].join(', ');
}

async function answer(endpoint: BearerEndpoint, raw: FastifyRequest, reply: FastifyReply, server: AuthorizationServer) {
  const request = toEndpointRequest(raw, server.context.now());
  const origin = server.profile.browserClients ? request.origin : undefined;
  // Until the token tells whose it is, any client's origin may read that it is not valid.
  if (origin !== undefined) allowOrigin(origin, await server.catalogue.isClientOrigin(origin), reply);
  const presented = presentedToken(raw, request);
  const token = await readAccessToken(presented.token, request.now, server);
  if (!token) throw new OAuthError('invalid_token', 'The access token is not valid.');
  const headers = await checkBinding(token, presented, request, server);
  request.trace.clientId = token.clientId;
  request.trace.userId = token.user?.id ?? '';
  if (origin !== undefined) {
    const client = await findClient(server.catalogue, token.clientId);
    allowOrigin(origin, client?.origins.has(origin) ?? false, reply);
  }
  // A token that stands for nobody is not one short of a scope: there is nobody to ask for more.
  if (token.user && !token.scope.includes(endpoint.scope)) throw new InsufficientScope(endpoint.scope);
  if (!token.audience.includes(server.issuer))
    throw new OAuthError('invalid_token', 'The access token is not for this.');
  const response = await endpoint.handle(request, token, server);
  return reply
    .code(response.status)
    .headers({ ...headers, ...response.headers })
    .send(response.body);
}

interface Presented {
  readonly token: string;
  readonly scheme: 'Bearer' | 'DPoP';
}

/**
 * A bound token is good with a proof of its key only, under the scheme that goes with it (RFC 9449 §7.1, RFC 8705 §3).
 * @returns headers for the answer
 * @throws OAuthError `invalid_token`, or what is wrong with the proof
 */
async function checkBinding(
  { cnf, clientId }: StandingToken,
  { token, scheme }: Presented,
  request: EndpointRequest,
  server: AuthorizationServer,
): Promise<Readonly<Record<string, string>>> {
  // A token that is bound to a DPoP key goes with that scheme, and no other token does.
  if ((cnf?.jkt !== undefined) !== (scheme === 'DPoP'))
    throw new OAuthError('invalid_token', 'The access token does not go with this scheme.');
  if (!cnf) return {};
  const holder = await findClient(server.catalogue, clientId);
  for (const method of server.registries.confirmationMethods.values()) {
    const possession = await method.prove(request, { accessToken: token, ...(holder && { holder }) }, server);
    if (!possession || !confirms(possession, cnf)) continue;
    await claimMarks(possession.marks, server.replayMarks);
    return possession.headers;
  }
  throw new OAuthError('invalid_token', 'The key the access token is bound to was not shown.');
}

/**
 * The one token of a request: from the header, or from the form of a POST (OpenID Connect Core §5.3.1), never from the
 * URL, where logs and histories would keep it.
 */
function presentedToken(raw: FastifyRequest, request: EndpointRequest): Presented {
  if (new Parameters(parseForm(queryOf(raw))).get('access_token') !== undefined) {
    throw new OAuthError('invalid_request', 'An access token does not belong in the URL.');
  }
  if (request.authorization.length > 1) throw new OAuthError('invalid_request', 'More than one Authorization header.');
  request.parameters.refuseRepeats();
  const [header] = request.authorization;
  const inForm = raw.method === 'POST' ? request.parameters.get('access_token') : undefined;
  if (header !== undefined && inForm !== undefined)
    throw new OAuthError('invalid_request', 'The access token was sent twice.');
  const scheme = schemeOf(header);
  const [, inHeader] = (scheme && /^\w+ +(\S+)$/.exec(header ?? '')) || [];
  if (header !== undefined && inHeader === undefined) {
    throw scheme ? new OAuthError('invalid_request', 'The Authorization header is malformed.') : new NoToken();
  }
  const token = inHeader ?? inForm;
  if (token === undefined) throw new NoToken();
  return { token, scheme: scheme ?? 'Bearer' };
}

/** RFC 9110 §11.1: schemes are compared without case. */
function schemeOf(header: string | undefined): Presented['scheme'] | undefined {
  const [, scheme] = /^(bearer|dpop)\b/i.exec(header ?? '') ?? [];
  if (scheme === undefined) return undefined;
  return scheme.toLowerCase() === 'dpop' ? 'DPoP' : 'Bearer';
}

function allowOrigin(origin: string, allowed: boolean, reply: FastifyReply): void {
  reply.header('vary', 'Origin');
  if (allowed) {
    reply
      .header('access-control-allow-origin', origin)
      .header('access-control-expose-headers', 'WWW-Authenticate, DPoP-Nonce, X-Request-Id');
  } else reply.removeHeader('access-control-allow-origin');
}
