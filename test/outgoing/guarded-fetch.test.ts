/** Attacker: names an address in client metadata and wants us to call it for them. */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { guardedFetch, isPublicAddress } from '../../src/outgoing/guarded-fetch.ts';

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
  ])('refuses %s before any connection', (uri, why) => expect(guardedFetch(uri, options)).rejects.toThrow(why));

  let server: Server | undefined;
  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
    server = undefined;
  });
  const serve = async (listener: RequestListener) => {
    server = createServer(listener);
    await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  };
  const local = { ...options, allowLoopback: true };

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

  it('does not wait for a slow drip', async () => {
    const uri = await serve((_request, response) => {
      response.write('x');
      const drip = setInterval(() => response.write('x'), 50);
      response.once('close', () => clearInterval(drip));
    });
    await expect(guardedFetch(uri, { ...local, timeout: 300 })).rejects.toThrow();
  });
});
