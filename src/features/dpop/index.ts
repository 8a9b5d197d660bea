/**
 * DPoP, RFC 9449: a token, or a code, that only the holder of a key can use. Each request carries a proof: a JWT made for it
 * alone, signed by that key.
 *
 * The checks of §4.3, in this order; nothing is stored, and a proof that is refused is not used up:
 *
 *   one header ─▶ type, algorithm, public key, signature ─▶ jti, htm, htu ─▶ iat, nbf, exp ─▶ nonce ─▶ ath
 *
 * Then it may be used once (§11.1): its mark is claimed with what it pays for. Whether its key is the right one is asked by
 * whoever knows which one that is (confirmation.ts).
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import type { ConfirmationMethod, Possession } from '../../protocol/confirmation.ts';
import { OAuthError } from '../../protocol/errors.ts';
import type { Feature } from '../../protocol/feature.ts';
import { clientSigningAlgs, type JwtClaims, JwtRefused } from '../../protocol/jose-client.ts';
import { verifyProofJwt } from '../../protocol/jose-proof.ts';
import type { EndpointRequest } from '../../protocol/message.ts';
import { profileOf } from '../../protocol/profile.ts';
import { parseUrl } from '../../protocol/redirect-uri.ts';
import { replayMark } from '../../protocol/replay.ts';
import { equals } from '../../protocol/secrets.ts';
import { judgeNonce, type NonceKind, nonceOf } from './nonces.ts';

/** @param options.demandsNonce whether a proof must carry a nonce of ours; one that it carries is checked anyhow */
export function dpop({ demandsNonce }: { demandsNonce: boolean }): Feature {
  return {
    name: 'dpop',
    confirmationMethods: [proofs(demandsNonce)],
    clientMetadata: { dpop_bound_access_tokens: z.boolean().optional() }, // §5.2
    serverMetadata: ({ profile }) => ({ dpop_signing_alg_values_supported: clientSigningAlgs(profile) }), // §5.1
  };
}

/** §4.2. */
const TYP = 'dpop+jwt';
/** Characters: an RSA key of 8192 bits and its signature, twice encoded. */
const LONGEST = 8192;
/** Seconds a proof may be old, and another clock ahead of ours. */
const AGE = 60;
const SKEW = 30;

function proofs(demandsNonce: boolean): ConfirmationMethod {
  return {
    name: 'dpop',
    challenge: ({ profile }) => ({ scheme: 'DPoP', parameters: `algs="${clientSigningAlgs(profile).join(' ')}"` }), // §7.1
    async prove(request, { client, holder, accessToken }, server): Promise<Possession | undefined> {
      const [jwt, another] = request.dpop;
      if (jwt === undefined) return undefined;
      if (another !== undefined) throw refused('there is more than one');
      const whose = client ?? holder;
      const profile = whose ? profileOf(whose, server.profile) : server.profile;
      const { claims, thumbprint } = verified(jwt, clientSigningAlgs(profile));
      const { jti, issuedAt } = checkClaims(claims, request);
      const kind = accessToken === undefined ? 'authorization server' : 'protected resource';
      const headers = checkNonce(claims, kind, demandsNonce, request.now, server);
      if (accessToken !== undefined) checkToken(claims, accessToken);
      return {
        cnf: { jkt: thumbprint },
        tokenType: 'DPoP',
        marks: [replayMark('DPoP proof', thumbprint, jti, issuedAt, refused('it was used before'))],
        headers,
      };
    },
  };
}

function verified(jwt: string, algs: readonly string[]) {
  try {
    return verifyProofJwt(jwt, { algs, typ: TYP, longest: LONGEST });
  } catch (error) {
    throw error instanceof JwtRefused ? refused(error.message, error) : error;
  }
}

function checkClaims(
  { jti, htm, htu, iat, nbf, exp }: JwtClaims,
  { method, address, now }: EndpointRequest,
): { readonly jti: string; readonly issuedAt: Date } {
  if (typeof jti !== 'string' || jti === '') throw refused('its jti is missing');
  if (htm !== method) throw refused('its htm is not the method of the request');
  const named = typeof htu === 'string' ? normal(htu) : undefined;
  if (named === undefined || named !== normal(address)) throw refused('its htu is not the address of the request');
  const present = now.getTime() / 1000;
  if (typeof iat !== 'number' || !(iat >= present - AGE && iat <= present + SKEW))
    throw refused('its iat is not the present time');
  if (nbf !== undefined && !(typeof nbf === 'number' && nbf <= present + SKEW)) throw refused('it is not good yet');
  if (exp !== undefined && !(typeof exp === 'number' && exp > present)) throw refused('it has expired');
  return { jti, issuedAt: new Date(iat * 1000) };
}

/** No backslash and no missing slash: parsers of URLs would mend both. */
const WEB_ADDRESS = /^https?:\/\/[^/\\][\x21-\x5B\x5D-\x7E]*$/i;

/** §4.3: an address without query and fragment, in the one form that RFC 3986 §6.2.2 and §6.2.3 give it. */
function normal(address: string): string | undefined {
  const url = WEB_ADDRESS.test(address) ? parseUrl(address) : undefined;
  if (!url) return undefined;
  url.search = '';
  url.hash = '';
  return url.href.replace(/%[0-9a-f]{2}/gi, (escaped) => {
    const character = String.fromCharCode(Number.parseInt(escaped.slice(1), 16));
    return /[A-Za-z0-9._~-]/.test(character) ? character : escaped.toUpperCase();
  });
}

/**
 * §8, §9.
 * @returns the next nonce, when the client should not go on with the one it has
 */
function checkNonce(
  { nonce }: JwtClaims,
  kind: NonceKind,
  demanded: boolean,
  now: Date,
  { sharedKeys }: AuthorizationServer,
): Readonly<Record<string, string>> {
  if (nonce === undefined && !demanded) return {};
  const verdict = typeof nonce === 'string' ? judgeNonce(nonce, kind, now, sharedKeys.nonces) : undefined;
  const headers = { 'dpop-nonce': nonceOf(kind, now, sharedKeys.nonces) };
  if (!verdict)
    throw new OAuthError('use_dpop_nonce', 'The DPoP proof needs the nonce that comes with this.', { headers });
  return verdict === 'fresh' ? {} : headers;
}

/** §7.1: a proof for one token is none for another, though the key is the same. */
function checkToken({ ath }: JwtClaims, accessToken: string): void {
  const digest = createHash('sha256').update(accessToken).digest('base64url');
  if (typeof ath !== 'string' || !equals(ath, digest)) throw refused('its ath is not that of the access token');
}

function refused(why: string, cause?: unknown): OAuthError {
  return new OAuthError('invalid_dpop_proof', `The DPoP proof is not good: ${why}.`, { cause });
}
