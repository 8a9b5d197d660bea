/**
 * Which API a token is for and what it may do there: RFC 8707 §2.2, RFC 6749 §3.3 and §6, RFC 9396 §6. Narrows, never widens.
 *
 * One API, one token. Without `resource` the scopes and types of authorization details name the API: one gives that audience, several need a `resource`
 * parameter (`invalid_target`), none gives the issuer itself. With `openid` the issuer is an audience too, so that
 * /userinfo takes the token.
 */
import type { Authorization } from './authorization.ts';
import { openDetails, parseAuthorizationDetails, resourcesOf, withinGranted } from './authorization-details.ts';
import type { Client } from './client.ts';
import type { AuthorizationDetail } from './details-type.ts';
import { OAuthError } from './errors.ts';
import type { Parameters } from './message.ts';
import type { Resource, Resources } from './resource.ts';
import { parseScope } from './scope.ts';

export interface Target {
  /** `undefined`: the issuer itself. */
  readonly resource: Resource | undefined;
  readonly audience: readonly string[];
  /** What the token carries: meaningful at its audience, every one of it (RFC 9068 §3). */
  readonly scope: readonly string[];
  /** Those of its API. */
  readonly authorizationDetails: readonly AuthorizationDetail[];
}

/** What of a granted scope is open still: an operator may have taken a scope from the client, or from the API, since. */
export function openScope(granted: readonly string[], client: Client, resources: Resources): string[] {
  return granted.filter((token) => client.scope.includes(token) && resources.isKnownScope(token));
}

/**
 * The target of one access token out of all an authorization allows.
 * @throws OAuthError `invalid_grant` when nothing of it is open any more, `invalid_scope`, `invalid_authorization_details` or
 *   `invalid_target` when the request asks for more than was granted, or does not say which of several APIs it means
 */
export function narrow(
  authorization: Authorization,
  parameters: Parameters,
  resources: Resources,
  issuer: string,
): Target {
  const open = openAccess(authorization, resources);
  const asked = askedAccess(parameters, open, resources);
  const { scope = open.scope, details = open.authorizationDetails } = asked;
  const resource = chooseResource(open, asked, parameters.all('resource'), resources);
  const openid = scope.includes('openid');
  const carried = scope.filter((token) => {
    const owner = resources.ofScope(token);
    // The issuer's own scopes (profile, email …) are meaningful wherever the issuer is an audience.
    return owner === undefined ? openid || resource === undefined : owner === resource;
  });
  // No API learns what was allowed at another one (RFC 9396 §9, §13).
  const authorizationDetails = details.filter(
    ({ type }) => resource !== undefined && resources.ofType(type)?.resource === resource.resource,
  );
  if (asked.details && authorizationDetails.length < asked.details.length)
    throw new OAuthError('invalid_authorization_details', 'The authorization_details are not of the API of the token.');
  if (carried.length + authorizationDetails.length === 0)
    throw new OAuthError('invalid_scope', 'No scope is left for the resource.');
  const audience = [...(resource ? [resource.resource] : []), ...(openid || !resource ? [issuer] : [])];
  return { resource, audience, scope: carried, authorizationDetails };
}

/** What of an authorization is open still. */
function openAccess(authorization: Authorization, resources: Resources): Authorization {
  const { client } = authorization;
  const scope = openScope(authorization.scope, client, resources);
  const authorizationDetails = openDetails(authorization.authorizationDetails, client, resources);
  const before = authorization.scope.length + authorization.authorizationDetails.length;
  if (before > 0 && scope.length + authorizationDetails.length === 0)
    throw new OAuthError('invalid_grant', 'Nothing of what was granted is offered any more.');
  return { ...authorization, scope, authorizationDetails };
}

/** What the request names; either may be left out, and means all that was granted then. */
interface Asked {
  readonly scope?: readonly string[];
  readonly details?: readonly AuthorizationDetail[];
}

function askedAccess(parameters: Parameters, granted: Authorization, resources: Resources): Asked {
  const text = parameters.get('scope');
  const scope = text === undefined ? undefined : parseScope(text);
  if (scope?.every((token) => granted.scope.includes(token)) === false)
    throw new OAuthError('invalid_scope', 'The scope goes beyond what was granted.');
  const parsed = parseAuthorizationDetails(parameters.get('authorization_details'), granted.client, resources);
  const details = parsed && withinGranted(parsed, granted.authorizationDetails);
  return { ...(scope && { scope }), ...(details && { details }) };
}

function chooseResource(
  { client, scope, authorizationDetails, resources: before }: Authorization,
  asked: Asked,
  requested: readonly string[],
  resources: Resources,
): Resource | undefined {
  const { authorizationDetailsTypes: types } = client;
  const detailed = resourcesOf(authorizationDetails, resources);
  // Where the request names anything, that says what it means; else everything that was granted does.
  const namesNothing = asked.scope === undefined && asked.details === undefined;
  const named = new Set([
    ...ownersOf(asked.scope ?? (namesNothing ? scope : []), resources),
    ...(asked.details ? resourcesOf(asked.details, resources) : namesNothing ? detailed : []),
  ]);
  const isGranted = (resource: Resource) =>
    detailed.has(resource) ||
    (before.length > 0 ? before.includes(resource.resource) : ownersOf(scope, resources).has(resource));
  const [first, ...more] = resources.require(requested, client.scope, types);
  if (more.length > 0) throw new OAuthError('invalid_target', 'A token is for one resource: name one.');
  if (first) {
    if (!isGranted(first)) throw new OAuthError('invalid_target', 'The resource goes beyond what was granted.');
    return first;
  }
  const [only, ...others] =
    before.length > 0 ? new Set([...resources.require(before, client.scope, types), ...detailed]) : named;
  if (others.length === 0) return only;
  // Several were granted, but what is asked for now may mean just one of them.
  const [meant, ...rest] = named;
  if (meant && rest.length === 0 && isGranted(meant)) return meant;
  throw new OAuthError('invalid_target', 'The grant covers several resources: name one with resource.');
}

function ownersOf(scope: readonly string[], resources: Resources): ReadonlySet<Resource> {
  return new Set(scope.map((token) => resources.ofScope(token)).filter((resource) => resource !== undefined));
}
