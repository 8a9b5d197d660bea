import { describe, expect, it, vi } from 'vitest';
import { gathering, inPlace } from '../../src/postgres/gathering.ts';
import { Unavailable } from '../../src/protocol/errors.ts';

/** A database that answers when it is told to, and remembers what it was sent. */
function fakeStatement() {
  const sent: { calls: readonly number[]; answer(): void; fail(error: Error): void }[] = [];
  const ask = gathering(
    (calls: readonly number[]) =>
      new Promise<readonly string[]>((resolve, reject) => {
        sent.push({ calls, answer: () => resolve(calls.map((call) => `row ${call}`)), fail: reject });
      }),
  );
  return { sent, ask };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('callers that come together', () => {
  it('behind statements that hang are told so, as who waits for a connection is', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'performance'] });
    const { sent, ask } = fakeStatement();
    const early = [ask(1)];
    await turn();
    early.push(ask(2));
    await turn();
    const late = ask(3).catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(2000);
    const later = ask(4);
    await vi.advanceTimersByTimeAsync(1500);
    vi.useRealTimers();
    await expect(late).resolves.toBeInstanceOf(Unavailable);
    for (const statement of sent) statement.answer();
    expect(await Promise.all(early)).toEqual(['row 1', 'row 2']);
    await turn();
    sent[2]?.answer();
    expect(await later).toBe('row 4');
  });

  it('share one statement, and each gets its own row', async () => {
    const { sent, ask } = fakeStatement();
    const asked = [1, 2, 3].map(ask);
    await turn();
    expect(sent.map(({ calls }) => calls)).toEqual([[1, 2, 3]]);
    sent[0]?.answer();
    expect(await Promise.all(asked)).toEqual(['row 1', 'row 2', 'row 3']);
  });

  it('are never held back: who comes alone is sent alone, before anything has come back', async () => {
    const { sent, ask } = fakeStatement();
    const first = ask(1);
    await turn();
    const second = ask(2);
    await turn();
    expect(sent.map(({ calls }) => calls)).toEqual([[1], [2]]);
    sent[1]?.answer();
    expect(await second).toBe('row 2');
    sent[0]?.answer();
    expect(await first).toBe('row 1');
  });

  it('gather while two statements are under way, and go with the first that comes back', async () => {
    const { sent, ask } = fakeStatement();
    const early = [ask(1)];
    await turn();
    early.push(ask(2));
    await turn();
    const late = [3, 4, 5].map(ask);
    await turn();
    expect(sent).toHaveLength(2);
    sent[0]?.answer();
    await early[0];
    await turn();
    expect(sent.map(({ calls }) => calls)).toEqual([[1], [2], [3, 4, 5]]);
    for (const statement of sent) statement.answer();
    expect(await Promise.all([...early, ...late])).toHaveLength(5);
  });

  it('are sixty-four in one statement at most', async () => {
    const { sent, ask } = fakeStatement();
    const asked = Array.from({ length: 150 }, (_, index) => ask(index));
    await turn();
    expect(sent.map(({ calls }) => calls.length)).toEqual([64, 64]);
    sent[0]?.answer();
    await asked[0];
    await turn();
    expect(sent.map(({ calls }) => calls.length)).toEqual([64, 64, 22]);
    for (const statement of sent) statement.answer();
    expect((await Promise.all(asked)).at(-1)).toBe('row 149');
  });

  it('do not share a fault: each is sent alone, and one of them has it', async () => {
    const { sent, ask } = fakeStatement();
    const settled = Promise.allSettled([1, 2, 3].map(ask));
    await turn();
    sent[0]?.fail(new Error('one of them is bad'));
    for (const alone of [1, 2, 3]) {
      await expect.poll(() => sent.length).toBe(alone + 1);
      if (alone === 2) sent[alone]?.fail(new Error('this one'));
      else sent[alone]?.answer();
    }
    const outcomes = await settled;
    expect(outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : 'its own fault'))).toEqual([
      'row 1',
      'its own fault',
      'row 3',
    ]);
  });

  it('do not wait one after the other where the database falls silent over one of them', async () => {
    const { sent, ask } = fakeStatement();
    const settled = Promise.allSettled([1, 2, 3].map(ask));
    await turn();
    sent[0]?.fail(new Error('one of them is bad'));
    await expect.poll(() => sent.length).toBe(2);
    sent[1]?.fail(new Unavailable('silent'));
    const reasons = (await settled).map(
      (outcome) => outcome.status === 'rejected' && outcome.reason instanceof Unavailable,
    );
    expect(reasons).toEqual([true, true, true]);
    expect(sent).toHaveLength(2);
  });

  it('share that the database is away, and the next ones are served again', async () => {
    const { sent, ask } = fakeStatement();
    const asked = [1, 2].map(ask);
    await turn();
    sent[0]?.fail(new Unavailable('away'));
    const outcomes = await Promise.allSettled(asked);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    const next = ask(3);
    await turn();
    sent[1]?.answer();
    expect(await next).toBe('row 3');
  });
});

it('rows go to the calls they belong to, whatever their order, and nobody gets another one’s', () => {
  const rows = [
    { place: 3, name: 'c' },
    { place: 1, name: 'a' },
  ];
  expect(inPlace(rows, 4)).toEqual([{ place: 1, name: 'a' }, undefined, { place: 3, name: 'c' }, undefined]);
});
