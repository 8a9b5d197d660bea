/**
 * Nonces for DPoP proofs, RFC 9449 §8 and §9: they show that a proof was not made in advance, by someone who had the key for
 * a moment.
 *
 * Stateless: a nonce is an HMAC of the period it was given out in, so every process with the key knows all good ones. A
 * nonce is good in its period, in the one after, and in the one before: clocks of several processes differ.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

const PERIOD_MILLISECONDS = 2 * 60_000;

export interface DpopNonces {
  /** The one to give out now. */
  current(): string;
  isGood(nonce: unknown): boolean;
}

/**
 * @param key of at least 32 bytes
 * @param resource whose nonces these are: those of another API with the same key are not good here
 */
export function dpopNonces(key: Uint8Array, resource: string): DpopNonces {
  const period = () => Math.floor(Date.now() / PERIOD_MILLISECONDS);
  const nonce = (at: number) => createHmac('sha256', key).update(`DPoP nonce ${at} ${resource}`).digest('base64url');

  return {
    current: () => nonce(period()),
    isGood: (value) => {
      if (typeof value !== 'string') return false;
      const now = period();
      return [now, now - 1, now + 1].some((at) => equals(value, nonce(at)));
    },
  };
}

function equals(given: string, good: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(good)];
  return a.byteLength === b.byteLength && timingSafeEqual(a, b);
}
