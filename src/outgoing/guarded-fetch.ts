/**
 * The one way out: fetching what a client's metadata names (its logo; later its keys and logout receivers) without becoming
 * somebody's hand inside our own network (SSRF; OWASP, RFC 9700 has no clause of its own).
 *
 * - https only, port 443 only, no user information; no redirects, no cookies, no proxy, no compression.
 * - The name is resolved once, by us; special-use addresses (RFC 6890) are refused, and the connection goes to the very
 *   address that was checked, so a name that changes between check and connect changes nothing (DNS rebinding).
 * - Bounded: total time, bytes, concurrency.
 *
 * `allowLoopback` (GATEHOUSE_ALLOW_LOOPBACK_FETCH) is for tests: it lets http and any port through to loopback only.
 */
import { lookup as resolve } from 'node:dns/promises';
import http from 'node:http';
import https from 'node:https';
import { BlockList, isIP, type LookupFunction } from 'node:net';

export interface GuardedFetchOptions {
  /** Milliseconds for everything: resolving, connecting, reading. */
  readonly timeout: number;
  readonly maxBytes: number;
  readonly accept: string;
  readonly allowLoopback?: boolean;
}

/** Why nothing was fetched, in words for an operator. */
export class FetchRefused extends Error {}

const MOST_AT_ONCE = 8;
let atOnce = 0;

const special = new BlockList();
for (const [network, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
] as const)
  special.addSubnet(network, bits, 'ipv4');
for (const [network, bits] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const) {
  special.addSubnet(network, bits, 'ipv6');
}
/** Of IPv6 only global unicast is anybody's to offer; mapped, translated, local and multicast addresses are outside it. */
const globalUnicast = new BlockList();
globalUnicast.addSubnet('2000::', 3, 'ipv6');

/** Whether an address is a public one. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !special.check(address, 'ipv4');
  return family === 6 && globalUnicast.check(address, 'ipv6') && !special.check(address, 'ipv6');
}

function isLoopbackAddress(address: string): boolean {
  return address === '::1' || (isIP(address) === 4 && address.startsWith('127.'));
}

/**
 * Fetches a document by GET.
 * @returns the body of a 200 answer
 * @throws FetchRefused for everything else
 */
export async function guardedFetch(uri: string, options: GuardedFetchOptions): Promise<Buffer> {
  const url = allowedUrl(uri, options.allowLoopback ?? false);
  if (atOnce >= MOST_AT_ONCE) throw new FetchRefused('too many fetches at once');
  atOnce += 1;
  try {
    const address = await vettedAddress(url, options);
    return await get(url, address, options);
  } finally {
    atOnce -= 1;
  }
}

function allowedUrl(uri: string, allowLoopback: boolean): URL {
  if (!URL.canParse(uri)) throw new FetchRefused('not a URL');
  const url = new URL(uri);
  if (url.username !== '' || url.password !== '') throw new FetchRefused('user information in the URL');
  const plain = url.protocol === 'https:' && url.port === '';
  if (!plain && !(allowLoopback && ['http:', 'https:'].includes(url.protocol)))
    throw new FetchRefused('only https on port 443');
  return url;
}

async function vettedAddress(url: URL, { timeout, allowLoopback = false }: GuardedFetchOptions): Promise<string> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const plain = url.protocol === 'https:' && url.port === '';
  const acceptable = (address: string) =>
    (plain && isPublicAddress(address)) || (allowLoopback && isLoopbackAddress(address));
  const found = isIP(host) === 0 ? await within(timeout, resolve(host, { all: true })) : [{ address: host }];
  const [first] = found;
  // One bad address among several is enough: the next connection could go to that one.
  if (!first || !found.every(({ address }) => acceptable(address)))
    throw new FetchRefused('the host is not a public one');
  return first.address;
}

function within<T>(timeout: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new FetchRefused('the host did not resolve in time')), timeout);
  });
  const known = work.catch(() => {
    throw new FetchRefused('the host is unknown');
  });
  return Promise.race([known, late]).finally(() => clearTimeout(timer));
}

function get(url: URL, address: string, { timeout, maxBytes, accept }: GuardedFetchOptions): Promise<Buffer> {
  const lookup: LookupFunction = (_host, { all }, done) => {
    const family = isIP(address);
    if (all) done(null, [{ address, family }]);
    else done(null, address, family);
  };
  const { request } = url.protocol === 'https:' ? https : http;
  return new Promise((resolveBody, reject) => {
    const refuse = (why: string) => {
      reject(new FetchRefused(why));
      outgoing.destroy();
    };
    const headers = { accept, 'accept-encoding': 'identity', 'user-agent': 'Gatehouse' };
    const outgoing = request(
      url,
      { lookup, headers, agent: false, signal: AbortSignal.timeout(timeout) },
      (response) => {
        if (response.statusCode !== 200) return refuse(`the answer was ${response.statusCode}`);
        const chunks: Buffer[] = [];
        let size = 0;
        response.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size > maxBytes) refuse(`more than ${maxBytes} bytes`);
          else chunks.push(chunk);
        });
        response.once('end', () => resolveBody(Buffer.concat(chunks)));
        response.once('error', () => reject(new FetchRefused('the answer broke off')));
      },
    );
    outgoing.once('error', () => reject(new FetchRefused('no answer in time, or no connection')));
    outgoing.end();
  });
}
