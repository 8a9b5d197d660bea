/**
 * Which API a token is for and what it may do there: RFC 8707 §2.2, RFC 6749 §3.3 and §6. Narrows, never widens.
 *
 * One API, one token. Without `resource` the scopes name the API: one gives that audience, several need a `resource`
 * parameter (`invalid_target`), none gives the issuer itself. With `openid` the issuer is an audience too, so that
 * /userinfo takes the token.
 */
import type { Authorization } from './authorization.ts';
import type { Client } from './client.ts';
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
}

/** What of a granted scope is open still: an operator may have taken a scope from the client, or from the API, since. */
export function openScope(granted: readonly string[], client: Client, resources: Resources): string[] {
  return granted.filter((token) => client.scope.includes(token) && resources.isKnownScope(token));
}

/**
 * The target of one access token out of all an authorization allows.
 * @throws OAuthError `invalid_grant` when nothing of it is open any more, `invalid_scope` or `invalid_target` when the request asks for more than was granted, or does not
 *   say which of several APIs it means
 */
export function narrow(
  authorization: Authorization,
  parameters: Parameters,
  resources: Resources,
  issuer: string,
): Target {
  const granted = openScope(authorization.scope, authorization.client, resources);
  if (granted.length === 0 && authorization.scope.length > 0)
    throw new OAuthError('invalid_grant', 'Nothing of what was granted is offered any more.');
  const asked = parameters.get('scope');
  const scope = asked === undefined ? granted : parseScope(asked);
  if (!scope.every((token) => granted.includes(token))) {
    throw new OAuthError('invalid_scope', 'The scope goes beyond what was granted.');
  }
  const resource = chooseResource({ ...authorization, scope: granted }, scope, parameters.all('resource'), resources);
  const openid = scope.includes('openid');
  const carried = scope.filter((token) => {
    const owner = resources.ofScope(token);
    // The issuer's own scopes (profile, email …) are meaningful wherever the issuer is an audience.
    return owner === undefined ? openid || resource === undefined : owner === resource;
  });
  if (carried.length === 0) {
    throw new OAuthError('invalid_scope', 'No scope is left for the resource.');
  }
  const audience = [...(resource ? [resource.resource] : []), ...(openid || !resource ? [issuer] : [])];
  return { resource, audience, scope: carried };
}

function chooseResource(
  { client, scope: granted, resources: asked }: Authorization,
  scope: readonly string[],
  requested: readonly string[],
  resources: Resources,
): Resource | undefined {
  const named = new Set(scope.map((token) => resources.ofScope(token)).filter((resource) => resource !== undefined));
  const [first, ...more] = resources.require(requested, client.scope);
  if (more.length > 0) throw new OAuthError('invalid_target', 'A token is for one resource: name one.');
  if (first) {
    const allowed =
      asked.length > 0 ? asked.includes(first.resource) : granted.some((token) => resources.ofScope(token) === first);
    if (!allowed) throw new OAuthError('invalid_target', 'The resource goes beyond what was granted.');
    return first;
  }
  const [only, ...others] = asked.length > 0 ? resources.require(asked, client.scope) : named;
  if (others.length === 0) return only;
  // Several were granted, but what is asked for now may mean just one of them.
  const [meant, ...rest] = named;
  if (meant && rest.length === 0 && (asked.length === 0 || asked.includes(meant.resource))) return meant;
  throw new OAuthError('invalid_target', 'The grant covers several resources: name one with resource.');
}
