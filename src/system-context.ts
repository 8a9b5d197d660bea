/** Time and chance of the machine itself: what a server runs on where no test shifts them. */
import { randomBytes, randomFillSync } from 'node:crypto';
import type { Context } from './protocol/context.ts';

/** Bytes. A call into the generator costs as much for sixteen of them as for some hundred. */
const POOL = 4096;
const pool = Buffer.alloc(POOL);
let used = POOL;

/** From a pool that is filled at once; what is given is erased in it, so that nobody is given or can find it again. */
function random(size: number): Buffer {
  if (size > POOL / 8) return randomBytes(size);
  if (used + size > POOL) {
    randomFillSync(pool);
    used = 0;
  }
  const end = used + size;
  const bytes = Buffer.allocUnsafe(size);
  pool.copy(bytes, 0, used, end);
  pool.fill(0, used, end);
  used = end;
  return bytes;
}

export const systemContext: Context = { now: () => new Date(), random };
