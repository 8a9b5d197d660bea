/**
 * JWTs that bring the key they are signed with: the third door to jose (RFC 7515 §4.1.3, RFC 7638, RFC 9449 §4.2, §4.3).
 *
 * A good signature says just that whoever made the JWT holds the key beside it. Who that is, is another question: the
 * thumbprint is compared with what a token or a code is bound to.
 */
import { calculateJwkThumbprint, compactVerify, type JWK } from 'jose';
import { type ClientJwk, isKeyFor, type JwtClaims, JwtRefused, problemOfKey } from './jose-client.ts';

export interface ProofJwtRules {
  /** Names of the algorithms that are taken: none with a shared secret. */
  readonly algs: readonly string[];
  /** The type it must say. */
  readonly typ: string;
  /** Characters. */
  readonly longest: number;
}

/** Nothing else of a key counts: `use` and the like were looked at, `kid` and certificates are its maker's own affair. */
const PUBLIC_MEMBERS = ['kty', 'crv', 'x', 'y', 'n', 'e'] as const;

/**
 * Verifies a JWT with the key in its header.
 * @returns its claims, of which nothing has been checked, and the key's thumbprint (RFC 7638, SHA-256)
 * @throws JwtRefused
 */
export async function verifyProofJwt(
  jwt: string,
  { algs, typ, longest }: ProofJwtRules,
): Promise<{ readonly claims: JwtClaims; readonly thumbprint: string }> {
  if (jwt.length > longest) throw new JwtRefused('it is too long');
  let key: JWK | undefined;
  try {
    const { payload } = await compactVerify(
      jwt,
      (header) => {
        if (header.typ !== typ) throw new JwtRefused(`its typ is not ${typ}`);
        if ('crit' in header) throw new JwtRefused('its header has crit, which is not accepted');
        key = publicKeyOf(header.jwk, header.alg);
        return key;
      },
      // Asked for before the key is looked at, so `none` and HS256 end there.
      { algorithms: [...algs] },
    );
    if (!key) throw new JwtRefused('it has no key');
    return { claims: claimsOf(payload), thumbprint: await calculateJwkThumbprint(key, 'sha256') };
  } catch (error) {
    if (error instanceof JwtRefused) throw error;
    throw new JwtRefused('it is malformed, its alg is not accepted, or its signature is not good', { cause: error });
  }
}

/** @throws JwtRefused when it is not the public key of an algorithm, of a size to be trusted */
function publicKeyOf(jwk: unknown, alg: string): JWK {
  if (typeof jwk !== 'object' || jwk === null || Array.isArray(jwk)) throw new JwtRefused('it has no jwk');
  const problem = problemOfKey(jwk as ClientJwk);
  if (problem !== undefined) throw new JwtRefused(`its jwk ${problem}`);
  if (!isKeyFor(jwk as ClientJwk, 'sig', alg)) throw new JwtRefused('its jwk is not a key for its alg');
  const members: [string, unknown][] = PUBLIC_MEMBERS.map((name) => [name, (jwk as ClientJwk)[name]]);
  return Object.fromEntries(members.filter(([, value]) => value !== undefined));
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function claimsOf(payload: Uint8Array): JwtClaims {
  const claims: unknown = JSON.parse(utf8.decode(payload));
  if (typeof claims === 'object' && claims !== null && !Array.isArray(claims)) return claims as JwtClaims;
  throw new JwtRefused('its claims are not an object');
}
