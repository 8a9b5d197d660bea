/**
 * An authorization: who may have what, through which client, since when. What a grant type verifies and what tokens are
 * minted from. In the store its root is the *grant*: one row for one authorization, named by every code, refresh token
 * and access token that comes from it, so that one revoked row ends them all.
 */

import type { Call } from './call.ts';
import type { User } from './claims.ts';
import { type ClaimsRequest, NO_CLAIMS } from './claims-request.ts';
import type { Client } from './client.ts';
import type { AuthorizationDetail } from './details-type.ts';
import { seconds } from './jose.ts';

/** How and when the user proved who they are; later tokens repeat it and never raise it (RFC 9068 §2.2.1). */
export interface Authentication {
  readonly time: Date;
  readonly acr: string;
  /** RFC 8176. */
  readonly amr: readonly string[];
}

/** OpenID Connect Core §2, RFC 9068 §2.2.1, RFC 9470 §6. */
export function claimsOfAuthentication(authentication: Authentication | undefined): Record<string, unknown> {
  if (!authentication) return {};
  const { time, acr, amr } = authentication;
  return { auth_time: seconds(time), acr, amr };
}

/** What such claims said, where they are our own word. */
export function authenticationOf({
  auth_time,
  acr = '',
  amr = [],
}: {
  readonly auth_time: number | undefined;
  readonly acr: string | undefined;
  readonly amr: readonly string[] | undefined;
}): Authentication | undefined {
  return auth_time === undefined ? undefined : { time: new Date(auth_time * 1000), acr, amr };
}

export interface Authorization {
  /** Absent where a client acts for itself: nothing outlives its access token. */
  readonly grantId: string | undefined;
  readonly client: Client;
  /** Absent where a client acts for itself, and for people of other domains (call.ts). */
  readonly user: User | undefined;
  readonly authentication: Authentication | undefined;
  /** The sign-in it came from; what a client knows of it is its `sid` (session.ts). */
  readonly signInId: string | undefined;
  /** Claims that were asked for by name, and allowed. */
  readonly claims: ClaimsRequest;
  /** Everything that was granted; a token may carry less. */
  readonly scope: readonly string[];
  /** Granted beside the scope (RFC 9396); a token carries those of its API, or fewer. */
  readonly authorizationDetails: readonly AuthorizationDetail[];
  /** Resources asked for at the authorization endpoint; none means: those the scopes name. */
  readonly resources: readonly string[];
  /** Copied into the ID token of the authorization code (OpenID Connect Core §2). */
  readonly nonce: string | undefined;
  /** What is known of it where it was made from another token (RFC 8693). */
  readonly call?: Call;
  /** Nothing that comes from it lives longer. */
  readonly expiresAt: Date | undefined;
}

/**
 * An authorization that no person has given in so many words: a client’s own, or what was made from another token.
 * @param known what there is of it
 */
export function ungrantedAuthorization(client: Client, known: Partial<Authorization>): Authorization {
  return {
    grantId: undefined,
    client,
    user: undefined,
    authentication: undefined,
    signInId: undefined,
    claims: NO_CLAIMS,
    scope: [],
    authorizationDetails: [],
    resources: [],
    nonce: undefined,
    expiresAt: undefined,
    ...known,
  };
}
