/**
 * Profiles are data: what a deployment offers and demands, each value with the clause it comes from. What a profile
 * omits is never registered, so it is neither served nor announced. No profile's name occurs outside this file.
 */
import type { SigningAlg } from './jose.ts';

export interface Profile {
  readonly name: string;
  /** Grant types that may be registered and used. */
  readonly grantTypes: readonly string[];
  readonly clientAuthenticationMethods: readonly string[];
  /** Algorithms we sign with; the first is the default of JWT access tokens. */
  readonly signingAlgs: readonly SigningAlg[];
  readonly idTokenAlg: SigningAlg;
  /** Algorithms clients sign with: assertions and request objects. */
  readonly clientSigningAlgs: readonly SigningAlg[];
  /** Whether a confidential client may be registered without PKCE (`require_pkce: false`). */
  readonly pkceMayBeWaived: boolean;
  /** Which clients' refresh tokens are replaced at each use. */
  readonly rotateRefreshTokensOf: 'public clients' | 'nobody';
  /** All in seconds. */
  readonly lifetimes: {
    readonly authorizationCode: number;
    readonly accessToken: number;
    readonly accessTokenMost: number;
    readonly idToken: number;
    /** Unused for this long, a refresh token ends. */
    readonly refreshTokenIdle: number;
    /** However used, it ends; rotation never extends it. */
    readonly refreshTokenAbsolute: number;
    /** After its first use, a rotated refresh token still gives its one successor for this long. */
    readonly refreshRetryWindow: number;
    readonly interaction: number;
    readonly sessionIdle: number;
    readonly signIn: number;
  };
}

const lifetimes = {
  authorizationCode: 60, // FAPI 2.0 SP §5.3.2.1-11, taken for all
  accessToken: 300,
  accessTokenMost: 3600, // the store keeps revocation marks and opaque tokens for two hours
  idToken: 300,
  refreshTokenIdle: 14 * 86_400, // OAuth 2.1 §4.3.1: SHOULD expire when unused
  refreshTokenAbsolute: 90 * 86_400,
  refreshRetryWindow: 10,
  interaction: 15 * 60,
  sessionIdle: 8 * 3600,
  signIn: 12 * 3600,
} as const;

/** OAuth 2.1 with OpenID Connect: the default. */
export const oauth21: Profile = {
  name: 'oauth21',
  grantTypes: ['authorization_code', 'refresh_token', 'client_credentials'], // OAuth 2.1 §4; no password, no implicit
  clientAuthenticationMethods: ['client_secret_basic', 'client_secret_post', 'none'], // OAuth 2.1 §2.4
  signingAlgs: ['ES256', 'RS256', 'PS256', 'EdDSA'],
  idTokenAlg: 'RS256', // OpenID Connect Core §15.1, Registration §2
  clientSigningAlgs: ['ES256', 'RS256', 'PS256', 'EdDSA'], // OpenID Connect Core §6.1, RFC 8725 §3.2
  pkceMayBeWaived: true, // OpenID Connect Core knows no PKCE; OAuth 2.1 §7.5.1 lets a confidential client rely on nonce
  rotateRefreshTokensOf: 'public clients', // OAuth 2.1 §4.3.1
  lifetimes,
};

export const profiles: readonly Profile[] = [oauth21];
