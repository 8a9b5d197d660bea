/**
 * JWT authorization grants for other domains: draft-ietf-oauth-identity-chaining §2.3, RFC 7523 §3 as its revision narrows it. What the
 * client redeems there is a word of ours to that one authorization server, good for a minute.
 */

import type { MintedAccessToken } from '../../protocol/access-token.ts';
import { claimsOfAuthentication } from '../../protocol/authorization.ts';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import { type Call, claimsOfCall } from '../../protocol/call.ts';
import type { Confirmation } from '../../protocol/confirmation.ts';
import { AUTHORIZATION_GRANT_TYP } from '../../protocol/foreign-jwt.ts';
import { seconds, signJwt } from '../../protocol/jose.ts';
import { mintId } from '../../protocol/secrets.ts';
import type { TrustDomain } from '../../protocol/trust-domain.ts';
import type { SubjectToken } from './subject-token.ts';

/** Seconds: it is redeemed at once, or not. */
const LIFETIME = 60;

export interface Granted {
  readonly clientId: string;
  readonly subject: SubjectToken;
  readonly call: Call;
  readonly scope: readonly string[];
  /** The key it is bound to, so that what is made from it there is too. */
  readonly cnf: Confirmation | undefined;
  readonly expiresAt: Date;
}

/** Makes a grant for one domain. Signs; stores nothing. */
export async function mintAuthorizationGrant(
  { clientId, subject, call, scope, cnf, expiresAt: end }: Granted,
  domain: TrustDomain,
  now: Date,
  server: AuthorizationServer,
): Promise<MintedAccessToken> {
  const [alg] = server.profile.signingAlgs;
  if (alg === undefined) throw new Error('the profile names no signing algorithm');
  const jti = mintId(now, server.context.random);
  const expiresAt = new Date(Math.min(end.getTime(), now.getTime() + LIFETIME * 1000));
  const { authentication } = subject;
  const value = await signJwt(await server.keyring.signing(alg), AUTHORIZATION_GRANT_TYP, {
    iss: server.issuer,
    sub: call.subject,
    aud: domain.issuer,
    client_id: clientId,
    ...(scope.length > 0 && { scope: scope.join(' ') }),
    iat: seconds(now),
    exp: seconds(expiresAt),
    jti,
    ...claimsOfCall(jti, call, undefined),
    ...(cnf && { cnf }),
    ...claimsOfAuthentication(authentication),
  });
  return { value, jti, expiresAt, record: undefined };
}
