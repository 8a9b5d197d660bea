/**
 * The authorization server's metadata, RFC 8414 §3: where its keys and its endpoints are.
 *
 * Invariant: only a document whose `issuer` is exactly the configured one is used (§3.3), so a server that can answer at
 * that address cannot speak for another issuer.
 *
 * Fetched at first need, by one request however many callers wait; a stale document stays in use while the next one is
 * fetched, so a short absence of the authorization server is not an absence of the API.
 */
import { exchangeJson } from './json-exchange.ts';
import { NoVerdict } from './refusal.ts';

/** The members an API looks at. Each is what the server said: check before use. */
export interface AuthorizationServerMetadata {
  readonly jwks_uri?: unknown;
  readonly introspection_endpoint?: unknown;
  readonly token_endpoint?: unknown;
}

const MAX_AGE_MILLISECONDS = 10 * 60 * 1000;

/**
 * @param issuer the configured issuer identifier
 * @returns a function that gives the current metadata, or throws NoVerdict
 */
export function metadataOf(issuer: string, timeoutSeconds: number): () => Promise<AuthorizationServerMetadata> {
  const url = wellKnownUrl(issuer, 'oauth-authorization-server');
  let known: AuthorizationServerMetadata | undefined;
  let fetchedAt = 0;
  let pending: Promise<AuthorizationServerMetadata> | undefined;

  async function fetchMetadata(): Promise<AuthorizationServerMetadata> {
    const metadata = await exchangeJson(url, timeoutSeconds);
    if (metadata.issuer !== issuer) {
      throw new NoVerdict(`The metadata at ${url} is not that of ${issuer}`);
    }
    known = metadata;
    fetchedAt = Date.now();
    return metadata;
  }

  return async () => {
    if (known !== undefined && Date.now() - fetchedAt < MAX_AGE_MILLISECONDS) return known;
    pending ??= fetchMetadata().finally(() => {
      pending = undefined;
    });
    if (known === undefined) return pending;
    pending.catch(() => {}); // the next request tries again
    return known;
  };
}

/**
 * RFC 8414 §3.1 and RFC 9728 §3.1: the well-known part is inserted between the host and the path, and a path of only
 * "/" is dropped.
 */
export function wellKnownUrl(identifier: string, name: string): URL {
  const { origin, pathname } = new URL(identifier);
  return new URL(`/.well-known/${name}${pathname === '/' ? '' : pathname}`, origin);
}
