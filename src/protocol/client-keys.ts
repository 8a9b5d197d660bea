/**
 * Keys of clients: RFC 7517, RFC 7591 §2 (`jwks`, `jwks_uri`). With them a client proves who it is and what it sent, and we
 * encrypt what only it may read.
 */

/** A JWK Set as a client publishes it: checked for its form when it is read, never trusted for more. */
export interface JsonWebKeySet {
  readonly keys: readonly Readonly<Record<string, unknown>>[];
}

/** Key sets at addresses of clients (src/outgoing). */
export interface RemoteKeys {
  /**
   * The key set at a `jwks_uri`, kept for some minutes.
   * @param anew a key was not among those kept: they are fetched again, once a minute at most
   * @throws Unavailable when there is none to be had
   */
  fetch(uri: string, anew: boolean): Promise<JsonWebKeySet>;
}
