/**
 * `GATEHOUSE_WORKERS`: one port, several processes.
 *
 *   fork one ──it listens──▶ fork the others ──one dies──▶ fork another ──told to stop──▶ SIGTERM to all, wait for them
 *       └─it ends without ever listening──▶ it refused its start, and has said why: end all with its exit code
 *
 * The first one starts alone so that a refusal is said once.
 */
import cluster, { type Worker } from 'node:cluster';
import type { Logger } from 'pino';

/**
 * Keeps `count` workers running until told to stop.
 * @param ports what each of them listens on once it is up
 * @returns the exit code: 0 when told to stop, else that of the worker that refused to start
 */
export function superviseWorkers(
  count: number,
  ports: readonly number[],
  stop: AbortSignal,
  logger: Logger,
): Promise<number> {
  const workers = new Set<Worker>();
  const listened = new Map<Worker, Set<number>>();
  const isUp = (worker: Worker) => ports.every((port) => listened.get(worker)?.has(port));
  let outcome: number | undefined;
  const fork = () => {
    if (outcome === undefined && workers.size < count) workers.add(cluster.fork());
  };
  const end = (code: number) => {
    outcome ??= code;
    for (const worker of workers) worker.process.kill('SIGTERM');
  };
  return new Promise((resolve) => {
    stop.addEventListener('abort', () => end(0));
    cluster.on('listening', (worker, { port }) => {
      listened.set(worker, (listened.get(worker) ?? new Set()).add(port));
      while (isUp(worker) && outcome === undefined && workers.size < count) fork();
    });
    cluster.on('exit', (worker, code, signal) => {
      workers.delete(worker);
      if (outcome === undefined) {
        // Killed from outside, it is replaced even if it never listened.
        if (!isUp(worker) && signal === null) end(code || 1);
        else logger.warn({ worker: worker.process.pid, code, signal }, 'a worker ended; another one takes its place');
      }
      listened.delete(worker);
      fork();
      if (outcome !== undefined && workers.size === 0) resolve(outcome);
    });
    fork();
  });
}
