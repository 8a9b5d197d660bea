/** `node bin/gatehouse.js …` as a process of its own, as a shell would start it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startEmbedded } from '../../src/postgres/embedded.ts';

export const CHECKOUT = join(import.meta.dirname, '../..');

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface GatehouseOptions {
  /** Its whole environment, but for what a shell always has: nothing of the test run's own leaks in. */
  readonly env?: Readonly<Record<string, string>>;
  /** Its standard input. */
  readonly input?: string;
  /** Where `bin/gatehouse.js` is. */
  readonly tree?: string;
  /** Another command line altogether, run in the checkout. */
  readonly command?: readonly [program: string, ...parameters: string[]];
}

/** A running command. */
export class Gatehouse {
  readonly process: ChildProcess;
  stdout = '';
  stderr = '';
  readonly #ended: Promise<Ended>;

  constructor(parameters: readonly string[], options: GatehouseOptions = {}) {
    const { env = {}, input, tree = CHECKOUT } = options;
    const [program, ...rest] = options.command ?? [process.execPath, join(tree, 'bin/gatehouse.js'), ...parameters];
    const { PATH = '', HOME = '', TMPDIR } = process.env;
    this.process = spawn(program, rest, {
      cwd: tree,
      env: { PATH, HOME, ...(TMPDIR !== undefined && { TMPDIR }), ...env },
      // A process group of its own, as a shell gives to every command in a terminal.
      detached: true,
    });
    this.process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.process.stdin?.on('error', () => undefined).end(input);
    this.#ended = once(this.process, 'close').then(([code, signal]) => ({
      code,
      signal,
      stdout: this.stdout,
      stderr: this.stderr,
    }));
  }

  get pid(): number {
    const { pid } = this.process;
    if (pid === undefined) throw new Error('It did not start.');
    return pid;
  }

  get running(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  ended(): Promise<Ended> {
    return this.#ended;
  }

  /** Waits until it has printed something. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.stdout);
      if (found) return found;
      if (!this.running) throw new Error(`It ended without saying ${pattern}: ${this.stdout}${this.stderr}`);
      await sleep(20);
    }
  }

  /** Signals it alone, and waits for its end. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    if (this.running) this.process.kill(signal);
    return this.#ended;
  }

  /** Signals its whole process group, as a terminal does at Ctrl-C, and waits for its end. */
  interrupt(): Promise<Ended> {
    if (this.running) process.kill(-this.pid, 'SIGINT');
    return this.#ended;
  }
}

/** Runs a command to its end. */
export function gatehouse(parameters: readonly string[], options: GatehouseOptions = {}): Promise<Ended> {
  return new Gatehouse(parameters, options).ended();
}

/** What a test started, and what it leaves behind. */
export class Workbench {
  readonly #started: Gatehouse[] = [];
  readonly #folders: string[] = [];

  start(parameters: readonly string[], options: GatehouseOptions = {}): Gatehouse {
    const started = new Gatehouse(parameters, options);
    this.#started.push(started);
    return started;
  }

  /** A folder that every user may pass through, unlike what mkdtemp makes. */
  async folder(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'gatehouse-command-'));
    await chmod(folder, 0o755);
    this.#folders.push(folder);
    return folder;
  }

  /** A data folder that does not exist yet; a database that is left running in it is stopped by {@link clear}. */
  async dataFolder(): Promise<string> {
    return join(await this.folder(), 'data');
  }

  async clear(): Promise<void> {
    for (const started of this.#started.splice(0)) {
      if (started.running) await started.stop('SIGKILL');
    }
    for (const folder of this.#folders.splice(0)) {
      const data = join(folder, 'data');
      // Joined and left by the last one, an embedded PostgreSQL stops.
      if (await isCluster(data)) await (await startEmbedded({ dataFolder: data })).stop();
      await rm(folder, { recursive: true, force: true });
    }
  }
}

async function isCluster(dataFolder: string): Promise<boolean> {
  return access(join(dataFolder, 'cluster')).then(
    () => true,
    () => false,
  );
}
