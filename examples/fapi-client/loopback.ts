/**
 * Where the browser brings the response: an address on this machine, as native apps have one (RFC 8252 §7.3). The port is any
 * that is free; Gatehouse compares all but the port.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SetupFault } from './settings.ts';

const PATH = '/callback';
/** Minutes that somebody has to sign in. */
const PATIENCE = 10;

export interface Loopback {
  readonly redirectUri: string;
  /** The address the browser came back to, with all that was sent along. */
  readonly response: Promise<URL>;
}

/** Listens, on the loopback interface only, until one response has come. */
export async function receiveResponse(): Promise<Loopback> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const response = new Promise<URL>((resolve, reject) => {
    const late = setTimeout(() => {
      server.close();
      reject(new SetupFault(`Nobody came back within ${PATIENCE} minutes: run this again when you have the time.`));
    }, PATIENCE * 60_000);
    server.on('request', (request, reply) => {
      const url = new URL(request.url ?? '/', origin);
      // Browsers ask for more than that (an icon), and so may others on this machine.
      if (request.method !== 'GET' || url.pathname !== PATH || !url.searchParams.has('response')) {
        reply.writeHead(404).end();
        return;
      }
      reply.writeHead(200, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' });
      reply.end('Thank you: the terminal goes on from here. You may close this page.\n');
      clearTimeout(late);
      server.close();
      resolve(url);
    });
  });
  return { redirectUri: origin + PATH, response };
}
