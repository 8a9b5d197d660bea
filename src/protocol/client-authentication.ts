/**
 * Client authentication: RFC 6749 §2.3, OAuth 2.1 §2.4, §3.2.1. One shared step before every endpoint that clients call,
 * so no endpoint can forget it.
 *
 * Exactly one method in a request; it must be the one the client is registered with. An `Authorization` header is an attempt
 * to authenticate even where no method that is offered takes it, so it never stands beside a good proof. Unknown client, wrong method and
 * wrong proof get one answer after the same work.
 */
import type { AuthorizationServer } from './authorization-server.ts';
import { type Client, findClient, isPublic } from './client.ts';
import { OAuthError } from './errors.ts';
import type { ClaimedClient, ClientAuthenticationMethod } from './feature.ts';
import type { EndpointRequest } from './message.ts';
import type { ReplayMark } from './replay.ts';

/**
 * Endpoints that metadata has lists of methods and algorithms for (RFC 8414 §2); elsewhere the token endpoint's count
 * (RFC 9126 §5).
 */
export const DESCRIBED_ENDPOINTS: ReadonlySet<string> = new Set([
  'token_endpoint',
  'introspection_endpoint',
  'revocation_endpoint',
]);

/**
 * The client that makes a request, authenticated, with what of its proof may be used once only.
 * @param options.publicClients whether `client_id` alone is enough for a public client
 * @throws OAuthError `invalid_request` for two methods at once, `invalid_client` for everything else
 */
export async function authenticateClient(
  request: EndpointRequest,
  server: AuthorizationServer,
  { publicClients }: { publicClients: boolean },
): Promise<{ client: Client; marks: readonly ReplayMark[] }> {
  if (request.authorization.length > 1) throw new OAuthError('invalid_request', 'More than one Authorization header.');
  const used: { method: ClientAuthenticationMethod; claim: ClaimedClient }[] = [];
  for (const method of server.registries.clientAuthenticationMethods.values()) {
    const claim = method.claims(request);
    if (claim) used.push({ method, claim });
  }
  const explicit = used.filter(({ method }) => !method.implicit);
  if (explicit.length > 1) throw new OAuthError('invalid_request', 'More than one client authentication method.');
  const named = request.parameters.get('client_id');
  const clientId = (explicit[0] ?? used[0])?.claim.clientId ?? named;
  const client = await findClient(server.catalogue, clientId);
  // A request with nothing but a client_id and a certificate may mean either: the registration says which.
  const chosen = explicit[0] ?? used.find(({ method }) => method.name === client?.authenticationMethod) ?? used[0];
  if (!chosen) {
    if (client) request.trace.clientId = client.id;
    throw refused(request, server, absence(client, server) ?? 'no client authentication');
  }
  const { method, claim } = chosen;
  request.trace.clientId = claim.clientId;
  if (request.authorization.length > 0 && !used.some(({ method: { usesHeader } }) => usesHeader))
    throw refused(request, server, 'an Authorization header, which no method offered here takes');
  // Where a public client proves nothing it counts as unknown, or the answer would tell that there is one.
  const registered = client?.authenticationMethod === method.name && (publicClients || !isPublic(client));
  const eligible = registered ? client : undefined;
  const marks = await claim.prove(eligible, server);
  if (!eligible) {
    const registeredFor = client && `registered for ${client.authenticationMethod}, not ${method.name}`;
    const unused = explicit.length === 0 ? absence(client, server) : undefined;
    throw refused(request, server, unused ?? registeredFor ?? 'unknown or disabled client');
  }
  if (!marks) throw refused(request, server, 'wrong or expired credentials');
  if (named !== undefined && named !== eligible.id) throw refused(request, server, 'client_id is another one');
  return { client: eligible, marks };
}

/** What the client's own method would have needed, of a request that uses none of its own accord. */
function absence(client: Client | undefined, { registries }: AuthorizationServer): string | undefined {
  if (!client) return undefined;
  const method = registries.clientAuthenticationMethods.get(client.authenticationMethod);
  return method ? method.absence : `registered for ${client.authenticationMethod}, which is not offered here`;
}

/** The client a request claims to come from, unproven; for the log and for CORS. */
export function claimedClientId(request: EndpointRequest, server: AuthorizationServer): string | undefined {
  for (const method of server.registries.clientAuthenticationMethods.values()) {
    const claim = method.claims(request);
    if (claim) return claim.clientId;
  }
  return undefined;
}

/** One answer for all; the reason is for the log. */
function refused(request: EndpointRequest, server: AuthorizationServer, reason: string): OAuthError {
  // The method knows better than we do, where it said so.
  request.trace.reason ??= reason;
  // RFC 6749 §5.2 demands the challenge for a client that used the header. Browser code did not, and there it would
  // only open the browser's own password box.
  const challenge = request.authorization.length > 0 || request.origin === undefined;
  return new OAuthError('invalid_client', 'Client authentication failed.', {
    headers: challenge ? { 'www-authenticate': `Basic realm="${server.issuer}", charset="UTF-8"` } : {},
  });
}
