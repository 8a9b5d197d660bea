/**
 * JWT access tokens, RFC 9068 §4, under the advice of RFC 8725: the algorithm is taken from a list before any key is
 * looked up, the key from the issuer's JWKS alone (`jku`, `x5u` and `jwk` of the header are never read), and the kind of
 * token from `typ`, so that an ID token or a logout token signed by the same issuer opens nothing here.
 *
 * Deliberately not done: asking whether the token was revoked. A signature cannot tell; a revoked token lives to its
 * `exp`. An API that cannot wait for that uses introspection.
 */
import { errors, jwtVerify } from 'jose';
import { type AccessToken, CLOCK_TOLERANCE, judgeClaims } from './access-token.ts';
import { metadataOf } from './authorization-server.ts';
import { issuerKeys } from './issuer-keys.ts';
import type { Settings } from './options.ts';
import { InvalidToken, NoVerdict } from './refusal.ts';

/** RFC 9068 §2.2 */
const REQUIRED = ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti'];

/**
 * @returns a function from the text of a token to what it says; it throws InvalidToken or NoVerdict
 */
export function jwtAccessTokens({
  issuer,
  resource,
  algorithms,
  timeoutSeconds,
}: Settings): (token: string) => Promise<AccessToken> {
  const keys = issuerKeys(issuer, metadataOf(issuer, timeoutSeconds), timeoutSeconds);

  return async (token) => {
    const options = { typ: 'at+jwt', algorithms: [...algorithms], clockTolerance: CLOCK_TOLERANCE };
    const { payload } = await jwtVerify(token, keys, options).catch((error: unknown) => {
      if (error instanceof errors.JOSEError) throw new InvalidToken(describe(error), { cause: error });
      // jose's word for a key that must not be used, such as RSA under 2048 bits: the fault of whoever published it.
      if (error instanceof TypeError) throw new NoVerdict(`A key of ${issuer} is unfit`, { cause: error });
      throw error;
    });
    return judgeClaims(payload, { issuer, resource, required: REQUIRED, now: Math.floor(Date.now() / 1000) });
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
