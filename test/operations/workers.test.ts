/**
 * Several workers on one port: whichever of them ends, and however, what another one can answer is answered. Load comes on
 * new connections all the time, so that some are always being made.
 */
import { randomBytes } from 'node:crypto';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { Client } from 'pg';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PARAMETERS } from '../../src/cli/memory.ts';
import { NICER } from '../../src/cli/threads.ts';
import { mintCredential } from '../../src/protocol/secrets.ts';
import { makeCertificate } from '../support/certificate.ts';
import { createDatabase } from '../support/database.ts';
import { type Gatehouse, Workbench } from '../support/gatehouse.ts';
import { freePort } from '../support/ports.ts';
import { type Answer, type Asking, ask, register, serveEnvironment, statusOf } from '../support/serving.ts';

// Each starts processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const bench = new Workbench();
let database: { url: string; drop(): Promise<void> };
let env: Record<string, string>;
let base: string;
let started: Gatehouse;
let basic: { authorization: string };

beforeEach(async () => {
  database = await createDatabase({ migrated: true });
  const serving = await serveEnvironment(database.url);
  env = serving;
  base = `http://127.0.0.1:${serving.PORT}`;
  const secret = await register(database.url, { client_id: 'batch', grant_types: ['client_credentials'] });
  basic = { authorization: `Basic ${Buffer.from(`batch:${secret}`).toString('base64')}` };
});
afterEach(async () => {
  await bench.clear();
  await database.drop();
});

/** What each process of the server does beside serving, as a fault in it would. */
function faulty(script: string): Record<string, string> {
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}` };
}

interface Line {
  readonly pid: number;
  readonly msg: string;
  readonly requestId?: string;
  readonly wait?: number;
  readonly worker?: number;
}

/** The log so far. */
function log(): Line[] {
  const whole = started.stdout.slice(0, started.stdout.lastIndexOf('\n') + 1);
  return whole
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

const said = (message: RegExp) => log().filter(({ msg }) => message.test(msg));

async function workerOf(answer: Answer): Promise<number> {
  const line = () => log().find(({ requestId }) => requestId === answer.headers['x-request-id']);
  await expect.poll(line, { timeout: 10_000, interval: 5 }).toBeDefined();
  return line()?.pid ?? 0;
}

/** Asks until each of this many processes has answered, and returns the last ones that did. */
async function workers(count: number, others: readonly number[] = [], asking: Asking = {}): Promise<number[]> {
  const seen = new Set<number>();
  const enough = async () => {
    // At once, so that no worker can take them all by being first each time.
    const answers = await Promise.all(
      Array.from({ length: 12 }, () => ask(`${base}/healthz`, asking).catch(() => undefined)),
    );
    for (const answer of answers) {
      const worker = answer && (await workerOf(answer));
      if (worker && !others.includes(worker)) seen.add(worker);
    }
    return seen.size;
  };
  await expect.poll(enough, { timeout: 60_000, interval: 20 }).toBe(count);
  return [...seen];
}

async function serve(more: Record<string, string> = {}, asking: Asking = {}): Promise<number[]> {
  started = bench.start(['serve'], { env: { ...env, GATEHOUSE_WORKERS: '2', ...more } });
  const ready = () => (started.running ? statusOf(`${base}/readyz`, asking) : started.stderr);
  await expect.poll(ready, { timeout: 60_000, interval: 50 }).toBe(200);
  return workers(2, [], asking);
}

const LINES = 8;
/** Of a request that got no answer for that long its caller would say that it hangs. */
const PATIENCE = 20_000;

/** Eight callers, each asking again on a new connection as soon as it has its answer. */
class Load {
  /** Requests that were answered 200. */
  answered = 0;
  readonly failures: string[] = [];
  /** Of those that failed, what their callers got when they tried again. */
  readonly again: number[] = [];
  readonly #lines: Promise<void>[];
  #stopped = false;

  constructor(urls: readonly string[], asking: Asking) {
    this.#lines = Array.from({ length: LINES }, (_, line) =>
      this.#run(urls[line % urls.length] ?? '', { ...asking, patience: PATIENCE }),
    );
  }

  async #run(url: string, asking: Asking): Promise<void> {
    while (!this.#stopped) {
      const failure = await ask(url, asking).then(
        ({ status }) => (status === 200 ? undefined : `status ${status}`),
        (error: NodeJS.ErrnoException) => error.code ?? error.message,
      );
      if (failure === undefined) this.answered += 1;
      else {
        this.failures.push(failure);
        this.again.push(await statusOf(url, asking));
      }
    }
  }

  /** Goes on until so many more were answered. */
  async more(count: number): Promise<void> {
    const goal = this.answered + count;
    await expect.poll(() => this.answered, { timeout: 60_000, interval: 5 }).toBeGreaterThan(goal);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#lines);
  }
}

function load(...urls: string[]): Load {
  return new Load(urls, { form: { token: 'x' }, headers: basic });
}

async function gone(pid: number): Promise<void> {
  const lives = () => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };
  await expect.poll(lives, { timeout: 60_000, interval: 20 }).toBe(false);
}

describe('a worker', () => {
  it('that is told to end is replaced, and no request of a steady stream is lost', async () => {
    let all = await serve();
    const stream = load(`${base}/token_info`);
    for (let round = 0; round < 3; round += 1) {
      await stream.more(50);
      const [victim = 0, other = 0] = all;
      process.kill(victim, 'SIGTERM');
      await gone(victim);
      all = [other, ...(await workers(1, [victim, other]))];
    }
    await stream.more(50);
    await stream.stop();
    expect(stream.failures).toEqual([]);
    expect(said(/a worker leaves/)).toHaveLength(3);
    expect(await started.stop()).toMatchObject({ code: 0, stderr: '' });
  });

  it('of TLS and of the port for certificates just so', async () => {
    const { cert, key } = await makeCertificate(join(await bench.folder(), 'server'));
    const asking = { ca: await readFile(cert, 'utf8') };
    const mutual = await freePort();
    base = `https://localhost:${env.PORT}`;
    const [victim = 0, other = 0] = await serve(
      {
        GATEHOUSE_ISSUER: base,
        GATEHOUSE_TRUSTED_PROXIES: '',
        GATEHOUSE_TLS_CERT: cert,
        GATEHOUSE_TLS_KEY: key,
        GATEHOUSE_MTLS_PORT: String(mutual),
        HOST: 'localhost',
      },
      asking,
    );
    const urls = [`${base}/token_info`, `https://localhost:${mutual}/token_info`];
    const stream = new Load(urls, { form: { token: 'x' }, headers: basic, ...asking });
    await stream.more(20);
    process.kill(victim, 'SIGTERM');
    await gone(victim);
    await workers(1, [victim, other], asking);
    await stream.more(20);
    await stream.stop();
    expect(stream.failures).toEqual([]);
    expect(await started.stop()).toMatchObject({ code: 0, stderr: '' });
  });

  it('that is killed takes with it only what it had begun: none is refused, none hangs, and each succeeds again', async () => {
    let all = await serve();
    const stream = load(`${base}/token_info`);
    for (let round = 0; round < 4; round += 1) {
      await stream.more(50);
      const before = stream.failures.length;
      const [victim = 0, other = 0] = all;
      process.kill(victim, 'SIGKILL');
      await gone(victim);
      await stream.more(50);
      // Of each caller the one request that was under way.
      expect(stream.failures.length - before).toBeLessThanOrEqual(LINES);
      all = [other, ...(await workers(1, [victim, other]))];
      expect(said(/a worker ended/)).toHaveLength(round + 1);
    }
    await stream.stop();
    // A connection that was accepted is reset or closed with its process; ECONNREFUSED or silence would be other things.
    for (const failure of stream.failures) expect(failure).toMatch(/^(ECONNRESET|EPIPE)$/);
    expect(stream.again).toEqual(stream.failures.map(() => 200));
    expect(await started.stop()).toMatchObject({ code: 0, stderr: '' });
  });

  /** Connections that are kept, one to each worker. */
  async function lineTo(worker: number): Promise<Agent> {
    for (let tries = 0; tries < 200; tries += 1) {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const answer = await ask(`${base}/healthz`, { agent });
      if (answer.headers.connection !== 'close' && (await workerOf(answer)) === worker) return agent;
      agent.destroy();
    }
    throw new Error(`No connection came to ${worker}.`);
  }

  it('that got more connections than the others gives some away, each behind an answer', async () => {
    const [first = 0] = await serve();
    const kept: Agent[] = [];
    while (kept.length < 16) kept.push(await lineTo(first));
    const holders = async () => {
      const answers = await Promise.all(kept.map((agent) => ask(`${base}/healthz`, { agent })));
      const pids = await Promise.all(answers.map(workerOf));
      return pids.filter((pid) => pid !== first).length;
    };
    try {
      await expect.poll(holders, { timeout: 60_000, interval: 100 }).toBeGreaterThanOrEqual(5);
    } finally {
      for (const agent of kept) agent.destroy();
    }
    expect(await started.stop()).toMatchObject({ code: 0, stderr: '' });
  });

  it('in which something throws answers what it has before it ends, and its place is taken at once', async () => {
    const [victim = 0, other = 0] = await serve(
      faulty(`process.on('SIGUSR2', () => setImmediate(() => { throw new Error('nobody catches this'); }))`),
    );
    const agent = await lineTo(victim);
    const lock = new Client({ connectionString: database.url });
    await lock.connect();
    try {
      await lock.query('BEGIN; LOCK TABLE access_tokens IN ACCESS EXCLUSIVE MODE');
      const token = mintCredential('access_token', new Date(), randomBytes).value;
      const answer = ask(`${base}/token_info`, { form: { token }, headers: basic, agent });
      const waiters = async () =>
        (
          await lock.query(
            `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
          )
        ).rowCount;
      await expect.poll(waiters, { timeout: 5000, interval: 10 }).toBe(1);
      process.kill(victim, 'SIGUSR2');
      await expect.poll(() => said(/a worker leaves/).length, { timeout: 5000, interval: 10 }).toBe(1);
      process.kill(victim, 0);
      await lock.query('ROLLBACK');
      expect(await answer).toMatchObject({ status: 200, body: '{"active":false}' });
      expect(await workerOf(await answer)).toBe(victim);
    } finally {
      agent.destroy();
      await lock.end();
    }
    await gone(victim);
    await workers(1, [victim, other]);
    expect(said(/an error that nothing caught/).map(({ pid }) => pid)).toEqual([victim]);
    expect(started.stdout).toContain('nobody catches this');
    expect(await started.stop()).toMatchObject({ code: 0, stderr: '' });
  });

  it.runIf(process.platform === 'linux')('is started with what it is told about memory', async () => {
    const [worker] = await serve();
    const parameters = (await readFile(`/proc/${worker}/cmdline`, 'utf8')).split('\0').slice(1);
    expect(parameters.slice(0, PARAMETERS.length)).toEqual(PARAMETERS);
    expect(await started.stop()).toMatchObject({ code: 0, stderr: '' });
  });

  it.runIf(process.platform === 'linux')('has an event loop that goes before the threads beside it', async () => {
    const pids = await serve();
    for (const pid of pids) {
      const niceness = new Map<number, number>();
      for (const thread of await readdir(`/proc/${pid}/task`)) {
        const fields = (await readFile(`/proc/${pid}/task/${thread}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
        niceness.set(Number(thread), Number(fields[16]));
      }
      const loop = niceness.get(pid) ?? Number.NaN;
      niceness.delete(pid);
      // Four are libuv's, where passwords are hashed; the others V8's.
      expect(niceness.size).toBeGreaterThan(4);
      expect(new Set(niceness.values())).toEqual(new Set([loop + NICER]));
    }
    expect(await started.stop()).toMatchObject({ code: 0, stderr: '' });
  });

  it('whose memory runs out leaves before it is over', async () => {
    const leak = `
      import { getHeapStatistics } from 'node:v8';
      const kept = [];
      process.on('SIGUSR2', () => {
        const more = setInterval(() => {
          // In pieces: one long list is copied when it grows, and the copy alone may be too much.
          kept.push(Array.from({ length: 20_000 }, (_, count) => ({ count })));
          if (getHeapStatistics().used_heap_size > 0.82 * 320 * 1024 * 1024) clearInterval(more);
        }, 5);
      });`;
    const options = faulty(leak);
    const [victim = 0, other = 0] = await serve({
      NODE_OPTIONS: `${options.NODE_OPTIONS} --max-old-space-size=320`,
    });
    const stream = load(`${base}/token_info`);
    process.kill(victim, 'SIGUSR2');
    await gone(victim);
    await workers(1, [victim, other]);
    await stream.stop();
    expect(stream.failures).toEqual([]);
    expect(said(/memory runs out/).map(({ pid }) => pid)).toEqual([victim]);
    expect(await started.stop()).toMatchObject({ code: 0, stderr: '' });
  });

  it('that ends again and again is started ever more slowly, and the others serve', async () => {
    const bad = join(await bench.folder(), 'bad');
    const [victim = 0, other = 0] = await serve(
      faulty(`
        import { existsSync } from 'node:fs';
        import cluster from 'node:cluster';
        if (cluster.isWorker && existsSync(${JSON.stringify(bad)})) process.exit(7);`),
    );
    await writeFile(bad, '');
    process.kill(victim, 'SIGKILL');
    const waits = () => said(/a worker ended/).map(({ wait }) => wait);
    await expect.poll(waits, { timeout: 60_000 }).toEqual([0, 1000, 2000, 4000]);
    expect((await ask(`${base}/readyz`)).status).toBe(200);
    await rm(bad);
    await workers(1, [victim, other]);
    expect(await started.stop()).toMatchObject({ code: 0, stderr: '' });
  });
});

describe('a process alone', () => {
  it('in which something throws answers what it has, writes the audit trail, and ends with 1', async () => {
    started = bench.start(['serve'], {
      env: {
        ...env,
        ...faulty(`process.on('SIGUSR2', () => Promise.reject(new Error('nobody catches this')))`),
      },
    });
    await expect.poll(() => statusOf(`${base}/readyz`), { timeout: 60_000, interval: 50 }).toBe(200);
    const refused = await ask(`${base}/token`, {
      form: { grant_type: 'client_credentials', client_id: 'nobody', client_secret: 'x' },
    });
    started.process.kill('SIGUSR2');
    expect(await started.ended()).toMatchObject({ code: 1, signal: null, stderr: '' });
    expect(said(/an error that nothing caught/)).toHaveLength(1);
    const audit = new Client({ connectionString: database.url });
    await audit.connect();
    const { rows } = await audit.query(`SELECT request_id FROM audit WHERE event = 'invalid_client'`);
    await audit.end();
    expect(rows).toEqual([{ request_id: refused.headers['x-request-id'] }]);
  });
});
