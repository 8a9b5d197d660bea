/**
 * The ledger: what was issued and whether it still stands. Several rooms need it (introspection, userinfo, revocation,
 * all grants), so it is the kernel's; src/postgres/ledger.pg.ts keeps it.
 *
 * "Stands" is asked of every root in the same statement: the token, its grant, the consent behind it, the user, the
 * client, and for session-bound grants the sign-in. Each of them ends all its tokens by one row.
 */
import type { Authentication } from './authorization.ts';
import type { Call, MayAct } from './call.ts';
import type { User } from './claims.ts';
import type { ClaimsRequest } from './claims-request.ts';
import type { Confirmation } from './confirmation.ts';
import type { AuthorizationDetail } from './details-type.ts';
import type { ReplayMark } from './replay.ts';
import type { Credential } from './secrets.ts';

/** An opaque access token as it is stored; JWT access tokens are not. */
export interface AccessTokenRecord {
  readonly id: string;
  readonly hash: Buffer;
  readonly grantId: string | undefined;
  readonly clientId: string;
  readonly scope: readonly string[];
  readonly authorizationDetails: readonly AuthorizationDetail[];
  readonly audience: readonly string[];
  /** The key it is bound to. */
  readonly cnf: Confirmation | undefined;
  readonly issuedAt: Date;
  readonly expiresAt: Date;
}

/** A new refresh token as it is stored. */
export interface RefreshTokenRecord {
  readonly id: string;
  readonly hash: Buffer;
  readonly scope: readonly string[];
  /** The key a public client must show with it. */
  readonly cnf: Confirmation | undefined;
  readonly issuedAt: Date;
  /** The end of its idle time. */
  readonly expiresAt: Date;
}

/** A token that stands, with all that introspection and userinfo may tell of it. */
export interface StandingToken {
  readonly kind: 'access_token' | 'refresh_token';
  readonly jti: string;
  readonly grantId: string | undefined;
  readonly clientId: string;
  readonly scope: readonly string[];
  /** RFC 9396: of an access token those of its API, of a refresh token all that were granted. */
  readonly authorizationDetails: readonly AuthorizationDetail[];
  readonly audience: readonly string[];
  readonly issuedAt: Date;
  readonly expiresAt: Date;
  readonly user: User | undefined;
  readonly cnf: Confirmation | undefined;
  readonly authentication: Authentication | undefined;
  /** Claims that were asked for by name (OpenID Connect Core §5.5). */
  readonly claims: ClaimsRequest;
  /** Where it was made from another token (RFC 8693). */
  readonly call?: Call | undefined;
  /** Who alone may act with it (RFC 8693 §4.4). */
  readonly mayAct?: MayAct | undefined;
}

/** What a signed access token says of itself, to be confirmed. */
export interface SignedToken {
  readonly jti: string;
  readonly grantId: string | undefined;
  readonly clientId: string;
}

/** What became of a revocation: a token of another client is left alone (RFC 7009 §2.1). */
export type Revocation = 'revoked' | 'foreign' | 'unknown';

export interface Ledger {
  /**
   * Records an opaque access token for which nothing is spent, unless one of the marks was used before. One statement; none
   * when there is nothing to record and to claim.
   */
  record(token: AccessTokenRecord | undefined, marks: readonly ReplayMark[]): Promise<ReplayMark | undefined>;
  /** A standing opaque access token. One statement. */
  findAccessToken(credential: Credential, now: Date): Promise<StandingToken | undefined>;
  /**
   * A standing access token that was made from another one: with it stand all it came from, their grants, and every client it
   * went through, whatever the depth. One statement.
   * @param hash of an opaque one; `undefined` for a signed one, whose signature is proven
   */
  findExchanged(jti: string, hash: Buffer | undefined, now: Date): Promise<StandingToken | undefined>;
  /** A standing refresh token (for its own client's introspection). One statement. */
  findRefreshToken(credential: Credential, now: Date): Promise<StandingToken | undefined>;
  /** Whether a signed access token still stands, and for whom. One statement. */
  confirm(token: SignedToken, now: Date): Promise<Pick<StandingToken, 'user' | 'claims'> | undefined>;

  /** Ends one opaque access token, and with it all that was made from it. */
  revokeAccessToken(credential: Credential, clientId: string, now: Date): Promise<Revocation>;
  /** Ends one opaque access token that was made from another one. */
  revokeExchanged(credential: Credential, clientId: string, now: Date): Promise<Revocation>;
  /** Ends one signed access token: a mark that lasts as long as the token could. */
  revokeSigned(token: SignedToken, clientId: string, now: Date): Promise<Revocation>;
  /** Ends the grant of a refresh token, and so all its tokens. */
  revokeRefreshToken(credential: Credential, clientId: string, now: Date): Promise<Revocation>;
  /** Ends a grant and all that came from it. */
  revokeGrant(grantId: string, reason: string, now: Date): Promise<void>;
}
