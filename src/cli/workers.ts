/**
 * `GATEHOUSE_WORKERS`: one port, several processes.
 *
 *   fork one ──it listens──▶ fork the others ──one ends, or says that it leaves──▶ fork another ──told to stop──▶ SIGTERM to all
 *       └─it ends without ever listening──▶ it refused its start, and has said why: end with its exit code
 *
 * The first one starts alone so that a refusal is said once.
 *
 * All of them accept from one queue of the kernel. Were connections handed over by the primary (Node's round robin), one
 * that is handed to a worker in the moment it is killed would be neither answered nor closed; so, what nobody has accepted
 * yet another one takes, and nothing passes through the primary. The kernel is not fair, though: of a burst of connections
 * that are kept alive one worker may get all. So each tells how many it has, hears what would be fair, and closes some of
 * those above that behind their next answers; who asks again comes to the others.
 */
import cluster, { type Worker } from 'node:cluster';
import type { Server } from 'node:http';
import type { Logger } from 'pino';
import { PARAMETERS } from './memory.ts';

/** A worker that ends younger than this, in milliseconds, ended soon. */
const SOON = 60_000;
/** Milliseconds to wait when one ends soon after another, doubled each time up to the second: no storm of starts. */
const PAUSES = [1000, 30_000] as const;

/** Milliseconds between two counts of connections. */
const COUNT = 1000;

interface Leaving {
  /** By itself, because it must not go on. */
  readonly unwell: boolean;
}

/** In a worker: another one shall take its place now, while this one finishes what it has. */
export function tellLeaving(leaving: Leaving): void {
  cluster.worker?.send({ leaving });
}

/** In a worker: keeps about as many connections as the others do. Those that are closed had their answer, and were told. */
export function shareConnections(doors: readonly Server[]): void {
  const { worker } = cluster;
  if (worker === undefined) return;
  let open = 0;
  let tooMany = 0;
  for (const door of doors) {
    door.on('connection', (socket) => {
      open += 1;
      socket.once('close', () => {
        open -= 1;
      });
    });
    door.prependListener('request', (_request, response) => {
      if (tooMany === 0) return;
      tooMany -= 1;
      response.setHeader('connection', 'close');
    });
  }
  worker.on('message', ({ fair }: { fair?: number }) => {
    // Half of what is above a quarter more than fair: the next count sees what came of it.
    if (fair !== undefined) tooMany = Math.max(0, Math.ceil((open - fair * 1.25 - 1) / 2));
  });
  setInterval(() => worker.isConnected() && worker.send({ open }), COUNT).unref();
}

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
  // Before setupPrimary, which fixes it.
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  // What the operator says on the command line comes after it, and counts; what NODE_OPTIONS says does not.
  cluster.setupPrimary({ execArgv: [...PARAMETERS, ...process.execArgv] });
  const running = new Set<Worker>();
  /** Those that have not said that they leave, and when they were forked. */
  const staying = new Map<Worker, number>();
  const listened = new Map<Worker, Set<number>>();
  const isUp = (worker: Worker) => ports.every((port) => listened.get(worker)?.has(port));
  /** Connections of each, as it told last. */
  const open = new WeakMap<Worker, number>();
  let wanted = 1;
  let soonEnds = 0;
  let pause: NodeJS.Timeout | undefined;
  let wait = 0;
  let outcome: number | undefined;
  const fill = () => {
    while (outcome === undefined && pause === undefined && staying.size < wanted) {
      const worker = cluster.fork();
      running.add(worker);
      staying.set(worker, performance.now());
    }
  };
  /** @returns milliseconds until another one is started */
  const replace = (worker: Worker, asked: boolean): number => {
    const age = performance.now() - (staying.get(worker) ?? 0);
    staying.delete(worker);
    if (!asked && pause === undefined) {
      soonEnds = age < SOON ? soonEnds + 1 : 0;
      wait = soonEnds > 1 ? Math.min(PAUSES[0] * 2 ** (soonEnds - 2), PAUSES[1]) : 0;
      if (wait > 0) {
        pause = setTimeout(() => {
          pause = undefined;
          wait = 0;
          fill();
        }, wait);
      }
    }
    fill();
    return wait;
  };
  return new Promise((resolve) => {
    const end = (code: number) => {
      outcome ??= code;
      clearTimeout(pause);
      // Those that leave are draining already: told again they would end at once.
      for (const worker of staying.keys()) worker.process.kill('SIGTERM');
      if (running.size === 0) resolve(outcome);
    };
    stop.addEventListener('abort', () => end(0));
    cluster.on('listening', (worker, { port }) => {
      listened.set(worker, (listened.get(worker) ?? new Set()).add(port));
      if (isUp(worker)) wanted = count;
      fill();
    });
    cluster.on('message', (worker, message: { leaving?: Leaving; open?: number }) => {
      if (message.open !== undefined && staying.has(worker) && worker.isConnected()) {
        open.set(worker, message.open);
        const counts = [...staying.keys()].map((one) => open.get(one) ?? 0);
        worker.send({ fair: counts.reduce((sum, one) => sum + one, 0) / counts.length });
      }
      if (message.leaving === undefined || outcome !== undefined || !staying.has(worker)) return;
      const pausing = replace(worker, !message.leaving.unwell);
      logger.warn(
        { worker: worker.process.pid, ...message.leaving, wait: pausing },
        'a worker leaves; another one takes its place',
      );
    });
    cluster.on('exit', (worker, code, signal) => {
      running.delete(worker);
      listened.delete(worker);
      const left = !staying.has(worker);
      // Before any was up it is a refusal, unless it was killed from outside. Later one must not end those that serve.
      if (outcome === undefined && wanted < count && signal === null) end(code || 1);
      if (outcome === undefined && !left) {
        const pausing = replace(worker, false);
        logger.warn(
          { worker: worker.process.pid, code, signal, wait: pausing },
          'a worker ended; another one takes its place',
        );
      }
      staying.delete(worker);
      if (outcome !== undefined && running.size === 0) resolve(outcome);
    });
    fill();
  });
}
