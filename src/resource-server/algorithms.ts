/**
 * The signature algorithms this package knows: those of FAPI 2.0 Security Profile §5.4.1, and RS256, which RFC 9068 §4 wants
 * every API to take. Asymmetric ones only: with HS256 in the list, a public key would be a key to sign with.
 */
export const ALGORITHMS = ['PS256', 'ES256', 'EdDSA', 'Ed25519', 'RS256'] as const;

export type Algorithm = (typeof ALGORITHMS)[number];

/** What is accepted of proofs that clients make, where nothing older has to be lived with. */
export const FAPI_ALGORITHMS: readonly Algorithm[] = ALGORITHMS.filter((alg) => alg !== 'RS256');

/** The `kty` of the keys that each algorithm signs with, RFC 7518 §3.1 and RFC 8037 §3.1. */
export const KEY_TYPES: Readonly<Record<Algorithm, string>> = {
  PS256: 'RSA',
  ES256: 'EC',
  EdDSA: 'OKP',
  Ed25519: 'OKP',
  RS256: 'RSA',
};
