/**
 * Whoever hangs up before the answer has done what it did all the same: each request that was begun has its line in the
 * log and its event in the trail. A guess must not go unseen because nobody waited for what came of it.
 */
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../support/embedded-commands.ts';
import { startWorld, type World } from '../support/world.ts';

let world: World;
let begun = 0;
beforeAll(async () => {
  world = await startWorld();
  world.running.app.server.prependListener('request', () => {
    begun += 1;
  });
});
afterAll(() => world.close());

interface Line {
  readonly route?: string;
  readonly event?: string;
  readonly aborted?: boolean;
}

const lines = () => world.log.map((line) => JSON.parse(line) as Line).filter(({ route }) => route === '/token');

function request(form: string): string {
  const { host } = new URL(world.issuer);
  return `POST /token HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${form.length}\r\n\r\n${form}`;
}

async function sent(text: string): Promise<Socket> {
  const { hostname, port } = new URL(world.issuer);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.write(text, resolve));
  return socket;
}

/** Sends it on connections that end after 0 to 4 ms each. */
async function hangUp(text: string, end: (socket: Socket) => void): Promise<void> {
  for (let index = 0; index < 40; index += 1) {
    const socket = await sent(text);
    if (index % 5 > 0) await sleep(index % 5);
    end(socket);
  }
}

const ENDS: readonly (readonly [string, (socket: Socket) => void])[] = [
  ['a reset', (socket) => socket.resetAndDestroy()],
  ['a close', (socket) => socket.destroy()],
];

describe.each(ENDS)('After %s', (_name, end) => {
  it('requests that were refused are seen', async () => {
    const [before, seen] = [begun, lines().length];
    await hangUp(request('grant_type=client_credentials&client_id=photos-api&client_secret=guessed'), end);
    await until(async () => begun > before && lines().length - seen === begun - before);
    expect(lines().every(({ event }) => event !== undefined)).toBe(true);
  });

  it('tokens that were issued are seen, in the trail too', async () => {
    const { id, secret } = world.photosApi;
    const form = new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: id,
      client_secret: secret,
    }).toString();
    const [before, seen] = [begun, lines().length];
    await hangUp(request(form), end);
    await until(async () => begun > before && lines().length - seen === begun - before);
    const issued = lines().filter(({ event }) => event === 'token_issued').length;
    await until(async () => (await eventsOf('token_issued')) === issued);
  });

  it('so are those that wait behind others of their connection', async () => {
    const [before, seen] = [begun, lines().length];
    await hangUp(request('grant_type=unheard_of').repeat(5), end);
    await until(async () => begun > before && lines().length - seen === begun - before);
  });
});

it('an answer that did not get there is marked, and no other', async () => {
  await until(async () => lines().some(({ aborted }) => aborted === true));
  const before = lines().length;
  const socket = await sent(request('grant_type=unheard_of').repeat(3));
  socket.resume();
  await until(async () => lines().length === before + 3);
  socket.destroy();
  expect(
    lines()
      .slice(before)
      .map(({ aborted }) => aborted),
  ).toEqual([undefined, undefined, undefined]);
});

async function eventsOf(event: string): Promise<number> {
  const { rows } = await sql<{ times: number }>`
    SELECT coalesce(sum(times), 0)::integer AS times FROM audit WHERE event = ${event}`.execute(
    world.running.database.sql,
  );
  return rows[0]?.times ?? 0;
}
