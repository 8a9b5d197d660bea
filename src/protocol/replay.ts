/**
 * What may be used once: client assertions (RFC 7523 §3), DPoP proofs (RFC 9449 §11.1), request objects that must not come twice.
 *
 * A mark is a row whose id is made of the proof's own time (in buckets of ten minutes) and a digest of what it is, whose it
 * is and its `jti`. Claiming it is an INSERT that finds nothing there: nodes need not know of each other, and the partition
 * goes when nothing in it could be accepted any more. A proof cannot be moved to another bucket: its time is signed.
 * The neighbouring buckets are looked at too, for a `jti` that is used again with another time.
 *
 * Marks are collected on the way and claimed with what changes something: what is refused before that for another reason (a nonce that was
 * missing, say) burns nothing.
 */
import type { OAuthError } from './errors.ts';
import { idFloor, sha256 } from './secrets.ts';

export interface ReplayMark {
  readonly id: string;
  /** The same in the buckets before and after. */
  readonly neighbours: readonly [before: string, after: string];
  /** What whoever uses it again is told. */
  readonly refusal: OAuthError;
}

export interface ReplayMarks {
  /**
   * Claims marks on their own, where no other statement does. One statement.
   * @returns the one that was used before, or `undefined` when all were new
   */
  claim(marks: readonly ReplayMark[]): Promise<ReplayMark | undefined>;
}

/** All that a request brings: for its authentication, and for the key that it proves to hold. */
export function marksOf({
  marks,
  possession,
}: {
  readonly marks: readonly ReplayMark[];
  readonly possession: { readonly marks: readonly ReplayMark[] } | undefined;
}): readonly ReplayMark[] {
  return [...marks, ...(possession?.marks ?? [])];
}

const BUCKET = 10 * 60_000;

/**
 * @param kind what it is, e.g. `client assertion`
 * @param owner whose `jti` it is: a client id, or the thumbprint of a key
 * @param at the proof's own `exp` or `iat`, whichever it is checked by
 */
export function replayMark(kind: string, owner: string, jti: string, at: Date, refusal: OAuthError): ReplayMark {
  const digest = sha256([kind, owner, jti].map((part) => `${Buffer.byteLength(part)}:${part}`).join('')).toString(
    'hex',
  );
  const bucket = Math.floor(at.getTime() / BUCKET) * BUCKET;
  const id = (time: number) => {
    const floor = idFloor(new Date(time));
    // Time as in UUIDv7, then 74 bits of the digest.
    return `${floor.slice(0, 14)}7${digest.slice(0, 3)}-8${digest.slice(3, 6)}-${digest.slice(6, 18)}`;
  };
  return { id: id(bucket), neighbours: [id(bucket - BUCKET), id(bucket + BUCKET)], refusal };
}

/**
 * Claims marks by themselves: where nothing else is written, and before a grant is ended, which a request that was caught and is sent again
 * must not do.
 * @throws OAuthError the refusal of the one that was used before
 */
export async function claimMarks(marks: readonly ReplayMark[], store: ReplayMarks): Promise<void> {
  if (marks.length === 0) return;
  const used = await store.claim(marks);
  if (used) throw used.refusal;
}
