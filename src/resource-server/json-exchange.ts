/**
 * One JSON request to the authorization server, bounded in time and size and never redirected: a redirect would carry
 * the client secret or the token to an address the metadata did not name.
 */
import { AuthorizationServerUnavailable } from './refusal.ts';

const MAX_RESPONSE_BYTES = 64 * 1024;

/**
 * @param url an endpoint that {@link requireSecureUrl} accepted
 * @param timeoutSeconds for the whole exchange, the reading of the body included
 * @param init method, headers and body; a GET without it
 * @throws AuthorizationServerUnavailable for anything but a 200 with a JSON object
 */
export async function exchangeJson(
  url: URL,
  timeoutSeconds: number,
  init: RequestInit = {},
): Promise<Record<string, unknown>> {
  const what = `${init.method ?? 'GET'} ${url.origin}${url.pathname}`;
  try {
    const response = await fetch(url, {
      ...init,
      headers: { accept: 'application/json', ...init.headers },
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutSeconds * 1000),
    });
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new Error(`status ${response.status}`);
    }
    const value: unknown = JSON.parse(await readText(response));
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('not a JSON object');
    return value as Record<string, unknown>;
  } catch (cause) {
    throw new AuthorizationServerUnavailable(`${what} gave no usable answer`, { cause });
  }
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
