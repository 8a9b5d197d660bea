/** The ceiling of a sign-in: the hash, and nothing else. By the library that Gatehouse has, and by the reference implementation. */
import { availableParallelism } from 'node:os';
import { hash, verify } from '@node-rs/argon2';
import reference from 'argon2';
import type { FastifyInstance } from 'fastify';

/** OWASP's minimum, and two at once where there are two cores: what Gatehouse has. */
const PARAMETERS = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
const AT_ONCE = Math.min(2, availableParallelism());
const PASSWORD = 'correct horse battery staple';

export async function passwordRoutes(app: FastifyInstance): Promise<void> {
  const phc = await hash(PASSWORD, PARAMETERS);
  const inTurn = turns();
  const fast = () => inTurn(async () => ({ verified: await verify(phc, PASSWORD) }));
  app.post('/sign-in/verify', fast);
  app.post('/sign-in-flow/verify', fast);
  app.post('/introspection-under-sign-in/verify', fast);
  app.post('/sign-in-reference/verify', () =>
    inTurn(async () => ({ verified: await reference.verify(phc, PASSWORD) })),
  );
}

function turns() {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async <Result>(work: () => Promise<Result>): Promise<Result> => {
    if (running >= AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    const result = await work();
    const next = waiting.shift();
    if (next) next();
    else running -= 1;
    return result;
  };
}
