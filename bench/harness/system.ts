/** What Linux counts for processes, and which core they run on. Elsewhere nothing is pinned and nothing is counted. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** USER_HZ, which is 100 on every architecture Node runs on: /proc counts in ticks of ten milliseconds. */
const TICK_MILLISECONDS = 10;

interface Stat {
  readonly parent: number;
  /** Milliseconds of processor time. */
  readonly own: number;
  /** Of children that are gone. */
  readonly buried: number;
}

function statOf(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name, in parentheses, may hold anything; what follows its last parenthesis is numbers.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const ticks = (first: number) => (Number(fields[first]) + Number(fields[first + 1])) * TICK_MILLISECONDS;
    return { parent: Number(fields[1]), own: ticks(11), buried: ticks(13) };
  } catch {
    return undefined;
  }
}

/** The pids of a process and of all that come from it. */
export function treeOf(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readProc()) {
    const stat = statOf(Number(name));
    if (stat) children.set(stat.parent, [...(children.get(stat.parent) ?? []), Number(name)]);
  }
  const tree = [root];
  for (const pid of tree) tree.push(...(children.get(pid) ?? []));
  return tree;
}

function readProc(): string[] {
  try {
    return readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
}

/** Milliseconds of processor time that a process and its descendants have used; `undefined` where nobody counts. */
export function cpuOf(root: number): number | undefined {
  const stats = treeOf(root).flatMap((pid) => statOf(pid) ?? []);
  return stats.length === 0 ? undefined : stats.reduce((sum, { own, buried }) => sum + own + buried, 0);
}

/** Resident memory of a process, in bytes; where it has others that work for it, of the largest. */
export function memoryOf(root: number): number | undefined {
  const sizes = treeOf(root).flatMap((pid) => residentOf(pid) ?? []);
  return sizes.length === 0 ? undefined : Math.max(...sizes);
}

function residentOf(pid: number): number | undefined {
  try {
    const [, kilobytes] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
  } catch {
    return undefined;
  }
}

/** The postmaster of a PostgreSQL on this machine, found by one of its backends. */
export function postmasterOf(backend: number): number | undefined {
  try {
    const isPostgres = readFileSync(`/proc/${backend}/comm`, 'latin1').startsWith('postgres');
    return isPostgres ? statOf(backend)?.parent : undefined;
  } catch {
    return undefined;
  }
}

/** Whether processes can be put on cores of their own. */
export function canPin(): boolean {
  try {
    execFileSync('taskset', ['--version'], { stdio: 'ignore' });
    return availableParallelism() > 1;
  } catch {
    return false;
  }
}

/** Puts running processes, with all their threads, on a core. */
export function pin(core: number, pids: readonly number[]): void {
  for (const pid of pids) execFileSync('taskset', ['-a', '-c', '-p', String(core), String(pid)], { stdio: 'ignore' });
}
