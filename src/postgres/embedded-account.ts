/**
 * Whom the embedded PostgreSQL runs as. PostgreSQL refuses to run as root, so root runs it as the unprivileged user
 * `postgres`, made when missing; everybody else runs it as themselves.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** The user and group that the programs of PostgreSQL run as, and that the cluster belongs to. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** How a program ended: `code` is 0 after success, `output` what it wrote (or why it could not even start). */
export interface Ending {
  readonly code: number;
  readonly output: string;
}

const NAME = 'postgres';

/** @throws Error when running as root and there is no way to become an unprivileged user */
export async function unprivilegedAccount(): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const account = (await lookUp()) ?? (await create());
  const probe = await run('/bin/sh', ['-c', 'exit 0'], account);
  if (probe.code !== 0) {
    throw new Error(
      `PostgreSQL refuses to run as root, and running as "${NAME}" failed (${reasonIn(probe.output)}): start as another user, or set DATABASE_URL.`,
    );
  }
  return account;
}

/**
 * Runs a program to its end.
 *
 * It gets a fixed environment: no PG… variable may redirect PostgreSQL, and none of our secrets may end up in the
 * environment of a server that outlives us. Its working folder is `/`, the one place every account can enter.
 * @param account whom to run as; undefined: as ourselves
 * @param output a file descriptor to write to instead of collecting the output. Needed when something that outlives the
 *   program inherits it: a pipe would end only with that
 */
export async function run(
  program: string,
  parameters: readonly string[],
  account?: Account,
  output?: number,
): Promise<Ending> {
  let text = '';
  const collect = (chunk: string) => {
    text += chunk;
  };
  try {
    const child = spawn(program, parameters, {
      cwd: '/',
      env: { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', output ?? 'pipe', output ?? 'pipe'],
      // Out of the reach of a Ctrl-C, which goes to every process of the terminal's group: a start or a stop is finished.
      detached: true,
      ...(account && { uid: account.uid, gid: account.gid }),
    });
    child.stdout?.setEncoding('utf8').on('data', collect);
    child.stderr?.setEncoding('utf8').on('data', collect);
    const [code] = await once(child, 'close');
    return { code: code ?? -1, output: text.trim() };
  } catch (error) {
    return { code: -1, output: error instanceof Error ? error.message : String(error) };
  }
}

/** Of what a program printed or logged, the one line that says why it failed, without its time stamp. */
export function reasonIn(output: string): string {
  const lines = output.trim().split('\n');
  const line = lines.findLast((text) => /FATAL|PANIC|error: /.test(text)) ?? lines.at(-1) ?? '';
  return line.replace(/^.*?(?=FATAL|PANIC)/, '');
}

async function lookUp(): Promise<Account | undefined> {
  const [user, group] = await Promise.all([run('id', ['-u', NAME]), run('id', ['-g', NAME])]);
  if (user.code !== 0 || group.code !== 0) return undefined;
  return { name: NAME, uid: Number(user.output), gid: Number(group.output) };
}

async function create(): Promise<Account> {
  const login = ['--no-create-home', '--home-dir', '/nonexistent', '--shell', '/usr/sbin/nologin'];
  const made = await run('useradd', ['--system', '--user-group', ...login, NAME]);
  // Looked up even after a failure: another start may have made the user at the same moment.
  const account = await lookUp();
  if (account !== undefined) return account;
  throw new Error(
    `PostgreSQL refuses to run as root, and making the user "${NAME}" failed (${reasonIn(made.output)}): start as another user, or set DATABASE_URL.`,
  );
}
