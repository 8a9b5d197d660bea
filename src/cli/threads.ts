/**
 * Who goes first in a serving process: its event loop. Passwords are hashed on threads beside it, each of which would get as much
 * of a busy core as the loop, in turns of milliseconds. All requests wait for the loop, but only one for its hash.
 *
 * Those threads (libuv's) make RSA signatures too, and the others are V8's, which help to collect garbage: they cannot be told apart.
 * Neither showed in what other requests cost (docs/performance.md).
 */
import { readdir, readlink } from 'node:fs/promises';
import { getPriority, setPriority } from 'node:os';

/** How much nicer the other threads are. Against a busy loop each gets a third of the loop's time: sign-ins go on whatever else comes. */
export const NICER = 5;
const NICEST = 19;

/** On Linux, where niceness is a thread's own; elsewhere it does nothing. */
export async function eventLoopFirst(): Promise<void> {
  if (process.platform !== 'linux') return;
  const niceness = Math.min(getPriority() + NICER, NICEST);
  // Reading is done on libuv's threads, so they are there now, and no more will come.
  for (const thread of await ownThreads()) {
    try {
      // The loop's own has the process's id.
      if (thread !== process.pid) setPriority(thread, niceness);
    } catch {
      // It has ended, or a sandbox forbids it.
    }
  }
}

/** Their ids; none where /proc is missing or tells of another namespace, whose ids are others' here. */
async function ownThreads(): Promise<number[]> {
  try {
    const own = (await readlink('/proc/self')) === String(process.pid);
    return own ? (await readdir('/proc/self/task')).map(Number) : [];
  } catch {
    return [];
  }
}
