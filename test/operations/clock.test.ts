/** Process and database must agree on the time: else "expired" means two things (design: 2 s apart at most). */
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { createDatabase } from '../support/database.ts';
import { Workbench } from '../support/gatehouse.ts';
import { ask, serveEnvironment } from '../support/serving.ts';

// Each starts processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

/** A machine whose clock jumps by an hour at each SIGUSR2: forth, and back. */
function jumpingClock(ahead: boolean): string {
  const hour = 3_600_000;
  const source = `
    const { now } = Date;
    let shift = ${ahead ? hour : 0};
    process.on('SIGUSR2', () => { shift = shift === 0 ? ${hour} : 0; });
    globalThis.Date = class extends Date {
      constructor(...parts) { if (parts.length === 0) super(now() + shift); else super(...parts); }
      static now() { return now() + shift; }
    };`;
  return `--import data:text/javascript,${encodeURIComponent(source)}`;
}

const bench = new Workbench();
let database: { url: string; drop(): Promise<void> };
beforeAll(async () => {
  database = await createDatabase({ migrated: true });
});
afterAll(async () => {
  await bench.clear();
  await database.drop();
});

it.each([
  ['at its start', true],
  ['later', false],
])('a clock that is wrong %s makes the server not ready, until it is right', async (_when, ahead) => {
  const env = await serveEnvironment(database.url);
  const base = `http://127.0.0.1:${env.PORT}`;
  const started = bench.start(['serve'], { env: { ...env, NODE_OPTIONS: jumpingClock(ahead) } });
  const readiness = async () => {
    if (!started.running) throw new Error(started.stderr);
    const { status, body } = await ask(`${base}/readyz`).catch(() => ({ status: 0, body: '{}' }));
    return [status, JSON.parse(body).reason];
  };
  const wrong = [503, expect.stringMatching(/clocks of this process and the database are 3\d{3}(\.\d)? s apart/)];
  const right = [200, undefined];
  for (const expected of ahead ? [wrong, right] : [right, wrong, right]) {
    await expect.poll(readiness, { timeout: 60_000, interval: 50 }).toEqual(expected);
    started.process.kill('SIGUSR2');
  }
});
