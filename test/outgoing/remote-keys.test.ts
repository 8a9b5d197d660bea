/**
 * Attacker: names a `jwks_uri` and wants us to call others for them, to keep us busy, or to be believed; or makes up key ids, so
 * that we knock at a client's door without end.
 */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CachedRemoteKeys } from '../../src/outgoing/remote-keys.ts';
import { Unavailable } from '../../src/protocol/errors.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** A client's address whose answer can be changed. */
async function serve(listener: RequestListener) {
  const address = { uri: '', calls: 0, answer: listener };
  const server = createServer((request, response) => {
    address.calls += 1;
    address.answer(request, response);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  address.uri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
  return address;
}

const json =
  (value: unknown): RequestListener =>
  (_request, response) =>
    response.end(JSON.stringify(value));
const setOf = (...kids: string[]) => ({ keys: kids.map((kid) => ({ kty: 'EC', kid })) });
const down: RequestListener = (_request, response) => response.writeHead(503).end();

let now: Date;
let remote: CachedRemoteKeys;
const later = (seconds: number) => {
  now = new Date(now.getTime() + seconds * 1000);
};
beforeEach(() => {
  now = new Date('2026-03-01T12:00:00Z');
  remote = new CachedRemoteKeys({ now: () => now, random: (size) => Buffer.alloc(size) }, true);
});

describe('keys at an address', () => {
  it('are kept for ten minutes', async () => {
    const address = await serve(json(setOf('one')));
    const first = await remote.fetch(address.uri, false);
    expect(first).toEqual(setOf('one'));
    address.answer = json(setOf('two'));
    later(599);
    expect(await remote.fetch(address.uri, false)).toBe(first);
    expect(address.calls).toBe(1);
    later(1);
    expect(await remote.fetch(address.uri, false)).toEqual(setOf('two'));
    expect(address.calls).toBe(2);
  });

  it('are fetched anew when one is missing, once a minute at most', async () => {
    const address = await serve(json(setOf('one')));
    await remote.fetch(address.uri, false);
    address.answer = json(setOf('two'));
    for (let round = 0; round < 5; round += 1) expect(await remote.fetch(address.uri, true)).toEqual(setOf('one'));
    expect(address.calls).toBe(1);
    later(60);
    for (let round = 0; round < 5; round += 1) expect(await remote.fetch(address.uri, true)).toEqual(setOf('two'));
    expect(address.calls).toBe(2);
    // What was found is kept from then on.
    expect(await remote.fetch(address.uri, false)).toEqual(setOf('two'));
  });

  it('are fetched once for all who ask at the same time', async () => {
    const address = await serve(json(setOf('one')));
    const all = await Promise.all(Array.from({ length: 50 }, (_, index) => remote.fetch(address.uri, index % 2 === 0)));
    expect(new Set(all).size).toBe(1);
    expect(address.calls).toBe(1);
  });

  it('go on being good for a day when the address does not answer, which is asked once a minute', async () => {
    const address = await serve(json(setOf('one')));
    await remote.fetch(address.uri, false);
    address.answer = down;
    later(86_399);
    for (let round = 0; round < 3; round += 1) expect(await remote.fetch(address.uri, false)).toEqual(setOf('one'));
    expect(address.calls).toBe(2);
    later(1);
    // The answer of a second ago still is the answer.
    expect(await remote.fetch(address.uri, false)).toEqual(setOf('one'));
    later(60);
    await expect(remote.fetch(address.uri, false)).rejects.toThrow(Unavailable);
    expect(address.calls).toBe(3);
  });

  it('that could not be had are asked for again after a minute', async () => {
    const address = await serve(down);
    for (let round = 0; round < 3; round += 1)
      await expect(remote.fetch(address.uri, false)).rejects.toThrow(Unavailable);
    expect(address.calls).toBe(1);
    address.answer = json(setOf('one'));
    later(60);
    expect(await remote.fetch(address.uri, false)).toEqual(setOf('one'));
  });

  it('of one address are not those of another', async () => {
    const [one, two] = [await serve(json(setOf('one'))), await serve(json(setOf('two')))];
    expect(await remote.fetch(one.uri, false)).toEqual(setOf('one'));
    expect(await remote.fetch(two.uri, false)).toEqual(setOf('two'));
  });

  it('that were not asked for because too much was under way are asked for by the next one', async () => {
    const waiting: (() => void)[] = [];
    const hanging = await serve((_request, response) => waiting.push(() => response.end('{"keys":[]}')));
    const busy = Array.from({ length: 4 }, (_, index) => remote.fetch(`${hanging.uri}?${index}`, false));
    await expect(remote.fetch(`${hanging.uri}?5`, false)).rejects.toThrow(Unavailable);
    while (waiting.length < 4) await new Promise((resolve) => setTimeout(resolve, 5));
    for (const answer of waiting) answer();
    await Promise.all(busy);
    hanging.answer = json(setOf('one'));
    expect(await remote.fetch(`${hanging.uri}?5`, false)).toEqual(setOf('one'));
  });

  it('of a thousand and more addresses are not all remembered', async () => {
    const address = await serve(json(setOf('one')));
    for (let index = 0; index <= 1000; index += 1) await remote.fetch(`${address.uri}?${index}`, false);
    expect(address.calls).toBe(1001);
    await remote.fetch(`${address.uri}?1000`, false);
    expect(address.calls).toBe(1001);
    await remote.fetch(`${address.uri}?0`, false);
    expect(address.calls).toBe(1002);
  });
});

describe('an address that is hostile (negative test 16)', () => {
  it.each<[string, RequestListener]>([
    ['a redirect', (_request, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()],
    ['a body of 10 MB', (_request, response) => response.end(Buffer.alloc(1e7, 0x20))],
    [
      'a body that does not end',
      (_request, response) => {
        const more = setInterval(() => response.write(Buffer.alloc(8192, 0x20)), 1);
        response.once('close', () => clearInterval(more));
      },
    ],
    [
      'a gzip bomb',
      (_request, response) =>
        response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(1e7, 0x20))),
    ],
    [
      'an answer that breaks off',
      (_request, response) => {
        response.writeHead(200, { 'content-length': '100' }).write('{"keys":[');
        response.destroy();
      },
    ],
    ['HTML', (_request, response) => response.end('<html></html>')],
    ['nothing', (_request, response) => response.end()],
    ['a list', json([])],
    ['null', json(null)],
    ['no keys', json({})],
    ['keys that are no list', json({ keys: { 0: {} } })],
    ['keys that are no objects', json({ keys: ['x'] })],
    ['51 keys', json(setOf(...Array.from({ length: 51 }, (_, index) => `${index}`)))],
    ['an error', (_request, response) => response.writeHead(500).end('{"keys":[]}')],
  ])('has no keys to give with %s', async (_what, listener) => {
    const address = await serve(listener);
    await expect(remote.fetch(address.uri, false)).rejects.toThrow(Unavailable);
  });

  it('cannot drip', async () => {
    const address = await serve((_request, response) => {
      const drip = setInterval(() => response.write(' '), 100);
      response.once('close', () => clearInterval(drip));
    });
    await expect(remote.fetch(address.uri, false)).rejects.toThrow(Unavailable);
  }, 20_000);

  it('takes nothing away from what it said before', async () => {
    const address = await serve(json(setOf('one')));
    await remote.fetch(address.uri, false);
    address.answer = json({ keys: 'none' });
    later(3600);
    expect(await remote.fetch(address.uri, false)).toEqual(setOf('one'));
  });

  it.each([
    'https://127.0.0.1/jwks',
    'https://10.0.0.1/jwks',
    'https://169.254.169.254/latest/meta-data',
    'https://[::1]/jwks',
    'https://[::ffff:127.0.0.1]/jwks',
    'https://[fd00::1]/jwks',
    'https://0.0.0.0/jwks',
    'https://2130706433/jwks',
    'https://0177.0.0.1/jwks',
    'https://localhost/jwks',
    'https://example.com:8443/jwks',
    'http://example.com/jwks',
    'file:///etc/passwd',
  ])('is not called at %s', async (uri) => {
    const strict = new CachedRemoteKeys({ now: () => now, random: (size) => Buffer.alloc(size) }, false);
    await expect(strict.fetch(uri, false)).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/not a public|only https/) },
    });
  });

  it('on this machine is not called, and not asked', async () => {
    const address = await serve(json(setOf('one')));
    const strict = new CachedRemoteKeys({ now: () => now, random: (size) => Buffer.alloc(size) }, false);
    await expect(strict.fetch(address.uri, false)).rejects.toThrow(Unavailable);
    expect(address.calls).toBe(0);
  });
});
