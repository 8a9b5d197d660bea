/**
 * Redirect URIs: OAuth 2.1 §2.3 and §4.1.3, RFC 8252 §7 and §8, RFC 9700 §4.1.
 *
 * Registered ones are compared as strings, character by character, with nothing normalised: every parser that tried to
 * be kind here has been an open door. The one exception is the port of a native app's loopback IP literal
 * (RFC 8252 §7.3). A {@link ReturnAddress} comes out of {@link resolveReturnAddress} and from nowhere else, so code
 * that would redirect to an unchecked address does not compile.
 */
import type { Client } from './client.ts';
import { OAuthError } from './errors.ts';
import type { Parameters } from './message.ts';

const LOOPBACK_HOSTS = new Set(['localhost', '127.0.0.1', '[::1]']);
const LOOPBACK_LITERAL = /^(http:\/\/(?:127\.0\.0\.1|\[::1\]))(?::(\d{1,5}))?([/?].*)?$/;
const PRINTABLE = /^[\x21-\x7E]+$/;

/** A proven place to send the browser back to: which client, where, and what must come back unchanged. */
class ReturnAddress {
  readonly client: Client;
  readonly redirectUri: string;
  readonly state: string | undefined;
  // A protected member makes the type nominal: no object literal passes for a ReturnAddress.
  protected readonly proven = true;

  constructor(client: Client, redirectUri: string, state: string | undefined) {
    this.client = client;
    this.redirectUri = redirectUri;
    this.state = state;
  }
}

export type { ReturnAddress };

/**
 * The address an authorization response goes to. Until this returns, errors are shown; from then on they are sent.
 * @throws OAuthError `invalid_request`, to be shown and never sent
 */
export function resolveReturnAddress(client: Client, parameters: Parameters): ReturnAddress {
  const state = parameters.isRepeated('state') ? undefined : parameters.get('state');
  const asked = parameters.get('redirect_uri');
  if (asked !== undefined) {
    if (!client.redirectUris.some((registered) => matches(registered, asked, client))) {
      throw new OAuthError('invalid_request', 'The redirect_uri is not registered for this client.');
    }
    return new ReturnAddress(client, asked, state);
  }
  const [only, ...others] = client.redirectUris;
  // OpenID Connect Core §3.1.2.1 requires the parameter; plain OAuth may omit it when there is nothing to choose.
  const openid = (parameters.get('scope') ?? '').split(' ').includes('openid');
  if (only === undefined || others.length > 0 || openid) {
    throw new OAuthError('invalid_request', 'redirect_uri is required.');
  }
  return new ReturnAddress(client, only, state);
}

function matches(registered: string, asked: string, client: Client): boolean {
  if (registered === asked) return true;
  if (client.applicationType !== 'native') return false;
  const [, base, , rest] = LOOPBACK_LITERAL.exec(registered) ?? [];
  const [, askedBase, port, askedRest] = LOOPBACK_LITERAL.exec(asked) ?? [];
  return base !== undefined && base === askedBase && rest === askedRest && Number(port ?? 80) <= 65_535;
}

/**
 * Checks a redirect URI as it is registered.
 * @throws OAuthError `invalid_redirect_uri` (RFC 7591 §3.2.2), saying what is wrong
 */
export function checkRedirectUri(uri: string, applicationType: Client['applicationType']): void {
  const problem = redirectUriProblem(uri, applicationType);
  if (problem !== undefined) throw new OAuthError('invalid_redirect_uri', `redirect_uris: ${problem}`);
}

/** What is wrong with the form of a URI that a browser may be sent to; `undefined` when nothing is. */
export function redirectUriProblem(uri: string, applicationType: Client['applicationType']): string | undefined {
  if (!PRINTABLE.test(uri) || uri.includes('\\')) return 'only printable ASCII without spaces and backslashes';
  const url = parseUrl(uri);
  if (!url) return 'must be an absolute URI';
  if (uri.includes('#')) return 'must not have a fragment';
  if (url.username !== '' || url.password !== '' || uri.includes('@')) return 'must not have user information';
  if (url.protocol === 'https:' || url.protocol === 'http:') {
    if (!hasPlainHost(url)) return 'must have a plain host name';
    // What a browser would rewrite is not what we would compare.
    if (url.href !== uri && url.href !== `${uri}/`)
      return 'must be in normal form (lower-case host, no default port, no dot segments)';
    if (url.protocol === 'http:' && !isLoopback(url)) return 'http is allowed on localhost, 127.0.0.1 and [::1] only';
    return undefined;
  }
  // RFC 8252 §7.1: a private-use scheme is a reversed domain name, so it has a dot; that also keeps javascript:, data:,
  // file:, vbscript:, blob: and about: out.
  const scheme = url.protocol.slice(0, -1);
  if (applicationType !== 'native') return 'a private-use scheme needs application_type native';
  if (!scheme.includes('.') || !uri.startsWith(`${scheme}:/`) || uri.startsWith(`${scheme}://`))
    return 'a private-use scheme is a reversed domain name and a path, like com.example.app:/callback';
  return undefined;
}

/** An absolute URL, or `undefined`. */
export function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}

/** A host with a semicolon or a comma would be read as more than a host where it is printed (CSP). */
export function hasPlainHost(url: URL): boolean {
  return /^(?:[a-z0-9._-]+|\[[0-9a-f:]+\])$/.test(url.hostname);
}

/** Whether a URL's host is this very machine by name or literal. */
export function isLoopback(url: URL): boolean {
  return LOOPBACK_HOSTS.has(url.hostname);
}

/**
 * Whether anybody on the user's device could claim this address: private-use schemes and loopback. A client behind one
 * proves nothing by getting the code, so consent is asked every time (RFC 8252 §8.6).
 */
export function isClaimable(redirectUri: string): boolean {
  const url = new URL(redirectUri);
  return (url.protocol !== 'https:' && url.protocol !== 'http:') || isLoopback(url);
}

/**
 * What CSP's `form-action` must list so that a form's redirects may end at this address: its origin or scheme, and the
 * client's other origins. Chromium holds the whole chain of redirects to the list, so a callback that sends the browser on
 * to another origin of the same client needs that origin there too (`allowed_origins`).
 */
export function formTarget(address: Pick<ReturnAddress, 'client' | 'redirectUri'>): string {
  const url = new URL(address.redirectUri);
  const own = url.origin === 'null' ? url.protocol : url.origin;
  return [...new Set([own, ...address.client.origins])].join(' ');
}

/**
 * Adds parameters to a registered URI, whose own query stays as it is, to the letter.
 * @param query encoded, without `?`
 */
export function withQuery(uri: string, query: URLSearchParams | string): string {
  return `${uri}${uri.includes('?') ? '&' : '?'}${query}`;
}
