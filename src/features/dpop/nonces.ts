/**
 * Nonces of DPoP (RFC 9449 §8, §9): they tell that a proof was made just now, and not in advance by somebody who held the
 * key for a moment.
 *
 * Nobody remembers them. A nonce is a keyed hash of the piece of time it was made in, so every node makes and takes the
 * same ones:
 *
 *   … | before | present | next | …      a nonce of the present is given; those of all three are taken
 *
 * "Before" gives everybody at least one whole piece to use it, "next" forgives nodes whose clocks differ.
 */
import { equals, hmac } from '../../protocol/secrets.ts';

/** Clients keep those of the authorization server and of protected resources apart (§8.2): one is not good for the other. */
export type NonceKind = 'authorization server' | 'protected resource';

/** Seconds. A nonce is taken for one to two of them. */
const SPAN = 150;

export function nonceOf(kind: NonceKind, now: Date, key: Buffer, spans = 0): string {
  const span = Math.floor(now.getTime() / 1000 / SPAN) + spans;
  return hmac(key, kind, String(span)).toString('base64url');
}

/** Whether a nonce is one of ours and not too old; `fresh` when the next proof may have it too. */
export function judgeNonce(nonce: string, kind: NonceKind, now: Date, key: Buffer): 'fresh' | 'ageing' | undefined {
  if (equals(nonce, nonceOf(kind, now, key)) || equals(nonce, nonceOf(kind, now, key, 1))) return 'fresh';
  return equals(nonce, nonceOf(kind, now, key, -1)) ? 'ageing' : undefined;
}
