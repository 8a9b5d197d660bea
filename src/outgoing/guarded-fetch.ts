/**
 * The one way out: what a client's metadata names (its logo, keys, sector and logout receivers) is called without becoming
 * somebody's hand inside our own network (SSRF; OWASP, RFC 9700 has no clause of its own).
 *
 * - https only, port 443 only, no user information; no redirects, no cookies, no proxy, no compression.
 * - The name is resolved once, by us; special-use addresses (RFC 6890) are refused, and the connection goes to the very
 *   addresses that were checked, so a name that changes between check and connect changes nothing (DNS rebinding).
 * - TLS as we speak it ourselves (RFC 9325, FAPI 2.0 SP §5.2), with a certificate that names the host (RFC 9525).
 * - Bounded: total time, bytes, concurrency; each kind of request has places of its own, and of those that fetch no host has all.
 *
 * `allowLoopback` (GATEHOUSE_ALLOW_LOOPBACK_FETCH) is for tests: it lets http and any port through to loopback only.
 */
import type { LookupAddress } from 'node:dns';
import { lookup as resolve } from 'node:dns/promises';
import http, { type IncomingMessage } from 'node:http';
import https, { type RequestOptions } from 'node:https';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import { CIPHER_SUITES } from '../cipher-suites.ts';

export interface GuardedRequestOptions {
  /** Milliseconds for everything: resolving, connecting, reading. */
  readonly timeout: number;
  readonly allowLoopback?: boolean;
}

export interface GuardedFetchOptions extends GuardedRequestOptions {
  readonly maxBytes: number;
  readonly accept: string;
}

/** Why there is no answer, in words for an operator. */
export class FetchRefused extends Error {}

/** Too much is under way: nobody was asked, so it says nothing about the other side. */
export class TooManyAtOnce extends FetchRefused {}

/** Places for requests under way. */
class Lane {
  readonly #most: number;
  readonly #perHost: number;
  readonly #hosts: string[] = [];

  constructor(most: number, perHost: number) {
    this.#most = most;
    this.#perHost = perHost;
  }

  /** @throws TooManyAtOnce when all places are taken, or too many of them by this host */
  async run<T>(host: string, work: () => Promise<T>): Promise<T> {
    if (this.#hosts.length >= this.#most || this.#hosts.filter((busy) => busy === host).length >= this.#perHost)
      throw new TooManyAtOnce('too many requests at once');
    this.#hosts.push(host);
    try {
      return await work();
    } finally {
      this.#hosts.splice(this.#hosts.indexOf(host), 1);
    }
  }
}

// Apart, so that receivers which hang cannot keep keys from being fetched. Who posts shares its places out by client itself.
const fetches = new Lane(8, 4);
const posts = new Lane(8, 8);

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
export function guardedFetch(uri: string, options: GuardedFetchOptions): Promise<Buffer> {
  const { accept, maxBytes } = options;
  const head = { method: 'GET', headers: { accept, 'accept-encoding': 'identity' } };
  return guarded(uri, fetches, head, undefined, options, async (response) => {
    if (response.statusCode !== 200) throw new FetchRefused(`the answer was ${response.statusCode}`);
    return bodyOf(response, maxBytes);
  });
}

/**
 * Sends a form by POST. What the answer says beyond its status is nobody's business here: it is hung up on unread.
 * @param form `application/x-www-form-urlencoded`
 * @returns the status of the answer; of a redirect too, which is not followed
 * @throws FetchRefused when there is no answer
 */
export function guardedPost(uri: string, form: string, options: GuardedRequestOptions): Promise<number> {
  const headers = {
    'content-type': 'application/x-www-form-urlencoded',
    'content-length': Buffer.byteLength(form),
    'accept-encoding': 'identity',
  };
  return guarded(uri, posts, { method: 'POST', headers }, form, options, async ({ statusCode = 0 }) => statusCode);
}

/** One request and the part of its answer that `read` wants; the connection ends with it. */
async function guarded<T>(
  uri: string,
  lane: Lane,
  head: { readonly method: string; readonly headers: Readonly<Record<string, string | number>> },
  body: string | undefined,
  { timeout, allowLoopback = false }: GuardedRequestOptions,
  read: (response: IncomingMessage) => Promise<T>,
): Promise<T> {
  const url = allowedUrl(uri, allowLoopback);
  return lane.run(url.host, async () => {
    const signal = AbortSignal.timeout(timeout);
    const addresses = await vettedAddresses(url, allowLoopback, signal);
    const headers = { ...head.headers, 'user-agent': 'Gatehouse' };
    const options = { ...TLS, method: head.method, headers, lookup: only(addresses), agent: false as const, signal };
    return exchange(url, options, body, read);
  });
}

function allowedUrl(uri: string, allowLoopback: boolean): URL {
  if (!URL.canParse(uri)) throw new FetchRefused('not a URL');
  const url = new URL(uri);
  if (url.username !== '' || url.password !== '') throw new FetchRefused('user information in the URL');
  if (!isPlain(url) && !(allowLoopback && ['http:', 'https:'].includes(url.protocol)))
    throw new FetchRefused('only https on port 443');
  return url;
}

function isPlain(url: URL): boolean {
  return url.protocol === 'https:' && url.port === '';
}

async function vettedAddresses(url: URL, allowLoopback: boolean, signal: AbortSignal): Promise<LookupAddress[]> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const family = isIP(host);
  const found = family === 0 ? await resolved(host, signal) : [{ address: host, family }];
  const acceptable = ({ address }: LookupAddress) =>
    (isPlain(url) && isPublicAddress(address)) || (allowLoopback && isLoopbackAddress(address));
  // One bad address among several is enough: the next connection could go to that one.
  if (found.length === 0 || !found.every(acceptable)) throw new FetchRefused('the host is not a public one');
  return found;
}

function resolved(host: string, signal: AbortSignal): Promise<LookupAddress[]> {
  return new Promise((done, reject) => {
    signal.addEventListener('abort', () => reject(new FetchRefused('the host did not resolve in time')), {
      once: true,
    });
    resolve(host, { all: true }).then(done, () => reject(new FetchRefused('the host is unknown')));
  });
}

/** How TLS is spoken, whatever the settings of the process say. */
const TLS: RequestOptions = {
  minVersion: 'TLSv1.2',
  ciphers: CIPHER_SUITES,
  rejectUnauthorized: true,
  checkServerIdentity: isNamedBy,
};

/** RFC 9525 §2: the names are the alternative ones. Node would take the common name too, where there are no others. */
function isNamedBy(host: string, certificate: PeerCertificate): Error | undefined {
  return checkServerIdentity(host, { ...certificate, subject: { ...certificate.subject, CN: '' } });
}

/** What the connection is told when it asks for the name: nothing but what was checked. */
function only(addresses: LookupAddress[]): LookupFunction {
  return (_host, { all }, done) => {
    const [first] = addresses;
    if (all) done(null, addresses);
    else done(null, first?.address ?? '', first?.family);
  };
}

function exchange<T>(
  url: URL,
  options: RequestOptions,
  body: string | undefined,
  read: (response: IncomingMessage) => Promise<T>,
): Promise<T> {
  const { request } = url.protocol === 'https:' ? https : http;
  return new Promise((done, reject) => {
    const outgoing = request(url, options, (response) => {
      read(response)
        .then(done, reject)
        .finally(() => outgoing.destroy());
    });
    outgoing.once('error', () => reject(new FetchRefused('no answer in time, or no connection')));
    // Without a listener Node drops such a connection and says nothing: the promise would stand for ever.
    outgoing.once('upgrade', (_response, socket) => {
      socket.destroy();
      reject(new FetchRefused('the answer was 101'));
    });
    // The bound is ours, whatever events a connection has or has not.
    options.signal?.addEventListener('abort', () => reject(new FetchRefused('no answer in time')), { once: true });
    outgoing.end(body);
  });
}

function bodyOf(response: IncomingMessage, maxBytes: number): Promise<Buffer> {
  return new Promise((done, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    response.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBytes) reject(new FetchRefused(`more than ${maxBytes} bytes`));
      else chunks.push(chunk);
    });
    response.once('end', () => done(Buffer.concat(chunks)));
    response.once('error', () => reject(new FetchRefused('the answer broke off')));
  });
}
