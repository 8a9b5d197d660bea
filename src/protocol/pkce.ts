/**
 * PKCE, RFC 7636 as OAuth 2.1 §4.1.1 narrows it: S256 only. The challenge binds the code to whoever began the flow, so
 * a stolen code (RFC 9700 §4.5) and an injected one are worth nothing.
 */
import { OAuthError } from './errors.ts';
import type { Parameters } from './message.ts';
import { equals, sha256 } from './secrets.ts';

const CHALLENGE = /^[A-Za-z0-9_-]{43}$/;
const VERIFIER = /^[A-Za-z0-9\-._~]{43,128}$/;

/**
 * The code challenge of an authorization request. One that is sent counts, also where none is demanded.
 * @param required false for a confidential client that is registered so (`require_pkce: false`)
 * @returns `undefined` when there is none and none is required
 * @throws OAuthError `invalid_request` when it is missing, malformed, or its method is not S256 (no method means plain)
 */
export function codeChallenge(parameters: Parameters, required: boolean): string | undefined {
  const challenge = parameters.get('code_challenge');
  if (challenge === undefined) {
    if (required) throw new OAuthError('invalid_request', 'code_challenge is required (PKCE).');
    if (parameters.get('code_challenge_method') === undefined) return undefined;
    throw new OAuthError('invalid_request', 'code_challenge_method goes with a code_challenge.');
  }
  if (parameters.get('code_challenge_method') !== 'S256') {
    throw new OAuthError('invalid_request', 'code_challenge_method must be S256.');
  }
  if (!CHALLENGE.test(challenge)) throw new OAuthError('invalid_request', 'code_challenge is malformed.');
  return challenge;
}

/**
 * Whether `verifier` is the one behind `challenge` (RFC 7636 §4.6). Where there was no challenge there must be no verifier:
 * a client that sends one means to be protected, so its challenge was taken away on the way (downgrade, RFC 9700 §4.8.2).
 */
export function verifierMatches(verifier: string | undefined, challenge: string | undefined): boolean {
  if (challenge === undefined) return verifier === undefined;
  return verifier !== undefined && VERIFIER.test(verifier) && equals(sha256(verifier).toString('base64url'), challenge);
}
