/**
 * Ports for servers that must know theirs before they start.
 *
 * A port that the system picks (`listen(0)`) and that is closed again until the server opens it can be taken in between:
 * by another file's server, or by any outgoing connection, which the system gives ports of the same range. So these come
 * from below that range, each worker has a stretch of its own, and none is given twice by the same process.
 */
import { createServer } from 'node:net';

/** Below 32768, where Linux begins with ports it picks by itself, and above what a developer is likely to run. */
const FIRST = 12_000;
const STRETCH = 5000;
const WORKERS = 4;

const worker = (Number(process.env.VITEST_POOL_ID ?? 1) - 1) % WORKERS;
const base = FIRST + worker * STRETCH;
// Each file is a process of its own: beginning somewhere else, it does not wait for what the one before leaves behind.
let next = Math.floor(Math.random() * STRETCH);

/**
 * A port of the loopback interface nobody listens on, and that nobody else of this run will be given meanwhile.
 * @throws Error when the whole stretch is taken
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < STRETCH; tries += 1) {
    const port = base + next;
    next = (next + 1) % STRETCH;
    if (await isFree(port)) return port;
  }
  throw new Error(`No port from ${base} to ${base + STRETCH - 1} is free.`);
}

/** Both families: what `localhost` means differs between who listens and who calls. */
async function isFree(port: number): Promise<boolean> {
  return (await canListen(port, '127.0.0.1')) && (await canListen(port, '::1'));
}

function canListen(port: number, host: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'EADDRINUSE' || code === 'EACCES') resolve(false);
      // No such family on this machine: nobody listens there either.
      else if (code === 'EADDRNOTAVAIL' || code === 'EAFNOSUPPORT') resolve(true);
      else reject(new Error(`Port ${port} of ${host}: ${code}`));
    });
    probe.listen({ port, host, exclusive: true }, () => probe.close(() => resolve(true)));
  });
}
