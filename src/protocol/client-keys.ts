/**
 * Keys of clients: RFC 7517, RFC 7591 §2 (`jwks`, `jwks_uri`). With them a client proves who it is and what it sent, and we
 * encrypt what only it may read (OpenID Connect Core §10).
 */
import { z } from 'zod';
import type { AuthorizationServer } from './authorization-server.ts';
import type { Client, ClientMetadata } from './client.ts';
import { OAuthError } from './errors.ts';
import {
  type ClientJwk,
  type ClientJwtRules,
  type Encryption,
  encrypt,
  isKeyFor,
  type JwtClaims,
  type JwtHeader,
  problemOfKey,
  verifyClientJwt,
} from './jose-client.ts';

/** A JWK Set as a client publishes it: checked for its form when it is read, never trusted for more. */
export interface JsonWebKeySet {
  readonly keys: readonly ClientJwk[];
}

/** The form of a key set, wherever it comes from. What the keys are is looked at when one is needed. */
export const keySet = z.object({ keys: z.array(z.record(z.string(), z.unknown())).max(50) });

/** Where somebody's keys are: here or there (RFC 7591 §2). Of a client it is its metadata, which were checked. */
export interface KeySource {
  readonly jwks?: unknown;
  readonly jwks_uri?: unknown;
}

/** Key sets at addresses of clients and trust domains (src/outgoing). */
export interface RemoteKeys {
  /**
   * The key set at a `jwks_uri`, kept for some minutes.
   * @param anew a key was not among those kept: they are fetched again, once a minute at most
   * @throws Unavailable when there is none to be had
   */
  fetch(uri: string, anew: boolean): Promise<JsonWebKeySet>;
}

/**
 * What `jwks` and `jwks_uri` demand when they are registered: one of them at most (RFC 7591 §2), and public keys only. A
 * client that hands out its private key should hear of it before we keep a copy.
 */
export function checkClientKeys({ jwks, jwks_uri }: ClientMetadata): { field: string; why: string } | undefined {
  if (jwks === undefined) return undefined;
  if (jwks_uri !== undefined) return { field: 'jwks', why: 'and jwks_uri exclude each other' };
  const { keys } = keySet.parse(jwks);
  if (keys.length === 0) return { field: 'jwks', why: 'holds no key' };
  for (const [index, key] of keys.entries()) {
    const why = problemOfKey(key);
    if (why !== undefined) return { field: `jwks.keys.${index}`, why };
  }
  const kids = keys.flatMap(({ kid }) => (kid === undefined ? [] : [kid]));
  return new Set(kids).size === kids.length ? undefined : { field: 'jwks', why: 'has two keys with one kid' };
}

/**
 * Verifies a JWT that this client signed, with a key that it registered.
 * @returns its claims, of which nothing has been checked
 * @throws JwtRefused when it is not good
 * @throws Unavailable when the client's keys cannot be fetched
 */
export function verifyJwtOf(
  client: Client,
  jwt: string,
  rules: ClientJwtRules,
  server: AuthorizationServer,
): Promise<JwtClaims> {
  return verifyClientJwt(jwt, rules, (header) => findVerifyingKey(client.metadata, header, server));
}

/**
 * The one key of somebody's that a JWT with this header is signed with.
 * @throws Unavailable when the keys cannot be fetched
 */
export async function findVerifyingKey(
  source: KeySource,
  header: JwtHeader,
  server: AuthorizationServer,
): Promise<ClientJwk | undefined> {
  const [key] = await searchKeys(source, (keys) => verifyingKeys(keys, header), server);
  return key;
}

/** OpenID Connect Core §10.1: a set of several keys is chosen from by `kid`. Trying them all would let the signature choose. */
function verifyingKeys(keys: readonly ClientJwk[], { alg, kid }: JwtHeader): readonly ClientJwk[] {
  const fitting = keys.filter((key) => isKeyFor(key, 'sig', alg) && (kid === undefined || key.kid === kid));
  return fitting.length === 1 ? fitting : [];
}

/**
 * Encrypts a text, a JWT or a JSON object, so that only this client can read it.
 * @returns a compact JWE
 * @throws OAuthError when no key of the client fits
 * @throws Unavailable when the client's keys cannot be fetched
 */
export async function encryptForClient(
  text: string,
  client: Client,
  choice: Encryption,
  server: AuthorizationServer,
): Promise<string> {
  const keys = await searchKeys(client.metadata, (all) => encryptionKeys(all, choice.alg), server);
  for (const key of keys) {
    const encrypted = await encrypt(text, key, choice);
    if (encrypted !== undefined) return encrypted;
  }
  throw new OAuthError('invalid_request', 'No key of the client fits its registered encryption.', {
    cause: new Error(`${client.id} has no key for ${choice.alg} with ${choice.enc}`),
  });
}

/** Those that say they are for encryption come first (RFC 7517 §4.2). */
function encryptionKeys(keys: readonly ClientJwk[], alg: string): readonly ClientJwk[] {
  const fitting = keys.filter((key) => isKeyFor(key, 'enc', alg));
  return [...fitting.filter(({ use }) => use === 'enc'), ...fitting.filter(({ use }) => use === undefined)];
}

/** Those keys that `choose` takes; where it takes none, they are fetched anew: their owner may have changed them. */
export async function searchKeys(
  { jwks, jwks_uri }: KeySource,
  choose: (keys: readonly ClientJwk[]) => readonly ClientJwk[],
  { remoteKeys }: AuthorizationServer,
): Promise<readonly ClientJwk[]> {
  if (typeof jwks_uri !== 'string') return choose((jwks as JsonWebKeySet | undefined)?.keys ?? []);
  const chosen = choose((await remoteKeys.fetch(jwks_uri, false)).keys);
  return chosen.length > 0 ? chosen : choose((await remoteKeys.fetch(jwks_uri, true)).keys);
}
