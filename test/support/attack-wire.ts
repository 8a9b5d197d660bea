/** HTTP as nobody's library would send it: bytes on a socket, and what comes back. */
import { connect } from 'node:net';

export interface WireAnswer {
  readonly status: number;
  /** Names in lower case; the last of repeated ones. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface WireRequest {
  readonly method?: string;
  /** As it stands on the request line. */
  readonly target: string;
  readonly headers?: readonly (readonly [string, string])[];
  readonly body?: string | Buffer;
}

/** Sends one request to a server on loopback, exactly as given (`Host`, `Content-Length` and `Connection` are added). */
export function send(issuer: string, { method = 'GET', target, headers = [], body }: WireRequest): Promise<WireAnswer> {
  const { hostname, port, host } = new URL(issuer);
  const lines = [
    `${method} ${target} HTTP/1.1`,
    ...(headers.some(([name]) => name.toLowerCase() === 'host') ? [] : [`Host: ${host}`]),
    'Connection: close',
    ...headers.map(([name, value]) => `${name}: ${value}`),
    ...(body === undefined ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]),
  ];
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port) });
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    // A server that refuses early closes while we still write: what it has said by then is its answer.
    socket.on('error', (error) => (chunks.length > 0 ? undefined : reject(error)));
    socket.on('close', () => resolve(parse(Buffer.concat(chunks).toString('utf8'))));
    socket.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
    if (body !== undefined) socket.write(body);
  });
}

function parse(text: string): WireAnswer {
  const [head = '', ...rest] = text.split('\r\n\r\n');
  const [status = '', ...lines] = head.split('\r\n');
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  return { status: Number(status.split(' ')[1]), headers, body: rest.join('\r\n\r\n') };
}
