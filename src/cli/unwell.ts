/**
 * A server that must not go on without having been told to stop: something threw where nothing catches, so its state may be
 * anything, or it is about to run out of memory, which nobody survives. It takes no more requests, finishes those it has,
 * and ends with an exit code that is not 0.
 */
import { getHeapStatistics } from 'node:v8';
import type { Logger } from 'pino';

/**
 * Share of what long-lived values may fill. Garbage is collected long before; what remains there is a leak. What is left must do
 * for the requests under way, and for values that V8 copies to make room for more of them.
 */
const FULL = 0.85;
/**
 * Bytes of the heap's limit that V8 keeps for new values, without which memory is out: three semi-spaces of Node's 16 MiB. Of
 * smaller ones (memory.ts) a process leaves a little earlier; larger ones are not foreseen.
 */
const YOUNG = 48 * 1024 * 1024;
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
    if (used < FULL * Math.max(limit - YOUNG, 0.75 * limit)) return;
    clearInterval(looking);
    logger.fatal({ used, limit }, 'memory runs out: this process finishes what it has, and ends');
    found.abort();
  }, LOOK).unref();
  return found.signal;
}
