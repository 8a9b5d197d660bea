/**
 * One request to the authorization server, bounded in time and size and never redirected: a redirect would carry the client
 * secret or the token to an address the metadata did not name.
 */
import { isObject } from './access-token.ts';
import { NoVerdict } from './refusal.ts';

const MAX_RESPONSE_BYTES = 64 * 1024;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** In lower case, without parameters. */
  readonly contentType: string;
  readonly text: string;
}

/**
 * @param url an endpoint that {@link requireSecureUrl} accepted
 * @param timeoutSeconds for the whole exchange, the reading of the body included
 * @param init method, headers and body; a GET without it
 * @param mediaType what is asked for
 * @param statuses of usable answers
 * @throws NoVerdict for any other answer, and for none
 */
export async function exchange(
  url: URL,
  timeoutSeconds: number,
  init: RequestInit,
  mediaType: string,
  statuses: readonly number[] = [200],
): Promise<Answer> {
  try {
    const response = await fetch(url, {
      ...init,
      headers: { accept: mediaType, ...init.headers },
      redirect: 'error',
      signal: AbortSignal.timeout(Math.ceil(timeoutSeconds * 1000)),
    });
    const { status, headers } = response;
    if (!statuses.includes(status)) {
      await response.body?.cancel();
      throw new Error(`status ${status}`);
    }
    const [contentType = ''] = (headers.get('content-type') ?? '').split(';');
    return { status, headers, contentType: contentType.trim().toLowerCase(), text: await readText(response) };
  } catch (cause) {
    throw new NoVerdict(`${init.method ?? 'GET'} ${url.origin}${url.pathname} gave no usable answer`, { cause });
  }
}

/** {@link exchange} for a JSON object. */
export async function exchangeJson(
  url: URL,
  timeoutSeconds: number,
  init: RequestInit = {},
): Promise<Record<string, unknown>> {
  return objectIn(await exchange(url, timeoutSeconds, init, 'application/json'), url);
}

/** @throws NoVerdict when the answer of that endpoint is not a JSON object */
export function objectIn({ text }: Answer, url: URL): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return value;
  } catch (cause) {
    throw new NoVerdict(`${url.origin}${url.pathname} did not answer with JSON`, { cause });
  }
  throw new NoVerdict(`${url.origin}${url.pathname} did not answer with a JSON object`);
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > MAX_RESPONSE_BYTES) throw new Error(`more than ${MAX_RESPONSE_BYTES} bytes`);
    chunks.push(chunk);
  }
  return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
}

/**
 * Keys and verdicts about tokens travel over these URLs, so whoever can change the traffic can mint tokens: https, or
 * http that never leaves the machine.
 *
 * @param name what the URL is, for the message
 * @throws TypeError when it is not such a URL
 */
export function requireSecureUrl(name: string, value: unknown): URL {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined;
  const secure =
    url?.protocol === 'https:' ||
    (url?.protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname));
  if (url === undefined || !secure) throw new TypeError(`${name} must be an https URL (http only on loopback)`);
  return url;
}
