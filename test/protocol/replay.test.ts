import { describe, expect, it } from 'vitest';
import { OAuthError } from '../../src/protocol/errors.ts';
import { claimMarks, type ReplayMark, replayMark } from '../../src/protocol/replay.ts';
import { idFloor, isUuid } from '../../src/protocol/secrets.ts';

const BUCKET = 600_000;
const START = new Date(Math.floor(Date.UTC(2026, 7, 1, 12) / BUCKET) * BUCKET);
const later = (milliseconds: number) => new Date(START.getTime() + milliseconds);
const refusal = new OAuthError('invalid_dpop_proof', 'Used before.');
const mark = (at: Date, jti = 'jti', owner = 'owner', kind = 'kind') => replayMark(kind, owner, jti, at, refusal);

describe('replay marks', () => {
  it('of the same thing are the same, all through a bucket', () => {
    expect(mark(later(0))).toEqual(mark(later(BUCKET - 1)));
  });

  it('are UUIDs in the order of their buckets, each inside its own', () => {
    const { id, neighbours } = mark(later(1234));
    const [before, next] = neighbours;
    expect([id, before, next].every(isUuid)).toBe(true);
    expect([next, id, before].sort()).toEqual([before, id, next]);
    expect(id > idFloor(later(0)) && id < idFloor(later(BUCKET))).toBe(true);
  });

  it('know what they are in the buckets before and after', () => {
    const { id, neighbours } = mark(later(0));
    expect(mark(later(-1)).id).toBe(neighbours[0]);
    expect(mark(later(BUCKET)).id).toBe(neighbours[1]);
    expect(mark(later(-1)).neighbours[1]).toBe(id);
    expect(mark(later(2 * BUCKET)).neighbours[0]).toBe(neighbours[1]);
  });

  it.each<[string, ReplayMark]>([
    ['another jti', mark(START, 'other')],
    ['another owner', mark(START, 'jti', 'other')],
    ['another kind', mark(START, 'jti', 'owner', 'other')],
    ['a letter moved from owner to jti', mark(START, 'rjti', 'owne')],
    ['a letter moved from kind to owner', mark(START, 'jti', 'downer', 'kin')],
    ['owner and jti swapped', mark(START, 'owner', 'jti')],
  ])('differ by %s', (_what, other) => {
    expect(other.id).not.toBe(mark(START).id);
  });

  it('take any text for a jti', () => {
    const ids = ['', '\0', ':', '1:a', 'ü', 'u\u0308', 'x'.repeat(10_000)].map((jti) => mark(START, jti).id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.every(isUuid)).toBe(true);
  });

  it('are claimed at the edge with the words of the one that was used before, and nothing is asked without any', async () => {
    const [one, two] = [mark(START), mark(START, 'other')];
    const asked: (readonly ReplayMark[])[] = [];
    const store = (used: ReplayMark | undefined) => ({
      claim: async (marks: readonly ReplayMark[]) => {
        asked.push(marks);
        return used;
      },
    });
    await expect(claimMarks([one, two], store(two))).rejects.toBe(refusal);
    await claimMarks([one, two], store(undefined));
    expect(asked).toEqual([
      [one, two],
      [one, two],
    ]);
    await claimMarks([], store(two));
    expect(asked).toHaveLength(2);
  });
});
