/**
 * Trust domains: other authorization servers, and what is taken from them and made for them. RFC 7523 §2.1 and §3 (JWTs as
 * authorization grants), RFC 8693 §2.1 (their JWTs as subject tokens), draft-ietf-oauth-identity-chaining (grants for them).
 *
 * What may be done with their tokens is not said here: that takes an exchange policy whose source is the domain.
 */
import { z } from 'zod';
import { keySet } from './client-keys.ts';
import { type SigningAlg, signingAlgs } from './jose.ts';
import { isLoopback, parseUrl } from './redirect-uri.ts';

export const trustDomainMetadata = z
  .strictObject({
    /** Compared as a string with `iss`, and the `aud` of grants for it. */
    issuer: z.string().max(1000).refine(isIssuer, 'must be an https URL without query and fragment (http on loopback)'),
    name: z.string().min(1).max(200),
    /** Its keys, where they do not change. */
    jwks: keySet.optional(),
    /** Where its keys are, fetched and kept as clients' are. */
    jwks_uri: z.string().max(1000).optional(),
    /** What it may sign with. */
    signing_algs: z
      .array(z.enum(signingAlgs))
      .min(1)
      .default([...signingAlgs]),
    /** `typ` of its JWTs, which they must say then; without, none, or one that is meant for this (foreign-jwt.ts). */
    jwt_types: z.array(z.string().min(1).max(100)).max(10).default([]),
  })
  .refine(({ jwks, jwks_uri }) => jwks === undefined || jwks_uri === undefined, {
    path: ['jwks'],
    message: 'and jwks_uri exclude each other',
  });

export type TrustDomainMetadata = z.infer<typeof trustDomainMetadata>;

export interface TrustDomain {
  readonly issuer: string;
  readonly name: string;
  /** With neither, nothing it signs is taken; grants can be made for it. */
  readonly jwks: TrustDomainMetadata['jwks'];
  readonly jwksUri: string | undefined;
  readonly signingAlgs: readonly SigningAlg[];
  /** In lower case, without `application/`. */
  readonly jwtTypes: readonly string[];
}

export function toTrustDomain(metadata: TrustDomainMetadata): TrustDomain {
  return {
    issuer: metadata.issuer,
    name: metadata.name,
    jwks: metadata.jwks,
    jwksUri: metadata.jwks_uri,
    signingAlgs: metadata.signing_algs,
    jwtTypes: metadata.jwt_types.map((type) => type.toLowerCase().replace(/^application\//, '')),
  };
}

function isIssuer(value: string): boolean {
  const url = parseUrl(value);
  // `|` is no character of URIs, and parts issuer and `sub` of foreign subjects.
  if (!url || /[?#|]/.test(value) || /[^\x21-\x7E]/.test(value)) return false;
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url));
}
