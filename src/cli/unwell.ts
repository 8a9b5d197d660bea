/**
 * A server that must not go on without having been told to stop: something threw where nothing catches, so its state may be
 * anything, or it is about to run out of memory, which nobody survives. It takes no more requests, finishes those it has,
 * and ends with an exit code that is not 0.
 */
import { getHeapStatistics } from 'node:v8';
import type { Logger } from 'pino';

/** Share of the heap's limit in use. Garbage is collected long before; what remains there is a leak. */
const FULL = 0.8;
/** Milliseconds between two looks. */
const LOOK = 1000;

/** @returns aborted when this process shall end; what throws after that is logged */
export function unwell(logger: Logger): AbortSignal {
  const found = new AbortController();
  process.on('uncaughtException', (err, origin) => {
    logger.fatal({ err, origin }, 'an error that nothing caught: this process finishes what it has, and ends');
    found.abort();
  });
  const looking = setInterval(() => {
    const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics();
    if (used < FULL * limit) return;
    clearInterval(looking);
    logger.fatal({ used, limit }, 'memory runs out: this process finishes what it has, and ends');
    found.abort();
  }, LOOK).unref();
  return found.signal;
}
