/** Work that repeats by itself. Each job bears being run on every node at once; a run that fails is logged and comes again. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { AuthorizationServer } from './protocol/authorization-server.ts';
import type { Job } from './protocol/feature.ts';

export interface Jobs {
  /** Stops repeating and waits for runs under way, and for what they began. */
  stop(): Promise<void>;
}

/** Milliseconds that jobs have at the end. */
const PATIENCE = 15_000;

export function startJobs(
  jobs: readonly Job[],
  server: AuthorizationServer,
  onError: (job: string, error: unknown) => void,
): Jobs {
  const underWay = new Map<Job, Promise<void>>();
  const run = (job: Job) => {
    // A run that takes longer than its interval is not overtaken by itself.
    if (underWay.has(job)) return;
    const running = job
      .run(server.context.now(), server)
      .catch((error: unknown) => onError(job.name, error))
      .finally(() => underWay.delete(job));
    underWay.set(job, running);
  };
  const timers = jobs.map((job) => setInterval(run, job.every * 1000, job).unref());
  return {
    async stop() {
      for (const timer of timers) clearInterval(timer);
      const runs = Promise.all(underWay.values());
      const finished = runs.then(() => Promise.all(jobs.map((job) => job.finish?.())));
      // Bounded: what is not finished by then, another node or the next start takes up.
      await Promise.race([finished, sleep(PATIENCE, undefined, { ref: false })]);
    },
  };
}
