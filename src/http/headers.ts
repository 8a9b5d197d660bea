/** Response headers by kind of answer: standards for browsers that cost nothing and stop whole classes of attack. */
import type { FastifyReply } from 'fastify';

/** Two years; not on loopback, where it would break every other local server. */
const HSTS = 'max-age=63072000; includeSubDomains';

/** For every answer. */
export function setCommonHeaders(reply: FastifyReply, hsts: boolean): void {
  reply.header('x-request-id', reply.request.id).header('x-content-type-options', 'nosniff');
  if (hsts) reply.header('strict-transport-security', HSTS);
}

/** For machines: never cached, never framed, never a document. */
export function setApiHeaders(reply: FastifyReply): void {
  reply
    .header('cache-control', 'no-store')
    .header('content-security-policy', "default-src 'none'; frame-ancestors 'none'")
    .header('x-frame-options', 'DENY')
    .header('referrer-policy', 'no-referrer');
}

export interface PagePolicy {
  /** Where a form of the page, or the redirects after it, may end beside ourselves: Chromium applies `form-action` to them. */
  readonly formTarget: string | undefined;
  /** `'sha256-…'` of the one script of the page. */
  readonly scriptHash: string | undefined;
  /** The page says who signs in here: nobody else may see the address it was reached by. */
  readonly referrer: 'same-origin' | 'no-referrer';
  /** Addresses that the page shows in frames. */
  readonly frames: readonly string[];
}

/** For people: nothing foreign loads, no frame shows it (clickjacking), no script runs but ours. */
export function setPageHeaders(reply: FastifyReply, policy: PagePolicy): void {
  const csp = [
    "default-src 'none'",
    "style-src 'self'",
    "img-src 'self' data:",
    ...(policy.scriptHash === undefined ? [] : [`script-src '${policy.scriptHash}'`]),
    ...(policy.frames.length === 0 ? [] : [`frame-src ${frameSources(policy.frames)}`]),
    `form-action 'self'${policy.formTarget === undefined ? '' : ` ${policy.formTarget}`}`,
    "frame-ancestors 'none'",
    "base-uri 'none'",
  ];
  reply
    .header('cache-control', 'no-store')
    .header('content-security-policy', csp.join('; '))
    .header('x-frame-options', 'DENY')
    // Forms need a Referrer that lets Chromium send their Origin; with no-referrer it sends `Origin: null`.
    .header('referrer-policy', policy.referrer)
    .header(
      'permissions-policy',
      'camera=(), geolocation=(), microphone=(), payment=(), usb=(), publickey-credentials-get=(self)',
    )
    .header('cross-origin-resource-policy', 'same-origin');
}

/** Characters. Proxies stop at headers of a few kilobytes, and the session has ended by then. */
const LONGEST_SOURCES = 3000;

/** The origins of some addresses; where they are too many to name, their schemes. */
function frameSources(addresses: readonly string[]): string {
  const of = (part: 'origin' | 'protocol') =>
    [...new Set(addresses.map((address) => new URL(address)[part]))].join(' ');
  const origins = of('origin');
  return origins.length <= LONGEST_SOURCES ? origins : of('protocol');
}

/**
 * For the page that clients show in a frame (Session Management 1.0 §3.3): any site may, and any cache may keep it, for it
 * is the same for everybody. It loads nothing and has nothing to click on.
 */
export function setFramedPageHeaders(reply: FastifyReply, scriptHash: string): void {
  reply
    .header('cache-control', 'public, max-age=3600')
    .header(
      'content-security-policy',
      `default-src 'none'; script-src '${scriptHash}'; form-action 'none'; frame-ancestors *; base-uri 'none'`,
    )
    .header('referrer-policy', 'no-referrer')
    .header('cross-origin-resource-policy', 'cross-origin');
}
