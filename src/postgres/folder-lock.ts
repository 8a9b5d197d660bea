/**
 * A lock between processes of one machine: whoever holds `path` is alone in its folder.
 *
 * Invariant: a lock is removed by its living owner, or, when the owner is dead, by the one process that holds the lock
 * on removing it, and by nobody else. So two processes that find the same dead owner cannot remove each other's new lock.
 *
 * Algorithm: the lock is a symbolic link that points at its owner's identity, "pid@start time": symlink(2) gives name and
 * content in one atomic step, so nobody reads half an owner, and a recycled pid is not mistaken for the owner.
 * A dead owner's link is read again and removed while holding `path.stale`, a lock of the same kind; should its owner
 * die in turn, that is broken through `path.stale.stale`, and so on: each level costs one more crash at that very moment.
 */
import { execFile } from 'node:child_process';
import { readFile, readlink, symlink, unlink } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

const POLL_MILLISECONDS = 25;

/**
 * Runs `work` while holding the lock at `path`, and gives the lock back however `work` ends.
 *
 * @param path the lock itself, a file name in an existing folder that only trusted users can write to
 * @param patience how long to wait for another living holder, in milliseconds
 * @throws Error naming the holder when `patience` ran out; whatever `work` throws
 */
export async function withLock<T>(path: string, patience: number, work: () => Promise<T>): Promise<T> {
  await acquire(path, patience);
  try {
    return await work();
  } finally {
    await unlink(path);
  }
}

async function acquire(path: string, patience: number): Promise<void> {
  const self = await identity(process.pid);
  if (self === undefined)
    throw new Error(`Cannot lock ${path}: the start time of process ${process.pid} is unreadable.`);
  const deadline = Date.now() + patience;
  while (!(await take(path, self))) {
    const owner = await ownerOf(path);
    if (owner === undefined) continue;
    if (!(await isAlive(owner))) {
      await withLock(`${path}.stale`, patience, async () => {
        // Another process may have removed it, and a third one taken it, since it was found dead.
        if ((await ownerOf(path)) === owner) await unlink(path);
      });
    } else if (Date.now() > deadline) {
      const seconds = Math.round(patience / 1000);
      throw new Error(`Process ${pidOf(owner)} has held ${path} for over ${seconds} s: end it, then try again.`);
    } else {
      await delay(POLL_MILLISECONDS);
    }
  }
}

/** False when somebody has it already. */
async function take(path: string, self: string): Promise<boolean> {
  return symlink(self, path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') return false;
      throw error;
    },
  );
}

/** Undefined when it was given back in the meantime. */
async function ownerOf(path: string): Promise<string | undefined> {
  return readlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
}

function pidOf(owner: string): number {
  return Number.parseInt(owner, 10);
}

async function isAlive(owner: string): Promise<boolean> {
  return (await identity(pidOf(owner))) === owner;
}

/** "pid@start time" of a running process; undefined when there is none, or only a zombie that waits for its parent. */
async function identity(pid: number): Promise<string | undefined> {
  const started = process.platform === 'linux' ? await startedOnLinux(pid) : await startedElsewhere(pid);
  return started === undefined ? undefined : `${pid}@${started}`;
}

async function startedOnLinux(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  // proc(5): the command name, field 2, may itself hold spaces and parentheses; state is field 3, starttime field 22.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

async function startedElsewhere(pid: number): Promise<string | undefined> {
  const ps = await promisify(execFile)('/bin/ps', ['-o', 'lstart=', '-p', String(pid)], {
    env: { LC_ALL: 'C', TZ: 'UTC' },
  })
    .then(({ stdout }) => stdout.trim())
    .catch(() => '');
  return ps === '' ? undefined : ps;
}
