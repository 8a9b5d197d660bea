/**
 * Requests and responses as the kernel sees them: no framework, wire words, parameters parsed once.
 *
 * RFC 6749 §3.1, §3.2 and Appendix B: form encoding in UTF-8; a parameter without a value is absent; unknown ones are
 * ignored; none may be repeated, except `resource` (RFC 8707 §2) and `audience` (RFC 8693 §2.1).
 */
import { OAuthError } from './errors.ts';
import type { Page } from './page.ts';

/** Characters. A longer address is refused (414): a request that does not fit belongs in a body. */
export const LONGEST_URL = 8192;

const REPEATABLE = new Set(['resource', 'audience']);

/**
 * Decodes `application/x-www-form-urlencoded` strictly.
 *
 * Anything that is not UTF-8, and NUL, is refused: decoders that repair what they cannot read let two parties see two
 * different values.
 *
 * @throws OAuthError `invalid_request`
 */
export function parseForm(text: string): [name: string, value: string][] {
  const pairs: [string, string][] = [];
  if (text === '') return pairs;
  for (const part of text.split('&')) {
    if (part === '') continue;
    const equals = part.indexOf('=');
    const name = decodeForm(equals < 0 ? part : part.slice(0, equals));
    pairs.push([name, equals < 0 ? '' : decodeForm(part.slice(equals + 1))]);
  }
  return pairs;
}

const PLAIN = /^[A-Za-z0-9*\-._~!'():@$,;/?]*$/;

/**
 * Decodes one name or value of a form; what separates them is nothing special in it.
 * @throws OAuthError `invalid_request`
 */
export function decodeForm(text: string): string {
  if (PLAIN.test(text)) return text;
  let decoded: string;
  try {
    decoded = decodeURIComponent(text.replaceAll('+', ' '));
  } catch (cause) {
    throw new OAuthError('invalid_request', 'A parameter is not valid form encoding.', { cause });
  }
  // U+FFFD in the raw text is what the transport made of bytes that are not UTF-8.
  if (decoded.includes('\0') || text.includes('\uFFFD')) {
    throw new OAuthError('invalid_request', 'A parameter holds NUL or is not UTF-8.');
  }
  return decoded;
}

/** One flat parameter set, whatever carried it. */
export class Parameters {
  readonly #values = new Map<string, string[]>();

  constructor(pairs: Iterable<readonly [string, string]>) {
    for (const [name, value] of pairs) {
      if (value === '') continue;
      const values = this.#values.get(name);
      if (values) values.push(value);
      else this.#values.set(name, [value]);
    }
  }

  /** The value of a parameter that must not be repeated; the first one where the caller has not refused repeats. */
  get(name: string): string | undefined {
    return this.#values.get(name)?.[0];
  }

  /** All values of `resource` or `audience`. */
  all(name: string): readonly string[] {
    return this.#values.get(name) ?? [];
  }

  isRepeated(name: string): boolean {
    return !REPEATABLE.has(name) && (this.#values.get(name)?.length ?? 0) > 1;
  }

  /** @throws OAuthError `invalid_request` when any parameter that must not be is repeated, even with equal values */
  refuseRepeats(): void {
    for (const name of this.#values.keys()) {
      if (this.isRepeated(name)) throw new OAuthError('invalid_request', 'A parameter is repeated.');
    }
  }

  /** The same, but for parameters that are not named. */
  only(names: ReadonlySet<string>): Parameters {
    return new Parameters(this.pairs().filter(([name]) => names.has(name)));
  }

  /** For a snapshot; feeding them to the constructor gives an equal set. */
  pairs(): [string, string][] {
    return [...this.#values].flatMap(([name, values]) => values.map((value): [string, string] => [name, value]));
  }
}

/** What the log and the audit trail learn about a request. Written on the way, never read by the protocol. */
export interface Trace {
  clientId?: string;
  userId?: string;
  grantId?: string;
  grantType?: string;
  /** Why it was refused: in more words than the caller is told, where there are more. */
  reason?: string;
  /** A word for what happened when the status does not say it, e.g. `code_replayed`. */
  event?: string;
}

export interface ClientCertificate {
  readonly der: Buffer;
  /** Whether it chains to an authority we trust, as TLS found it. */
  readonly trusted: boolean;
}

export interface EndpointRequest {
  /** Shown to the caller as `X-Request-Id` and on every error page. */
  readonly id: string;
  /** Read once; the whole request lives in this moment. */
  readonly now: Date;
  readonly method: string;
  readonly parameters: Parameters;
  /** Every `Authorization` header that arrived; more than one is refused, not chosen from. */
  readonly authorization: readonly string[];
  /** Every `DPoP` header that arrived (RFC 9449 §4.3: one). */
  readonly dpop: readonly string[];
  /** The address it was sent to as we publish it, never as its headers say: what a proof must name. */
  readonly address: string;
  /** The certificate the caller proved to hold, seen by us or by a proxy we trust. */
  readonly certificate: ClientCertificate | undefined;
  /** The `Accept` header. */
  readonly accept: string | undefined;
  /** The `Origin` header, as sent. */
  readonly origin: string | undefined;
  /** The caller's network address, past trusted proxies only. */
  readonly source: string;
  readonly trace: Trace;
}

/**
 * A request with what was found out about it on its way: the same object, which nobody else holds. A copy of its sixteen members
 * costs ten times as much, and showed in the profile of each endpoint.
 */
export function extended<Request extends EndpointRequest, More extends object>(
  request: Request,
  more: More,
): Request & More {
  return Object.assign(request, more);
}

export interface EndpointResponse {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Serialised as JSON, a string as it is (with its `content-type` in the headers); absent for an empty body. */
  readonly body?: unknown;
}

export interface BrowserRequest extends EndpointRequest {
  /** A cookie by its short name; the edge knows prefixes and issuer marks. */
  cookie(name: CookieName): string | undefined;
}

/** `state` is the one that scripts may read: the browser state of Session Management 1.0 §3.2, which says nothing. */
export type CookieName = 'session' | 'browser' | 'device' | 'state';

export interface CookieChange {
  readonly name: CookieName;
  /** `null` deletes it. */
  readonly value: string | null;
  /** Seconds it is kept; a session cookie without. */
  readonly maxAge?: number;
}

/** A page, or the way on; the edge adds headers, CSP and the shell. */
export type BrowserResponse = (
  | { readonly kind: 'page'; readonly page: Page; readonly status?: number; readonly formTarget?: string | undefined }
  | { readonly kind: 'redirect'; readonly location: string }
) & {
  readonly cookies?: readonly CookieChange[];
  /** Seconds, where trying again later makes sense (RFC 9110 §10.2.3). */
  readonly retryAfter?: number;
  /** What went wrong inside, for the log. */
  readonly cause?: unknown;
};
