/**
 * Key sets at clients' addresses, kept for a while: RFC 7517 §5, OpenID Connect Core §10.1.1.
 *
 * Kept for ten minutes; fetched again when a key is missing, once a minute at most per address, so that forged key ids cannot
 * make us knock at somebody's door. When an address does not answer, what it said last goes on for a day: a client's
 * outage is not to become ours.
 */
import { type JsonWebKeySet, keySet, type RemoteKeys } from '../protocol/client-keys.ts';
import type { Context } from '../protocol/context.ts';
import { Unavailable } from '../protocol/errors.ts';
import { TooManyAtOnce } from './guarded-fetch.ts';
import { fetchJson } from './json-document.ts';

const KEPT = 10 * 60_000;
const AT_MOST_EVERY = 60_000;
const GOOD_FOR = 24 * 3_600_000;
/** Addresses remembered at once. */
const MOST = 1000;

interface Kept {
  readonly keys: JsonWebKeySet;
  readonly at: number;
}

export class CachedRemoteKeys implements RemoteKeys {
  readonly #context: Context;
  readonly #allowLoopback: boolean;
  readonly #kept = new Map<string, Kept>();
  readonly #asked = new Map<string, { at: number; answer: Promise<JsonWebKeySet> }>();

  /** @param allowLoopback tests only (GATEHOUSE_ALLOW_LOOPBACK_FETCH) */
  constructor(context: Context, allowLoopback: boolean) {
    this.#context = context;
    this.#allowLoopback = allowLoopback;
  }

  async fetch(uri: string, anew: boolean): Promise<JsonWebKeySet> {
    const now = this.#context.now().getTime();
    const kept = this.#kept.get(uri);
    if (kept && !anew && now - kept.at < KEPT) return kept.keys;
    const asked = this.#asked.get(uri);
    // The same answer, or refusal, for everybody who asks within the minute.
    if (asked && now - asked.at < AT_MOST_EVERY) return asked.answer;
    const answer = this.#ask(uri, now, kept);
    remember(this.#asked, uri, { at: now, answer });
    return answer;
  }

  async #ask(uri: string, now: number, kept: Kept | undefined): Promise<JsonWebKeySet> {
    try {
      const accept = 'application/jwk-set+json, application/json';
      const keys = keySet.parse(await fetchJson(uri, accept, this.#allowLoopback));
      remember(this.#kept, uri, { keys, at: now });
      return keys;
    } catch (cause) {
      // Nobody was asked, so the next one may.
      if (cause instanceof TooManyAtOnce) this.#asked.delete(uri);
      if (kept && now - kept.at < GOOD_FOR) return kept.keys;
      throw new Unavailable('The keys of a client could not be fetched.', { cause });
    }
  }
}

function remember<T>(map: Map<string, T>, uri: string, value: T): void {
  map.delete(uri);
  map.set(uri, value);
  const [oldest] = map.keys();
  if (map.size > MOST && oldest !== undefined) map.delete(oldest);
}
