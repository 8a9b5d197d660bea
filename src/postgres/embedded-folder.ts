/**
 * Where the embedded PostgreSQL lives, and who may look inside.
 *
 * The data folder is for its owner only (0700). What PostgreSQL itself works on, the cluster, lives in its *home*: the
 * data folder, or, when we are root and PostgreSQL's account cannot get there (a 0700 folder further up), a folder under
 * the system's temporary folder that the data folder names in `postgres.home`, so that every later start finds it.
 * As root, a home belongs to root and lets the account's group pass through without listing it (0710): the account
 * owns the cluster inside, but cannot replace anything beside it, such as files root writes or reads.
 */
import { randomBytes } from 'node:crypto';
import { access, chmod, chown, lstat, mkdir, mkdtemp, readFile, realpath, rename, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { type Account, run } from './embedded-account.ts';

/**
 * Makes the data folder if need be and closes it to everybody else.
 *
 * @returns its path without symbolic links, as the kernel names it
 * @throws Error when it belongs to somebody else, who could replace what is in it
 */
export async function openFolder(dataFolder: string): Promise<string> {
  const wanted = resolve(dataFolder);
  await mkdir(dirname(wanted), { recursive: true });
  await mkdir(wanted, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  const folder = await realpath(wanted);
  const { uid, mode } = await lstat(folder);
  if (uid !== process.getuid?.()) {
    throw new Error(`${folder} belongs to user ${uid}: run as that user, or set GATEHOUSE_DATA to another folder.`);
  }
  // Not on every start: 0710 may be what a running server's account depends on.
  if ((mode & 0o067) !== 0) await chmod(folder, 0o700);
  return folder;
}

/**
 * The folder that holds the cluster, and copies of the binaries where PostgreSQL's account cannot reach the packaged ones.
 *
 * @throws Error when the named home is not ours, or when there is no place the account can reach
 */
export async function findHome(folder: string, account: Account | undefined): Promise<string> {
  if (account === undefined) return folder;
  const note = join(folder, 'postgres.home');
  const named = await readIfThere(note);
  if (named === undefined) {
    await admit(account, folder);
    if (await reaches(account, folder)) return folder;
    if (await isThere(join(folder, 'cluster'))) {
      throw new Error(`User "${account.name}" no longer reaches ${folder}: let it pass the folders above (chmod o+x).`);
    }
    await chmod(folder, 0o700);
  } else if (await isThere(named)) {
    await assertOwn(named, note);
    return named;
  }
  // None yet, or gone with a reboot, as temporary folders go.
  const home = await mkdtemp(join(await realpath(tmpdir()), 'gatehouse-postgres-'));
  await admit(account, home);
  if (!(await reaches(account, home))) {
    throw new Error(
      `User "${account.name}" reaches neither ${folder} nor ${home}: set GATEHOUSE_DATA or DATABASE_URL.`,
    );
  }
  await writePrivately(note, home);
  return home;
}

/**
 * The database password: 256 random bits, in a file that only we can read.
 *
 * @throws Error when it is missing although a cluster with a password exists
 */
export async function findPassword(folder: string, clusterExists: boolean): Promise<string> {
  const path = join(folder, 'postgres.password');
  const stored = await readIfThere(path);
  if (stored !== undefined) return stored;
  if (clusterExists) throw new Error(`${path} is missing, and with it the way in: restore it, or remove ${folder}.`);
  const password = randomBytes(32).toString('base64url');
  await writePrivately(path, password);
  return password;
}

/** Whether anything has that name. */
export async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

async function admit(account: Account, folder: string): Promise<void> {
  await chown(folder, 0, account.gid);
  await chmod(folder, 0o710);
}

async function reaches(account: Account, folder: string): Promise<boolean> {
  const { code } = await run('/bin/sh', ['-c', 'cd -- "$1"', 'sh', folder], account);
  return code === 0;
}

/** The system's temporary folder is anybody's: after a reboot, another user may have put a folder of that name there. */
async function assertOwn(home: string, note: string): Promise<void> {
  const found = await lstat(home);
  if (!found.isDirectory() || found.uid !== 0 || (found.mode & 0o027) !== 0) {
    throw new Error(`${home} is not the folder made for this database: remove ${note} to begin with an empty one.`);
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
}

/** All or nothing: a crash in between must not leave half a password. Callers hold the lock on the folder. */
async function writePrivately(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text, { mode: 0o600 });
  await rename(`${path}.new`, path);
}
