/**
 * JWTs that bring the key they are signed with (RFC 7515 §4.1.3, RFC 7638, RFC 9449 §4.2, §4.3).
 *
 * A good signature says just that whoever made the JWT holds the key beside it. Who that is, is another question: the
 * thumbprint is compared with what a token or a code is bound to.
 */
import type { KeyObject } from 'node:crypto';
import { thumbprintOf } from './jose.ts';
import {
  allowedAlg,
  type ClientJwk,
  checkSignature,
  isKeyFor,
  type JwtClaims,
  JwtRefused,
  parsePart,
  partsOf,
  readKey,
} from './jose-client.ts';

export interface ProofJwtRules {
  /** Names of the algorithms that are taken: none with a shared secret. */
  readonly algs: readonly string[];
  /** The type it must say. */
  readonly typ: string;
  /** Characters. */
  readonly longest: number;
}

/**
 * Verifies a JWT with the key in its header.
 * @returns its claims, of which nothing has been checked, and the key's thumbprint (RFC 7638, SHA-256)
 * @throws JwtRefused
 */
export function verifyProofJwt(
  jwt: string,
  rules: ProofJwtRules,
): { readonly claims: JwtClaims; readonly thumbprint: string } {
  const [encodedHeader, payload] = partsOf(jwt, rules);
  const header = parsePart(encodedHeader);
  // Asked for before the key is looked at, so `none` and HS256 end here.
  const alg = allowedAlg(header, rules);
  if (header.typ !== rules.typ) throw new JwtRefused(`its typ is not ${rules.typ}`);
  if (Object.hasOwn(header, 'crit')) throw new JwtRefused('its header has crit, which is not accepted');
  const { key, thumbprint } = keyOf(header.jwk, alg);
  const claims = parsePart(payload);
  checkSignature(jwt, alg, key);
  return { claims, thumbprint };
}

/** Anybody brings a key of theirs, as often as they like: one that takes no more than 0.1 ms to verify with. */
const LIMITS = { modulus: 4096, exponent: 65_537n };

/**
 * Of a key that can be written in several ways (with padding, say) each way has a thumbprint of its own: it is another key then, and opens
 * nothing.
 * @throws JwtRefused when it is not the public key of an algorithm, of a size to be trusted
 */
function keyOf(jwk: unknown, alg: string): { readonly key: KeyObject; readonly thumbprint: string } {
  if (typeof jwk !== 'object' || jwk === null || Array.isArray(jwk)) throw new JwtRefused('it has no jwk');
  const key = readKey(jwk as ClientJwk, LIMITS);
  if (typeof key === 'string') throw new JwtRefused(`its jwk ${key}`);
  if (!isKeyFor(jwk as ClientJwk, 'sig', alg)) throw new JwtRefused('its jwk is not a key for its alg');
  return { key, thumbprint: thumbprintOf(jwk as ClientJwk) };
}
