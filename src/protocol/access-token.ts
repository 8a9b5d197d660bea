/**
 * Access tokens in both forms: opaque reference tokens (RFC 6749 §1.4) and signed JWTs (RFC 9068), chosen by the
 * resource they are for. Made here, read here.
 */

import { type Authorization, authenticationOf, claimsOfAuthentication } from './authorization.ts';
import { openDetails } from './authorization-details.ts';
import type { AuthorizationServer } from './authorization-server.ts';
import { type Call, claimsOfCall, type MayAct, type Origin, subjectOfToken } from './call.ts';
import { NO_CLAIMS } from './claims-request.ts';
import { findClient } from './client.ts';
import type { Confirmation } from './confirmation.ts';
import type { AuthorizationDetail } from './details-type.ts';
import { seconds, signJwt, verifyOwnJwt } from './jose.ts';
import type { AccessTokenRecord, SignedToken, StandingToken } from './ledger.ts';
import { openCall } from './open-call.ts';
import { profileOf } from './profile.ts';
import type { Resources } from './resource.ts';
import { isUuid, mintCredential, mintId, parseCredential } from './secrets.ts';
import { openScope, type Target } from './target.ts';

/** RFC 9068 §2.1. */
const TYP = 'at+jwt';

export interface MintedAccessToken {
  readonly value: string;
  readonly jti: string;
  readonly expiresAt: Date;
  /** What must be stored; absent for a JWT. */
  readonly record: AccessTokenRecord | undefined;
}

/**
 * Makes an access token for one target. Signs where it must; stores nothing.
 * @param cnf the key it is bound to, if any
 */
export async function mintAccessToken(
  authorization: Authorization,
  target: Target,
  cnf: Confirmation | undefined,
  now: Date,
  server: AuthorizationServer,
): Promise<MintedAccessToken> {
  const { client, grantId, call } = authorization;
  const { lifetimes } = server.profile;
  const lifetime = client.accessTokenLifetime ?? target.resource?.accessTokenLifetime ?? lifetimes.accessToken;
  const end = now.getTime() + Math.min(lifetime, lifetimes.accessTokenMost) * 1000;
  const expiresAt = new Date(Math.min(end, authorization.expiresAt?.getTime() ?? end));
  // Without an API of its own the token is for us (userinfo), and we look it up anyway.
  if (target.resource?.accessTokenFormat !== 'jwt') {
    const kind = call ? 'exchanged_token' : 'access_token';
    const { value, id, hash } = mintCredential(kind, now, server.context.random);
    const { scope, authorizationDetails, audience } = target;
    return {
      value,
      jti: id,
      expiresAt,
      record: {
        id,
        hash,
        grantId,
        clientId: client.id,
        scope,
        authorizationDetails,
        audience,
        cnf,
        issuedAt: now,
        expiresAt,
      },
    };
  }
  // What the API was registered for under a laxer profile is not signed under its client's (FAPI 2.0 SP §5.4.1-1).
  const { signingAlgs } = profileOf(client, server.profile);
  const alg = signingAlgs.find((name) => name === target.resource?.signingAlg) ?? signingAlgs[0];
  if (alg === undefined) throw new Error('the profile names no signing algorithm');
  const { authentication } = authorization;
  const jti = mintId(now, server.context.random);
  const value = await signJwt(await server.keyring.signing(alg), TYP, {
    iss: server.issuer,
    sub: subjectOfToken(authorization, client, server),
    aud: target.audience.length === 1 ? target.audience[0] : target.audience,
    client_id: client.id,
    ...(target.scope.length > 0 && { scope: target.scope.join(' ') }),
    // RFC 9396 §9.1.
    ...(target.authorizationDetails.length > 0 && { authorization_details: target.authorizationDetails }),
    iat: seconds(now),
    exp: seconds(expiresAt),
    jti,
    ...claimsOfCall(jti, call, target.resource.mayAct),
    ...(grantId !== undefined && { grant_id: grantId }),
    ...(cnf && { cnf }),
    ...claimsOfAuthentication(authentication),
  });
  return { value, jti, expiresAt, record: undefined };
}

/**
 * Reads an access token that was presented to us and asks whether it stands, in one statement.
 * @returns `undefined` for unknown, expired, revoked, malformed and foreign tokens alike
 */
export async function readAccessToken(
  token: string,
  now: Date,
  server: AuthorizationServer,
): Promise<StandingToken | undefined> {
  const credential = parseCredential('access_token', token);
  if (credential) return withOpenAccess(await server.ledger.findAccessToken(credential, now), server);
  const exchanged = parseCredential('exchanged_token', token);
  if (exchanged) return withOpenAccess(await server.ledger.findExchanged(exchanged.id, exchanged.hash, now), server);
  const claims = await verifySignedToken(token, now, server);
  if (!claims) return undefined;
  if (claims.exchanged) {
    const standing = await server.ledger.findExchanged(claims.jti, undefined, now);
    return withOpenAccess(standing && { ...standing, mayAct: claims.mayAct }, server);
  }
  const confirmed = await server.ledger.confirm(claims, now);
  return withOpenAccess(confirmed && { ...claims, ...confirmed }, server);
}

/** A token with what of its access is open still; one with nothing left does not stand. From memory, no statement. */
export async function withOpenAccess(
  token: StandingToken | undefined,
  server: AuthorizationServer,
): Promise<StandingToken | undefined> {
  const client = token && (await findClient(server.catalogue, token.clientId));
  if (!client) return undefined;
  const resources = await server.catalogue.resources();
  const scope = token.call
    ? await openByPolicy(token.scope, token.call, resources, server)
    : openScope(token.scope, client, resources);
  const authorizationDetails = openDetails(token.authorizationDetails, client, resources);
  const isEmpty = scope.length + authorizationDetails.length === 0;
  const wasEmpty = token.scope.length + token.authorizationDetails.length === 0;
  if (isEmpty && !wasEmpty) return undefined;
  const mayAct = token.mayAct ?? mayActOf(token.audience, resources);
  return { ...token, scope, authorizationDetails, ...(mayAct && { mayAct }) };
}

/**
 * What was had by exchange is not the client's to ask for otherwise: it is open for as long as the first client may ask for what it
 * began with, and every policy on the way gives it.
 */
async function openByPolicy(
  granted: readonly string[],
  { hops }: Call,
  resources: Resources,
  { catalogue }: AuthorizationServer,
): Promise<string[]> {
  const policies = await catalogue.exchangePolicies();
  const firstId = hops[0]?.from?.client;
  const first = firstId === undefined ? undefined : await findClient(catalogue, firstId);
  const { scope } = openCall(
    hops,
    // What another domain said stays said.
    (from) => (from.client === undefined ? from.scope : first ? openScope(from.scope, first, resources) : []),
    policies,
    (token) => resources.isKnownScope(token),
  );
  return granted.filter((token) => scope.includes(token));
}

function mayActOf(audience: readonly string[], resources: Resources): MayAct | undefined {
  return audience.map((indicator) => resources.get(indicator)?.mayAct).find((mayAct) => mayAct !== undefined);
}

/**
 * Checks signature, type, issuer and expiry of one of our JWT access tokens; does not ask whether it was revoked.
 * @returns what it says; `exchanged` when it was made from another token, and stands with all it came from
 */
export async function verifySignedToken(
  token: string,
  now: Date,
  server: AuthorizationServer,
): Promise<(SignedToken & StandingToken & { readonly exchanged: boolean }) | undefined> {
  const findKey = await server.keyring.verifying();
  const { issuer, profile } = server;
  const claims = verifyOwnJwt(token, { typ: TYP, issuer, now, findKey, algs: profile.signingAlgs });
  if (!claims) return undefined;
  // We signed it, so its claims have the types we gave them.
  const {
    jti,
    client_id,
    scope,
    authorization_details,
    aud,
    iat,
    exp,
    grant_id,
    auth_time,
    acr,
    amr,
    cnf,
    origin,
    may_act,
  } = claims as {
    jti: string;
    client_id: string;
    scope?: string;
    authorization_details?: readonly AuthorizationDetail[];
    aud: string | string[];
    iat: number;
    exp: number;
    grant_id?: string;
    auth_time?: number;
    acr?: string;
    amr?: string[];
    cnf?: Confirmation;
    origin?: Origin;
    may_act?: MayAct;
  };
  // Even a stolen key makes no token that outlives what the store remembers.
  if (!isUuid(jti) || exp - iat > server.profile.lifetimes.accessTokenMost) return undefined;
  return {
    kind: 'access_token',
    jti,
    clientId: client_id,
    grantId: grant_id,
    scope: scope === undefined ? [] : scope.split(' ').filter((token) => token !== ''),
    authorizationDetails: authorization_details ?? [],
    audience: typeof aud === 'string' ? [aud] : aud,
    issuedAt: new Date(iat * 1000),
    expiresAt: new Date(exp * 1000),
    user: undefined,
    cnf,
    claims: NO_CLAIMS,
    exchanged: origin !== undefined,
    ...(may_act && { mayAct: may_act }),
    authentication: authenticationOf({ auth_time, acr, amr }),
  };
}
