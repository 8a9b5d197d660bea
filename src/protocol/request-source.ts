/**
 * What carries an authorization request: its own parameters, a request object (RFC 9101), or the address of a pushed one
 * (RFC 9126). One flat set comes out, and from there on nothing knows how it came.
 */
import type { AuthorizationServer } from './authorization-server.ts';
import type { Client } from './client.ts';
import { OAuthError } from './errors.ts';
import type { CarriedParameters } from './feature.ts';
import type { Parameters } from './message.ts';
import { profileOf } from './profile.ts';

/** Parameters that carry the others (RFC 9101 §5, OpenID Connect Core §6). */
export const SOURCES = ['request', 'request_uri'] as const;
const UNSUPPORTED = { request: 'request_not_supported', request_uri: 'request_uri_not_supported' } as const;

/**
 * The request itself, out of what carries it.
 * @param arrival where it arrived: at the authorization endpoint, or pushed there before (RFC 9126 §2)
 * @throws OAuthError also when it came another way than client and profile demand
 */
export async function unwrap(
  outer: Parameters,
  client: Client,
  arrival: 'authorization endpoint' | 'pushed',
  now: Date,
  server: AuthorizationServer,
): Promise<CarriedParameters> {
  const [name, another] = SOURCES.filter((source) => outer.get(source) !== undefined);
  if (another !== undefined) throw new OAuthError('invalid_request', 'request and request_uri exclude each other.');
  if (name === 'request_uri' && arrival === 'pushed')
    throw new OAuthError('invalid_request', 'A pushed request holds no request_uri.'); // RFC 9126 §2.1
  if (name !== 'request_uri' && arrival !== 'pushed' && mustPush(client, server))
    throw new OAuthError('invalid_request', 'The request must be pushed first.'); // RFC 9126 §5, §6
  // What was pushed was signed, or not, when it was pushed.
  if (name === undefined && client.metadata.require_signed_request_object === true)
    throw new OAuthError('invalid_request', 'The request must be a signed request object.'); // RFC 9101 §10.5
  if (name === undefined) return { parameters: outer };
  const source = server.registries.requestSources.get(name);
  if (!source) throw new OAuthError(UNSUPPORTED[name], `${name} is not supported.`);
  return source.read(outer, client, now, server);
}

function mustPush(client: Client, server: AuthorizationServer): boolean {
  return (
    client.metadata.require_pushed_authorization_requests === true ||
    profileOf(client, server.profile).requiresPushedRequests
  );
}
