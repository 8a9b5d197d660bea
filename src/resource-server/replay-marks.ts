/**
 * The memory of used DPoP proofs, RFC 9449 §11.1: whoever reads a request on its way has a proof that is good for a minute.
 */
import { NoVerdict } from './refusal.ts';

/** Where used proofs are remembered. */
export interface ReplayMarks {
  /**
   * Remembers a mark, in one step with the look whether it is there: of two claims at once, one wins.
   *
   * @param mark 43 characters of base64url
   * @param seconds how long it must be remembered; it may be longer
   * @returns false when the mark is remembered already
   */
  claim(mark: string, seconds: number): boolean | Promise<boolean>;
}

/**
 * Marks in the memory of this process: enough for an API of one process. One of several needs a store that they share, or
 * each process will take the same proof once.
 *
 * Full, it refuses (NoVerdict, a 503) rather than forget: otherwise a client with a good token could wash out the mark of
 * the proof it wants to use again.
 *
 * @param capacity the most marks at once; about 150 bytes each
 */
export function memoryReplayMarks({ capacity = 200_000 }: { readonly capacity?: number } = {}): ReplayMarks {
  if (!Number.isInteger(capacity) || capacity < 1) throw new TypeError('capacity must be a whole number above 0');
  // A Map keeps the order of insertion. All marks live equally long, so the first to come is the first to go.
  const until = new Map<string, number>();

  return {
    claim(mark, seconds) {
      const now = Date.now();
      for (const [old, end] of until) {
        if (end > now) break;
        until.delete(old);
      }
      if (until.has(mark)) return false;
      if (until.size >= capacity) throw new NoVerdict('There is no room to remember another DPoP proof');
      until.set(mark, now + seconds * 1000);
      return true;
    },
  };
}
