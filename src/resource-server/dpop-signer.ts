/** DPoP proofs that the API makes itself, RFC 9449 §4.2, with a key of its own: for tokens that it got by exchange. */
import { createHash, createPrivateKey, createPublicKey, randomUUID } from 'node:crypto';
import { type JWK, SignJWT } from 'jose';
import type { PrivateKey } from './options.ts';

/** What a proof is for, beyond method and URL. */
export interface ProofParts {
  /** The access token it goes along with (§7). */
  readonly token?: string | undefined;
  /** What the server last gave out (§8). */
  readonly nonce?: string | undefined;
}

export type DpopSigner = (method: string, url: string | URL, parts?: ProofParts) => Promise<string>;

export function dpopSigner(privateKey: PrivateKey): DpopSigner {
  const key = createPrivateKey({ key: { ...privateKey }, format: 'jwk' });
  // Exported from the public half, so nothing private can slip into a header.
  const jwk = createPublicKey(key).export({ format: 'jwk' }) as JWK;
  const { alg } = privateKey;

  return (method, url, { token, nonce } = {}) => {
    const { origin, pathname } = new URL(url);
    const claims = {
      jti: randomUUID(),
      htm: method,
      htu: origin + pathname,
      iat: Math.floor(Date.now() / 1000),
      ...(token === undefined ? {} : { ath: createHash('sha256').update(token).digest('base64url') }),
      ...(nonce === undefined ? {} : { nonce }),
    };
    return new SignJWT(claims).setProtectedHeader({ alg, typ: 'dpop+jwt', jwk }).sign(key);
  };
}
