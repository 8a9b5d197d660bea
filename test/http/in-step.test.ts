import { describe, expect, it } from 'vitest';
import { inStep } from '../../src/http/in-step.ts';

describe('Requests that arrive together', () => {
  it('are handled together, in the order they came, and after all that has arrived was read', async () => {
    const hold = inStep();
    const seen: string[] = [];
    const arrive = (name: string) => {
      seen.push(`${name} read`);
      return hold().then(() => seen.push(`${name} handled`));
    };
    const first = arrive('a');
    // Another socket's turn of the same look around.
    process.nextTick(() => arrive('b'));
    await first;
    await new Promise(setImmediate);
    expect(seen).toEqual(['a read', 'b read', 'a handled', 'b handled']);
  });

  it('take their steps side by side', async () => {
    const hold = inStep();
    const seen: string[] = [];
    const handle = async (name: string) => {
      await hold();
      seen.push(`${name} 1`);
      await undefined;
      seen.push(`${name} 2`);
    };
    await Promise.all([handle('a'), handle('b')]);
    expect(seen).toEqual(['a 1', 'b 1', 'a 2', 'b 2']);
  });

  it('wait for nobody who comes later', async () => {
    const hold = inStep();
    const seen: string[] = [];
    const first = hold().then(() => seen.push('a'));
    const later = new Promise<void>((resolve) =>
      setImmediate(() => {
        seen.push('b read');
        void hold().then(() => {
          seen.push('b');
          resolve();
        });
      }),
    );
    await Promise.all([first, later]);
    expect(seen).toEqual(['a', 'b read', 'b']);
  });
});
