/** Attacker: names an address in client metadata and wants us to call it for them. */
import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { guardedFetch, guardedPost, isPublicAddress, TooManyAtOnce } from '../../src/outgoing/guarded-fetch.ts';

const options = { timeout: 1500, maxBytes: 1000, accept: 'image/*' };

describe('addresses', () => {
  it.each([
    '127.0.0.1',
    '127.9.9.9',
    '10.1.2.3',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '198.18.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:10.0.0.1',
    '64:ff9b::7f00:1',
    'fc00::1',
    'fd00::1',
    'fe80::1',
    'ff02::1',
    '2001:db8::1',
    '2002:7f00:1::',
    'localhost',
    '',
  ])('%s is not public', (address) => expect(isPublicAddress(address)).toBe(false));

  it.each(['1.1.1.1', '93.184.216.34', '172.32.0.1', '2606:4700:4700::1111'])('%s is', (address) =>
    expect(isPublicAddress(address)).toBe(true),
  );
});

const servers: Server[] = [];
const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});
const serve = async (listener: RequestListener) => {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
};
const local = { ...options, allowLoopback: true };
const patient = { ...local, timeout: 20_000 };

/** A server that answers each request with `101 Switching Protocols`, and says nothing more. */
async function switching() {
  const sockets: Socket[] = [];
  const server = createTcpServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.once('data', () =>
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'),
    );
  });
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    /** Waits until every connection was ended by the one who made it. */
    hungUp: () => Promise.all(sockets.map((socket) => socket.closed || once(socket, 'close'))),
  };
}

describe('guardedFetch', () => {
  it.each([
    ['http://example.com/logo.png', /only https/],
    ['https://example.com:8443/logo.png', /only https/],
    ['https://user:secret@example.com/', /user information/],
    ['https://127.0.0.1/', /not a public/],
    ['https://2130706433/', /not a public/],
    ['https://0x7f.1/', /not a public/],
    ['https://0177.0.0.1/', /not a public/],
    ['https://[::1]/', /not a public/],
    ['https://[::ffff:127.0.0.1]/', /not a public/],
    ['https://localhost/', /not a public/],
    ['file:///etc/passwd', /only https/],
    ['nonsense', /not a URL/],
  ])('refuses %s before any connection, and a form to it as well', async (uri, why) => {
    await expect(guardedFetch(uri, options)).rejects.toThrow(why);
    await expect(guardedPost(uri, 'a=b', options)).rejects.toThrow(why);
  });

  it('refuses loopback unless it is allowed, and then does not connect at all', async () => {
    let calls = 0;
    const uri = await serve((_request, response) => {
      calls += 1;
      response.end('x');
    });
    await expect(guardedFetch(uri, options)).rejects.toThrow(/only https/);
    expect(calls).toBe(0);
    expect((await guardedFetch(uri, local)).toString()).toBe('x');
    expect(calls).toBe(1);
  });

  it('goes by name to the addresses that were checked, and to the next one where nobody listens at the first', async () => {
    const uri = await serve((_request, response) => response.end('x'));
    expect((await guardedFetch(uri.replace('127.0.0.1', 'localhost'), local)).toString()).toBe('x');
  });

  it('follows no redirect', async () => {
    const uri = await serve((_request, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end());
    await expect(guardedFetch(uri, local)).rejects.toThrow(/302/);
  });

  it('stops at the limit of bytes, however they come', async () => {
    const uri = await serve((_request, response) => {
      const more = setInterval(() => response.write(Buffer.alloc(400)), 10);
      response.once('close', () => clearInterval(more));
    });
    await expect(guardedFetch(uri, local)).rejects.toThrow(/more than 1000 bytes/);
  });

  it('unpacks nothing', async () => {
    const bomb = gzipSync(Buffer.alloc(500_000));
    const uri = await serve((_request, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb));
    expect((await guardedFetch(uri, local)).length).toBe(bomb.length);
  });

  it('takes no other protocol, and does not wait for it to say something', async () => {
    const { uri, hungUp } = await switching();
    await expect(guardedFetch(uri, patient)).rejects.toThrow('the answer was 101');
    await hungUp();
  });

  it('does not wait for a slow drip', async () => {
    const uri = await serve((_request, response) => {
      response.write('x');
      const drip = setInterval(() => response.write('x'), 50);
      response.once('close', () => clearInterval(drip));
    });
    await expect(guardedFetch(uri, { ...local, timeout: 300 })).rejects.toThrow();
  });
});

describe('guardedPost', () => {
  /** Every request it got: method, headers, body. */
  const receiver = async (status: number, headers: Record<string, string> = {}) => {
    const got: [string | undefined, IncomingHttpHeaders, string][] = [];
    const uri = await serve(async (request, response) => {
      got.push([request.method, request.headers, await text(request)]);
      response.writeHead(status, headers).end('{"error":"x"}');
    });
    return { uri, got };
  };

  it.each([200, 204, 400, 501])('tells the status %i, and nothing else of the answer', async (status) => {
    const { uri, got } = await receiver(status);
    expect(await guardedPost(uri, 'logout_token=é&a=b', local)).toBe(status);
    const [[method, headers, body] = []] = got;
    expect([method, body]).toEqual(['POST', 'logout_token=é&a=b']);
    expect(headers).toMatchObject({
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': String(Buffer.byteLength('logout_token=é&a=b')),
      'user-agent': 'Gatehouse',
    });
    expect(headers).not.toHaveProperty('cookie');
    expect(headers).not.toHaveProperty('authorization');
  });

  it.each([301, 302, 303, 307, 308])('does not take the form where a %i points', async (status) => {
    const elsewhere = await receiver(200);
    const { uri } = await receiver(status, { location: elsewhere.uri });
    expect(await guardedPost(uri, 'a=b', local)).toBe(status);
    expect(elsewhere.got).toEqual([]);
  });

  it('hangs up on a body that does not end', async () => {
    let closed: Promise<unknown> | undefined;
    const uri = await serve((_request, response) => {
      response.writeHead(200);
      const more = setInterval(() => response.write(Buffer.alloc(64 * 1024)), 10);
      closed = once(response, 'close').then(() => clearInterval(more));
    });
    expect(await guardedPost(uri, 'a=b', { ...local, timeout: 60_000 })).toBe(200);
    await closed;
  });

  it('does not wait for an answer that never comes', async () => {
    const uri = await serve(() => undefined);
    await expect(guardedPost(uri, 'a=b', { ...local, timeout: 200 })).rejects.toThrow(/no answer in time/);
  });

  it('takes no other protocol, as often as it is offered: the places are free again', async () => {
    const { uri, hungUp } = await switching();
    for (let round = 0; round < 3; round += 1) {
      const posts = Array.from({ length: 8 }, () => guardedPost(uri, 'a=b', patient));
      for (const outcome of await Promise.allSettled(posts))
        expect(outcome).toMatchObject({ status: 'rejected', reason: { message: 'the answer was 101' } });
    }
    await hungUp();
  });

  it('says in words that nobody listens', async () => {
    await expect(guardedPost('http://127.0.0.1:9/', 'a=b', local)).rejects.toThrow(/no connection/);
  });
});

describe('many at once', () => {
  /** A server that answers nobody until it is told to. */
  const slow = async () => {
    const waiting: ServerResponse[] = [];
    const uri = await serve((request, response) => {
      request.resume();
      waiting.push(response);
    });
    return {
      uri,
      async answerAfter(count: number) {
        while (waiting.length < count) await new Promise((resolve) => setTimeout(resolve, 5));
        for (const response of waiting.splice(0)) response.end('x');
      },
    };
  };

  it('are refused beyond the places there are, and the places are free again afterwards', async () => {
    const { uri, answerAfter } = await slow();
    for (let round = 0; round < 2; round += 1) {
      const posts = Array.from({ length: 8 }, () => guardedPost(uri, 'a=b', patient));
      await expect(guardedPost(uri, 'a=b', patient)).rejects.toThrow(TooManyAtOnce);
      await answerAfter(8);
      expect(await Promise.all(posts)).toEqual(Array(8).fill(200));
    }
  });

  it('to receivers that hang do not keep keys from being fetched', async () => {
    const hanging = await slow();
    const posts = Array.from({ length: 8 }, () => guardedPost(hanging.uri, 'a=b', patient));
    const uri = await serve((_request, response) => response.end('x'));
    expect((await guardedFetch(uri, patient)).toString()).toBe('x');
    await hanging.answerAfter(8);
    await Promise.all(posts);
  });

  it('from one host do not take all places', async () => {
    const hanging = await slow();
    const fetches = Array.from({ length: 4 }, () => guardedFetch(hanging.uri, patient));
    await expect(guardedFetch(hanging.uri, patient)).rejects.toThrow(TooManyAtOnce);
    const uri = await serve((_request, response) => response.end('x'));
    expect((await guardedFetch(uri, patient)).toString()).toBe('x');
    await hanging.answerAfter(4);
    await Promise.all(fetches);
  });
});
