/** JSON at an address that a client's metadata names: small, and there soon, or not at all. */
import { guardedFetch } from './guarded-fetch.ts';

/** Milliseconds. */
const TIMEOUT = 5000;
const MOST_BYTES = 64 * 1024;

/**
 * @param accept media types, as in the header of that name
 * @param allowLoopback tests only (GATEHOUSE_ALLOW_LOOPBACK_FETCH)
 * @returns what the document says, of which nothing has been checked
 * @throws FetchRefused when there is none; SyntaxError when it is no JSON
 */
export async function fetchJson(uri: string, accept: string, allowLoopback: boolean): Promise<unknown> {
  const body = await guardedFetch(uri, { timeout: TIMEOUT, maxBytes: MOST_BYTES, accept, allowLoopback });
  return JSON.parse(body.toString());
}
