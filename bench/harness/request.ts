/**
 * Requests as the bytes that are sent. All servers are addressed as they are in production: behind a proxy that ends TLS
 * and names the public host.
 */

/** The issuer of every server under test. */
export const ISSUER = 'https://id.example';

const BEHIND_PROXY = 'Host: id.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.7\r\n';
const FORM = 'Content-Type: application/x-www-form-urlencoded\r\n';

export type Headers = Readonly<Record<string, string>>;
export type Fields = Readonly<Record<string, string>>;

export interface BasicCredentials {
  readonly id: string;
  readonly secret: string;
}

function lines(headers: Headers): string {
  return Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('');
}

/** RFC 6749 §2.3.1. */
export function basic({ id, secret }: BasicCredentials): Headers {
  const pair = `${encodeURIComponent(id)}:${encodeURIComponent(secret)}`;
  return { Authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}

export function get(path: string, headers: Headers = {}): Buffer {
  return Buffer.from(`GET ${path} HTTP/1.1\r\n${BEHIND_PROXY}${lines(headers)}\r\n`, 'latin1');
}

export function post(path: string, fields: Fields, headers: Headers = {}): Buffer {
  return postForm(path, headers)(new URLSearchParams(fields).toString());
}

/** For forms whose text changes from request to request: all but the length and the body is made once. */
export function postForm(path: string, headers: Headers = {}): (body: string) => Buffer {
  const head = `POST ${path} HTTP/1.1\r\n${BEHIND_PROXY}${FORM}${lines(headers)}Content-Length: `;
  return (body) => Buffer.from(`${head}${body.length}\r\n\r\n${body}`, 'latin1');
}
