/**
 * JWT access tokens, RFC 9068 §4, under the advice of RFC 8725: the algorithm is taken from a list before any key is
 * looked up, the key from the issuer's JWKS alone (`jku`, `x5u` and `jwk` of the header are never read), and the kind of
 * token from `typ`, so that an ID token or a logout token signed by the same issuer opens nothing here.
 *
 * Keys are fetched at first need, kept for ten minutes, and fetched again for a `kid` that is not among them: at most
 * once in thirty seconds, so that invented ids do not turn this API into a weapon against its issuer.
 *
 * Deliberately not done: asking whether the token was revoked. A signature cannot tell; a revoked token lives to its
 * `exp`. An API that cannot wait for that uses introspection.
 */
import { createRemoteJWKSet, errors, type JWTVerifyGetKey, jwtVerify } from 'jose';
import { type AccessToken, CLOCK_TOLERANCE, judgeClaims } from './access-token.ts';
import { metadataOf } from './authorization-server.ts';
import { requireSecureUrl } from './json-exchange.ts';
import { AuthorizationServerUnavailable, InvalidToken } from './refusal.ts';

/** Asymmetric ones only: with HS256 in the list, the issuer's public key would be a key to sign with. */
const ALGORITHMS = ['ES256', 'RS256', 'PS256', 'EdDSA', 'Ed25519'];

/** RFC 9068 §2.2 */
const REQUIRED = ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti'];

/**
 * @returns a function from the text of a token to what it says; it throws InvalidToken or AuthorizationServerUnavailable
 */
export function jwtAccessTokens(
  issuer: string,
  resource: string,
  timeoutSeconds: number,
): (token: string) => Promise<AccessToken> {
  const keys = issuerKeys(issuer, timeoutSeconds);

  return async (token) => {
    const options = { typ: 'at+jwt', algorithms: ALGORITHMS, clockTolerance: CLOCK_TOLERANCE };
    const { payload } = await jwtVerify(token, keys, options).catch((error: unknown) => {
      if (error instanceof errors.JOSEError) throw new InvalidToken(describe(error), { cause: error });
      // jose's word for a key that must not be used, such as RSA under 2048 bits: the fault of whoever published it.
      if (error instanceof TypeError)
        throw new AuthorizationServerUnavailable(`A key of ${issuer} is unfit`, { cause: error });
      throw error;
    });
    return judgeClaims(payload, { issuer, resource, required: REQUIRED, now: Math.floor(Date.now() / 1000) });
  };
}

/** The key of a token's header, out of the JWKS that the metadata names at the time. */
function issuerKeys(issuer: string, timeoutSeconds: number): JWTVerifyGetKey {
  const metadata = metadataOf(issuer, timeoutSeconds);
  let set: { readonly uri: string; readonly find: JWTVerifyGetKey } | undefined;

  return async (header, token) => {
    const { jwks_uri } = await metadata();
    try {
      const uri = requireSecureUrl("The issuer's jwks_uri", jwks_uri);
      if (set?.uri !== uri.href) {
        const timeoutDuration = Math.ceil(timeoutSeconds * 1000);
        set = { uri: uri.href, find: createRemoteJWKSet(uri, { timeoutDuration }) };
      }
      return await set.find(header, token);
    } catch (cause) {
      // Only these two are about the token; whatever else fails here, fetching or reading the keys has failed.
      if (cause instanceof errors.JWKSNoMatchingKey || cause instanceof errors.JWKSMultipleMatchingKeys) throw cause;
      throw new AuthorizationServerUnavailable(`The keys of ${issuer} cannot be read`, { cause });
    }
  };
}

function describe(error: errors.JOSEError): string {
  if (error instanceof errors.JWTExpired) return 'The access token has expired';
  if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'typ') return 'This is not an access token';
  if (error instanceof errors.JWTClaimValidationFailed) return 'A time in the access token is wrong or not reached';
  if (error instanceof errors.JOSEAlgNotAllowed)
    return 'The access token is signed with an algorithm not accepted here';
  return 'The access token is malformed or not signed by its issuer';
}
