/**
 * Profiles are data: what a deployment offers and demands, each value with the clause it comes from. What a profile
 * omits is never registered, so it is neither served nor announced. Outside this file only the configuration names one.
 */
import type { SigningAlg } from './jose.ts';
import type { DecryptionAlg } from './jose-decryption.ts';

export interface Profile {
  readonly name: string;
  /** The documents whose clauses it is checked by (profile-rules.ts): those it holds a deployment to. */
  readonly documents: readonly string[];
  /** Grant types that may be registered and used. */
  readonly grantTypes: readonly string[];
  readonly clientAuthenticationMethods: readonly string[];
  /** Algorithms we sign with; the first is the default of JWT access tokens. */
  readonly signingAlgs: readonly SigningAlg[];
  readonly idTokenAlg: SigningAlg;
  /** Algorithms clients sign with: assertions, request objects and DPoP proofs. */
  readonly clientSigningAlgs: readonly SigningAlg[];
  /** Algorithms clients encrypt to us with: request objects. */
  readonly decryptionAlgs: readonly DecryptionAlg[];
  /** Response modes that may be registered and used. */
  readonly responseModes: readonly string[];
  /** Whether requests must be pushed (RFC 9126 §5) and name their redirect URI. */
  readonly requiresPushedRequests: boolean;
  /** Whether tokens must be bound to a key. */
  readonly requiresSenderConstraint: boolean;
  /** Whether each client must sign requests, or have responses or introspection signed: at least one of the three. */
  readonly requiresMessageSigning: boolean;
  /** Whether request objects must say for whom and from when they are good. Until when, an hour at most, they always must. */
  readonly requiresRequestObjectTimes: boolean;
  /** The form `aud` of a client assertion must have; endpoint addresses only where a client is registered so. */
  readonly assertionAudience: 'the issuer as a string' | 'the issuer';
  /** Which clients may have http redirect URIs, on loopback. */
  readonly loopbackRedirectsOf: 'all clients' | 'native clients';
  /** Whether browser code of clients may read our answers (CORS) and look after sessions in a frame. */
  readonly browserClients: boolean;
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

const grants = [
  'authorization_code',
  'refresh_token',
  'client_credentials',
  'urn:ietf:params:oauth:grant-type:token-exchange', // RFC 8693
  'urn:ietf:params:oauth:grant-type:jwt-bearer', // RFC 7523 §2.1
] as const;

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
  documents: ['OAuth 2.1', 'RFC 7517', 'RFC 7518', 'RFC 8725'],
  grantTypes: grants, // OAuth 2.1 §4; no password, no implicit
  clientAuthenticationMethods: [
    'client_secret_basic',
    'client_secret_post',
    'private_key_jwt',
    'tls_client_auth',
    'self_signed_tls_client_auth',
    'none',
  ], // OAuth 2.1 §2.4, RFC 8705 §2
  signingAlgs: ['ES256', 'RS256', 'PS256', 'EdDSA'],
  idTokenAlg: 'RS256', // OpenID Connect Core §15.1, Registration §2
  clientSigningAlgs: ['ES256', 'RS256', 'PS256', 'EdDSA'], // OpenID Connect Core §6.1, RFC 8725 §3.2
  decryptionAlgs: ['RSA-OAEP-256', 'ECDH-ES'], // RFC 8725 §3.2: no RSA1_5
  responseModes: ['query', 'form_post', 'jwt', 'query.jwt', 'form_post.jwt', 'fragment.jwt'],
  requiresPushedRequests: false,
  requiresSenderConstraint: false,
  requiresMessageSigning: false,
  requiresRequestObjectTimes: false,
  assertionAudience: 'the issuer', // RFC 7523bis §4
  loopbackRedirectsOf: 'all clients',
  browserClients: true,
  pkceMayBeWaived: true, // OpenID Connect Core knows no PKCE; OAuth 2.1 §7.5.1 lets a confidential client rely on nonce
  rotateRefreshTokensOf: 'public clients', // OAuth 2.1 §4.3.1
  lifetimes,
};

/** FAPI 2.0 Security Profile, Final. */
export const fapi2Security: Profile = {
  name: 'fapi2-security',
  documents: ['FAPI 2.0 SP', 'JARM'],
  grantTypes: grants, // §5.3.2.1-2
  clientAuthenticationMethods: ['private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth'], // §5.3.2.1-3, -6
  signingAlgs: ['PS256', 'ES256', 'EdDSA'], // §5.4.1-1
  idTokenAlg: 'PS256',
  clientSigningAlgs: ['PS256', 'ES256', 'EdDSA'], // §5.4.1-1
  decryptionAlgs: ['RSA-OAEP-256', 'ECDH-ES'], // §5.4.1: nothing is said of encryption but BCP 225 (RFC 8725)
  responseModes: ['query', 'form_post', 'jwt', 'query.jwt', 'form_post.jwt'],
  requiresPushedRequests: true, // §5.3.2.2-3, -6
  requiresSenderConstraint: true, // §5.3.2.1-4
  requiresMessageSigning: false,
  requiresRequestObjectTimes: true, // Message Signing §5.3.1-3, -4
  assertionAudience: 'the issuer as a string', // §5.3.2.1-8
  loopbackRedirectsOf: 'native clients', // §5.3.2.2-8
  browserClients: false, // §5.2.3-3, and public clients are none (§5.3.2.1-3)
  pkceMayBeWaived: false, // §5.3.2.2-5
  rotateRefreshTokensOf: 'nobody', // §5.3.2.1-9
  lifetimes,
};

/** FAPI 2.0 Message Signing, Final: the same, and something signed for the record. */
export const fapi2MessageSigning: Profile = {
  ...fapi2Security,
  name: 'fapi2-message-signing',
  documents: [...fapi2Security.documents, 'FAPI 2.0 MS'],
  requiresMessageSigning: true,
};

/** Each stricter than the one before: `profileOf` and the rules (profile-rules.ts) go by that. */
export const profiles: readonly Profile[] = [oauth21, fapi2Security, fapi2MessageSigning];

/** The profile a client is held to: the server's, or a stricter one that the client is registered for (`profile`). */
export function profileOf(client: { readonly metadata: Readonly<Record<string, unknown>> }, own: Profile): Profile {
  const named = profiles.find(({ name }) => name === client.metadata.profile);
  return named !== undefined && profiles.indexOf(named) > profiles.indexOf(own) ? named : own;
}
