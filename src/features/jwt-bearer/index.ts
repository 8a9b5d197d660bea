/**
 * JWT authorization grants: another domain says who is calling, and its word is worth what a policy says. RFC 7521 §4.1, RFC 7523 §2.1, §3,
 * §3.1; draft-ietf-oauth-identity-chaining §2.4; ID-JAG §4.4. docs/identity-chaining.md has the reasons.
 *
 *   JWT ─▶ whose is it ─▶ key ─▶ target ─▶ policy ─▶ scope          nothing is written until it is spent, except who was refused
 *
 * Nobody of ours consented to anything, so the policy is the only bound, and default is deny. The token is a step of a call that
 * began elsewhere: it is kept with its story (exchanges), has no grant and no refresh token. An assertion is good once, and
 * only what spends it uses it up.
 */
import { ungrantedAuthorization } from '../../protocol/authorization.ts';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import type { Actor, Call } from '../../protocol/call.ts';
import { confirms } from '../../protocol/confirmation.ts';
import { type ErrorCode, OAuthError, type OAuthErrorOptions } from '../../protocol/errors.ts';
import { decide } from '../../protocol/exchange-decision.ts';
import { JWT_BEARER, knownOf, type Step, TOKEN_TYPES } from '../../protocol/exchanges.ts';
import type { Feature, TokenRequest, VerifiedGrant } from '../../protocol/feature.ts';
import { beginningOf, type ForeignJwt, readForeignJwt } from '../../protocol/foreign-jwt.ts';
import { JwtRefused } from '../../protocol/jose-client.ts';
import { allowedHop } from '../../protocol/open-call.ts';
import { profileOf } from '../../protocol/profile.ts';
import { replayMark } from '../../protocol/replay.ts';
import { parseScope } from '../../protocol/scope.ts';
import type { Target } from '../../protocol/target.ts';
import { chooseTarget } from './target.ts';

/** What the caller hears; nothing of it depends on what the assertion says. */
const REFUSALS: Partial<Record<ErrorCode, string>> = {
  invalid_grant: 'The assertion is not good.',
  invalid_target: 'The target is not open to this client with this assertion.',
  invalid_scope: 'The scope goes beyond what this assertion gives.',
  unauthorized_client: 'No policy lets this client use assertions.',
};

export function jwtBearer(): Feature {
  return {
    name: 'jwt-bearer',
    grantTypes: [{ name: JWT_BEARER, verify }],
    // RFC 7523 §3.1 lets anybody present an assertion. Whoever steals one shall need a client's key as well (ID-JAG §7.1).
    checkClientMetadata: ({ grant_types, token_endpoint_auth_method: method }) =>
      (grant_types as string[]).includes(JWT_BEARER) && method === 'none'
        ? { field: 'grant_types', why: `${JWT_BEARER} needs a client that authenticates` }
        : undefined,
  };
}

async function verify(request: TokenRequest, server: AuthorizationServer): Promise<VerifiedGrant> {
  const { client, parameters, possession, now } = request;
  const text = parameters.get('scope');
  const asked = text === undefined ? undefined : parseScope(text);
  if (parameters.get('authorization_details') !== undefined)
    throw new OAuthError('invalid_authorization_details', 'An assertion gives no authorization_details.');
  const jwt = await read(request, server);
  const [policies, resources] = [await server.catalogue.exchangePolicies(), await server.catalogue.resources()];
  const { act, ...beginning } = beginningOf(jwt, JWT_BEARER);
  const { issuer: source } = jwt.domain;

  const target = chooseTarget(parameters, jwt, policies.of(client.id));
  const step: Step = {
    ...beginning,
    parent: jwt.jti,
    clientId: client.id,
    userId: undefined,
    grantId: undefined,
    hops: [],
    source,
    target: target ?? '',
    requestId: request.id,
  };
  const refuse = async (rule: string, code: ErrorCode): Promise<never> => {
    request.trace.reason = rule;
    const known = await knownOf({ target, scope: asked ?? [], clientId: client.id }, server.catalogue);
    await server.exchanges.refuse({ ...step, ...known, rule }, now);
    throw new OAuthError(code, REFUSALS[code] ?? 'Refused.');
  };

  // ID-JAG §4.4.1. Elsewhere `client_id` is who asked for it there (RFC 8693 §4.3), which is no name of ours.
  if (jwt.namesOurClient && jwt.clientId !== client.id) return refuse('client_id', 'invalid_grant');
  if (jwt.cnf && !confirms(possession, jwt.cnf)) return refuse('possession', 'invalid_grant');
  const resource = target === undefined ? undefined : resources.get(target);
  const decision = decide(
    {
      clientId: client.id,
      actor: { sub: client.id },
      audience: [source],
      subjectScope: jwt.scope,
      mayAct: jwt.mayAct,
      target: target ?? '',
      scope: asked,
      offered: resource && Object.keys(resource.scopes),
      hops: [],
      issuer: server.issuer,
    },
    policies,
  );
  if (!decision.allowed) {
    // RFC 7521 §4.1.1: an assertion that is not this client's to use is not good. `invalid_request` is token exchange's word.
    return refuse(decision.rule, decision.error === 'invalid_request' ? 'invalid_grant' : decision.error);
  }
  // A policy may outlive its API, and lead to another domain: from here there is no grant to be had for that one.
  if (!resource) return refuse('target', 'invalid_target');
  const { policy, scope } = decision;

  const call: Call = {
    ...beginning,
    act: policy.mode === 'impersonation' ? act : actingClient(client.id, act),
    hops: [allowedHop(policy, scope, { scope: jwt.scope })],
    lineage: [],
    clients: [client.id],
    actorGrants: [],
  };
  const access: Target = { resource, audience: [resource.resource], scope, authorizationDetails: [] };
  return {
    authorization: ungrantedAuthorization(client, {
      authentication: jwt.authentication,
      scope,
      resources: [resource.resource],
      call,
      // The assertion lives a minute so that nobody can use it later, not because the person goes away then: the token may
      // outlive it, by what the policy says, which is minutes (RFC 7521 §4.1).
      expiresAt: new Date(now.getTime() + policy.lifetime * 1000),
    }),
    target: access,
    newRefreshToken: false,
    async spend(minted) {
      const marks = [...minted.marks, markOf(jwt)];
      const { audience } = access;
      const allowed = { ...step, call, scope, audience, cnf: possession?.cnf, authentication: jwt.authentication };
      const used = await server.exchanges.record(
        { ...allowed, issuedTokenType: TOKEN_TYPES.access_token },
        { ...minted, marks },
        now,
      );
      if (used) throw used.refusal;
      return {};
    },
  };
}

async function read({ client, parameters, now, trace }: TokenRequest, server: AuthorizationServer) {
  const assertion = parameters.get('assertion');
  if (assertion === undefined) throw new OAuthError('invalid_request', 'assertion is required.');
  try {
    return await readForeignJwt(assertion, now, server, profileOf(client, server.profile));
  } catch (error) {
    if (!(error instanceof JwtRefused)) throw error;
    trace.reason = `assertion: ${error.message}`;
    throw notGood({ cause: error });
  }
}

/** RFC 8693 §4.1: who acted before stands within. */
function actingClient(sub: string, before: Actor | undefined): Actor {
  return { sub, ...(before && { act: before }) };
}

/** RFC 7523 §3-7: a `jti` is its issuer's, whoever presents it. */
function markOf({ domain, jti, expiresAt }: ForeignJwt) {
  return replayMark(
    'authorization grant',
    domain.issuer,
    jti,
    expiresAt,
    notGood({ reason: 'assertion: it was used' }),
  );
}

function notGood(why: OAuthErrorOptions): OAuthError {
  return new OAuthError('invalid_grant', REFUSALS.invalid_grant ?? '', why);
}
