import { randomBytes, randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresPushedRequests } from '../../src/features/par/pushed-requests.pg.ts';
import { keepPartitions } from '../../src/postgres/partitions.ts';
import { postgresReplayMarks } from '../../src/postgres/replay-marks.pg.ts';
import { OAuthError } from '../../src/protocol/errors.ts';
import { Parameters } from '../../src/protocol/message.ts';
import { type ReplayMark, type ReplayMarks, replayMark } from '../../src/protocol/replay.ts';
import { mintCredential, sha256 } from '../../src/protocol/secrets.ts';
import { countOf, deadlocksIn, openStore, race, type Store } from './store.ts';

const BUCKET = 600_000;

describe('replay marks in PostgreSQL', () => {
  let store: Store;
  let here: ReplayMarks;
  let there: ReplayMarks;
  /** The beginning of the present bucket, in milliseconds. */
  let begin: number;
  beforeAll(async () => {
    store = await openStore();
    await keepPartitions(store.sql, store.now);
    here = postgresReplayMarks(store.sql);
    there = postgresReplayMarks(store.another({ poolMax: 10 }).sql);
    begin = Math.floor(store.now.getTime() / BUCKET) * BUCKET;
  });
  afterAll(() => store.close());

  const mark = (jti: string, at = store.now.getTime(), owner = 'owner'): ReplayMark =>
    replayMark('test', owner, jti, new Date(at), new OAuthError('invalid_dpop_proof', `${jti} was used before.`));

  it('are claimed once, and stay claimed for everybody', async () => {
    const one = mark(randomUUID());
    await expect(here.claim([one])).resolves.toBeUndefined();
    await expect(here.claim([one])).resolves.toBe(one);
    await expect(there.claim([one])).resolves.toBe(one);
  });

  it('of twenty that claim at once on two nodes exactly one wins', async () => {
    for (let round = 0; round < 10; round += 1) {
      const one = mark(randomUUID());
      const outcomes = await race(20, async (index) =>
        (await (index % 2 === 0 ? here : there).claim([one])) ? 'used' : 'won',
      );
      expect(outcomes).toEqual({ won: 1, used: 19 });
    }
  });

  it('of twenty that spend something with it at once exactly one does, and the others leave nothing', async () => {
    const [first, second] = [store.sql, store.another({ poolMax: 10 }).sql].map(postgresPushedRequests);
    if (!first || !second) throw new Error('two nodes');
    const one = mark(randomUUID());
    const before = await countOf(store, 'pushed_requests');
    const outcomes = await race(20, async (index) => {
      const { value: _value, ...credential } = mintCredential('pushed_request', store.now, randomBytes);
      const request = { parameters: new Parameters([]), registration: sha256('x'), expiresAt: store.at(90_000) };
      const used = await (index % 2 === 0 ? first : second).push(credential, 'web', request, [one]);
      return used === one ? 'used' : used === undefined ? 'pushed' : 'odd';
    });
    expect(outcomes).toEqual({ pushed: 1, used: 19 });
    expect(await countOf(store, 'pushed_requests')).toBe(before + 1);
  });

  it('that were used keep what they came for from being kept, and nothing else in the same statement', async () => {
    const requests = postgresPushedRequests(store.sql);
    const [used, fresh] = [mark(randomUUID()), mark(randomUUID())];
    await here.claim([used]);
    const pushed = await Promise.all(
      [[], [used], [fresh], [fresh]].map(async (marks) => {
        const { value: _value, ...credential } = mintCredential('pushed_request', store.now, randomBytes);
        const request = { parameters: new Parameters([]), registration: sha256('x'), expiresAt: store.at(90_000) };
        const answer = await requests.push(credential, 'web', request, marks);
        return { answer, kept: (await requests.find(credential, 'web', store.now)) !== undefined };
      }),
    );
    expect(pushed).toEqual([
      { answer: undefined, kept: true },
      { answer: used, kept: false },
      { answer: undefined, kept: true },
      { answer: fresh, kept: false },
    ]);
  });

  it('know a jti again that comes with another time, in the same bucket and in both beside it', async () => {
    for (const [first, second] of [
      [begin, begin + BUCKET - 1],
      [begin - 1, begin],
      [begin, begin - 1],
      [begin + BUCKET - 1, begin + BUCKET],
      [begin - BUCKET, begin + BUCKET - 1],
    ] as const) {
      const jti = randomUUID();
      await expect(here.claim([mark(jti, first)])).resolves.toBeUndefined();
      const again = mark(jti, second);
      await expect(there.claim([again])).resolves.toBe(again);
    }
  });

  it('know it also when both come together', async () => {
    const jti = randomUUID();
    const [one, other] = [mark(jti, begin - 1), mark(jti, begin)];
    expect(await Promise.all([here.claim([one]), here.claim([other])])).toEqual([undefined, other]);
  });

  it('are claimed with others that come together, each for whoever brings it', async () => {
    const [used, ...fresh] = Array.from({ length: 30 }, () => [mark(randomUUID()), mark(randomUUID())] as const);
    if (!used) throw new Error('thirty');
    await here.claim([used[1]]);
    const answers = await Promise.all([used, ...fresh].map((pair) => here.claim(pair)));
    expect(answers).toEqual([used[1], ...fresh.map(() => undefined)]);
    for (const pair of fresh) expect(await there.claim(pair)).toBe(pair[0]);
  });

  it('are had by one of two nodes that claim the same in opposite order, and neither waits for the other for ever', async () => {
    for (let round = 0; round < 20; round += 1) {
      const marks = Array.from({ length: 40 }, () => mark(randomUUID()));
      const claimed = (by: ReplayMarks, those: readonly ReplayMark[]) =>
        Promise.all(those.map(async (one) => ((await by.claim([one])) ? undefined : one.id)));
      const won = await Promise.all([claimed(here, marks), claimed(there, marks.toReversed())]);
      expect(
        won
          .flat()
          .filter((id) => id !== undefined)
          .toSorted(),
      ).toEqual(marks.map(({ id }) => id).toSorted());
    }
    expect(await deadlocksIn(store)).toBe(0);
  });

  it('do not know it two buckets on: no proof lives that long', async () => {
    const jti = randomUUID();
    await here.claim([mark(jti, begin - BUCKET)]);
    await expect(here.claim([mark(jti, begin + BUCKET)])).resolves.toBeUndefined();
  });

  it('lie in the partition of their own time, and go with it', async () => {
    const jti = randomUUID();
    await here.claim([mark(jti, begin), mark(`${jti} `, begin + BUCKET - 1)]);
    const later = new Date(begin + BUCKET + 31 * 60_000);
    const kept = async () => {
      const rows = await store.rows(sql<{ name: string }>`
        SELECT tableoid::regclass::text AS name FROM replay_marks
        WHERE id = ANY (${[mark(jti, begin).id, mark(`${jti} `, begin).id]}::uuid[])`);
      return rows.map(({ name }) => name);
    };
    expect(await kept()).toEqual(Array(2).fill(`replay_marks_${begin / 1000}`));
    await keepPartitions(store.sql, later);
    expect(await kept()).toEqual([]);
    await keepPartitions(store.sql, store.now);
  });

  it('are not new a second time in one call', async () => {
    const one = mark(randomUUID());
    await expect(here.claim([one, one])).resolves.toBe(one);
  });

  it('say which of several was used before', async () => {
    const [one, two, three] = [mark(randomUUID()), mark(randomUUID()), mark(randomUUID())];
    await here.claim([two]);
    await expect(here.claim([one, two, three])).resolves.toBe(two);
  });
});
