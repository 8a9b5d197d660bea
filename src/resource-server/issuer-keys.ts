/**
 * The keys of the authorization server, RFC 7517, out of the JWKS that its metadata names at the time.
 *
 * Keys are fetched at first need, kept for ten minutes, and fetched again for a `kid` that is not among them: at most
 * once in thirty seconds, so that invented ids do not turn this API into a weapon against its issuer.
 */
import { createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey } from 'jose';
import type { AuthorizationServerMetadata } from './authorization-server.ts';
import { exchange, requireSecureUrl } from './json-exchange.ts';
import { NoVerdict } from './refusal.ts';

const MAX_AGE_MILLISECONDS = 10 * 60_000;
const COOLDOWN_MILLISECONDS = 30_000;

/**
 * @returns jose's way to the key that the header of a JWT names. It throws NoVerdict when the keys cannot be had.
 */
export function issuerKeys(
  issuer: string,
  metadata: () => Promise<AuthorizationServerMetadata>,
  timeoutSeconds: number,
): JWTVerifyGetKey {
  let set: { readonly uri: string; readonly find: JWTVerifyGetKey } | undefined;

  const remote = (uri: URL) =>
    createRemoteJWKSet(uri, {
      timeoutDuration: Math.ceil(timeoutSeconds * 1000),
      cacheMaxAge: MAX_AGE_MILLISECONDS,
      cooldownDuration: COOLDOWN_MILLISECONDS,
      // jose reads answers of any length.
      [customFetch]: async () => {
        const { text } = await exchange(uri, timeoutSeconds, {}, 'application/jwk-set+json, application/json');
        return new Response(text);
      },
    });

  return async (header, token) => {
    const { jwks_uri } = await metadata();
    try {
      const uri = requireSecureUrl("The issuer's jwks_uri", jwks_uri);
      if (set?.uri !== uri.href) set = { uri: uri.href, find: remote(uri) };
      return await set.find(header, token);
    } catch (cause) {
      // Only these two are about the token; whatever else fails here, fetching or reading the keys has failed.
      if (cause instanceof errors.JWKSNoMatchingKey || cause instanceof errors.JWKSMultipleMatchingKeys) throw cause;
      throw new NoVerdict(`The keys of ${issuer} cannot be read`, { cause });
    }
  };
}
