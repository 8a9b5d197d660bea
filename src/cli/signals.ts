/** Being told to stop: SIGTERM by whoever runs us, SIGINT by a Ctrl-C in the terminal. */
import cluster from 'node:cluster';
import { once } from 'node:events';

/** One Ctrl-C under npm arrives twice, from the terminal and from npm: within this many milliseconds it is one wish. */
const SAME_WISH = 1000;

/**
 * From now on a first signal aborts what is returned instead of ending the process, so that whoever runs can clean up;
 * a second one ends it at once, with exit code 1.
 */
export function stopSignal(): AbortSignal {
  const stop = new AbortController();
  let since = 0;
  const told = () => {
    if (stop.signal.aborted && performance.now() - since > SAME_WISH) process.exit(1);
    since ||= performance.now();
    stop.abort();
  };
  process.on('SIGTERM', told);
  // A Ctrl-C reaches the workers too; theirs to obey is the primary, which passes it on as SIGTERM.
  process.on('SIGINT', cluster.isWorker ? () => undefined : told);
  return stop.signal;
}

/** Returns once `stop` is aborted. */
export async function toldToStop(stop: AbortSignal): Promise<void> {
  if (!stop.aborted) await once(stop, 'abort');
}
