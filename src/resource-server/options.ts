/**
 * What an API configures, and the check of it: a wrong option stops the start with its name and what it must be, instead of
 * refusing or, worse, accepting somebody later. Members nobody knows are refused too: a misspelt `bindings` would let
 * unbound tokens in.
 */
import { createPrivateKey, type KeyObject } from 'node:crypto';
import type { JWK } from 'jose';
import { isObject, isText } from './access-token.ts';
import { ALGORITHMS, type Algorithm, FAPI_ALGORITHMS, KEY_TYPES } from './algorithms.ts';
import { requireSecureUrl } from './json-exchange.ts';
import { memoryReplayMarks, type ReplayMarks } from './replay-marks.ts';
import { protectedResourceMetadataUrl, type ResourceMetadata } from './resource-metadata.ts';

/** What access tokens are bound to: nothing, the key of a DPoP proof (RFC 9449), a client certificate (RFC 8705). */
export type Binding = 'none' | 'dpop' | 'mtls';

export interface ResourceServerOptions {
  /** The issuer identifier of the authorization server, exactly as it writes it. */
  readonly issuer: string;
  /**
   * This API's own identifier: an http(s) URL without query and fragment, which tokens must name in `aud`. Its origin is
   * where clients call the API, which DPoP proofs must name.
   */
  readonly resource: string;
  /** The form of the tokens: checked by signature, or by asking the authorization server. */
  readonly token: { readonly kind: 'jwt' } | IntrospectedTokens;
  /** What tokens and signed introspection answers may be signed with; all of {@link ALGORITHMS} when left out. */
  readonly algorithms?: readonly Algorithm[];
  /** Which tokens are let in, by what they are bound to; `['none', 'dpop']` when left out. */
  readonly bindings?: readonly Binding[];
  readonly dpop?: DpopOptions;
  /** More for the RFC 9728 document, in its own words. */
  readonly metadata?: ResourceMetadata;
  /** The longest wait for one answer of the authorization server, in seconds; 5 when left out. */
  readonly timeoutSeconds?: number;
}

export interface DpopOptions {
  /** What proofs may be signed with; all but RS256 when left out. */
  readonly algorithms?: readonly Algorithm[];
  /**
   * With a key of at least 32 bytes, every proof must carry a nonce of this API (RFC 9449 §9). Processes with the same key
   * take each other's nonces.
   */
  readonly nonceKey?: string | Uint8Array;
  /** Where used proofs are remembered; in the memory of this process when left out. */
  readonly replayMarks?: ReplayMarks;
}

/** A private key as a JWK, and what it signs with. */
export type PrivateKey = JWK & { readonly alg: Algorithm };

/** The API's own credentials at the authorization server: a secret, or a private key (`private_key_jwt`). */
export type IntrospectionClient =
  | { readonly clientId: string; readonly clientSecret: string }
  | { readonly clientId: string; readonly privateKey: PrivateKey };

export type IntrospectedTokens = IntrospectionClient & {
  readonly kind: 'introspection';
  /** Ask for signed answers and take no others (RFC 9701). */
  readonly signed?: boolean;
};

/** The options, checked and complete. */
export interface Settings {
  readonly issuer: string;
  readonly resource: string;
  readonly token: ResourceServerOptions['token'];
  readonly algorithms: readonly Algorithm[];
  readonly bindings: readonly Binding[];
  readonly dpop: {
    readonly algorithms: readonly Algorithm[];
    readonly nonceKey: Uint8Array | undefined;
    readonly replayMarks: ReplayMarks;
  };
  readonly metadata: ResourceMetadata;
  readonly timeoutSeconds: number;
}

const BINDINGS: readonly Binding[] = ['none', 'dpop', 'mtls'];

/** RFC 2104 §3: a key shorter than the hash weakens it. */
const MIN_KEY_BYTES = 32;

/** RFC 7518 §3.3. */
const MIN_RSA_BITS = 2048;

/** @throws TypeError naming the first option that cannot be right, and what it must be */
export function settingsOf(options: ResourceServerOptions): Settings {
  const known = ['issuer', 'resource', 'token', 'algorithms', 'bindings', 'dpop', 'metadata', 'timeoutSeconds'];
  requireMembers('the options', options, known);
  const { issuer, resource, token, algorithms = ALGORITHMS, bindings = ['none', 'dpop'] } = options;
  const { dpop = {}, metadata = {}, timeoutSeconds = 5 } = options;

  requireIssuer(issuer);
  protectedResourceMetadataUrl(resource);
  requireToken(token);
  requireSome('algorithms', algorithms, ALGORITHMS);
  requireSome('bindings', bindings, BINDINGS);
  requireMetadata(metadata);
  requireTimeout(timeoutSeconds);

  if (options.dpop !== undefined) demand(bindings.includes('dpop'), 'bindings', "with 'dpop' when dpop is configured");
  return {
    issuer,
    resource,
    token,
    algorithms,
    bindings,
    dpop: dpopSettings(dpop),
    metadata,
    timeoutSeconds,
  };
}

/** @throws TypeError */
export function requireIssuer(issuer: string): void {
  const { search, hash, username } = requireSecureUrl('issuer', issuer);
  demand(search === '' && hash === '' && username === '', 'issuer', 'a URL without query, fragment and user');
}

/** @throws TypeError */
export function requireTimeout(seconds: number): void {
  const isWait = typeof seconds === 'number' && seconds > 0 && seconds <= 60;
  demand(isWait, 'timeoutSeconds', 'a number above 0, at most 60');
}

function requireToken(token: ResourceServerOptions['token']): void {
  demand(isObject(token), 'token', "an object like { kind: 'jwt' }");
  demand(token.kind === 'jwt' || token.kind === 'introspection', 'token.kind', "'jwt' or 'introspection'");
  if (token.kind === 'jwt') requireMembers('token', token, ['kind']);
  else requireIntrospection(token);
}

function requireIntrospection(token: IntrospectedTokens): void {
  requireMembers('token', token, ['kind', 'clientId', 'clientSecret', 'privateKey', 'signed']);
  demand(token.signed === undefined || typeof token.signed === 'boolean', 'token.signed', 'true or false');
  requireCredentials('token', token);
}

/** @throws TypeError naming the member that cannot be right */
export function requireCredentials(name: string, client: IntrospectionClient): void {
  demand(isText(client.clientId), `${name}.clientId`, 'a text that is not empty');
  const hasSecret = 'clientSecret' in client;
  demand(hasSecret !== 'privateKey' in client, name, 'given one of clientSecret and privateKey');
  if (hasSecret) demand(isText(client.clientSecret), `${name}.clientSecret`, 'a text that is not empty');
  else requirePrivateKey(`${name}.privateKey`, client.privateKey);
}

/** @throws TypeError naming what cannot be right */
export function requirePrivateKey(name: string, jwk: PrivateKey): void {
  demand(isObject(jwk) && isText(jwk.d), name, 'a private key as a JWK');
  requireSome(`${name}.alg`, [jwk.alg], ALGORITHMS);
  demand(jwk.kty === KEY_TYPES[jwk.alg], `${name}.kty`, `${KEY_TYPES[jwk.alg]} for ${jwk.alg}`);
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: { ...jwk }, format: 'jwk' });
  } catch (cause) {
    // Node.js would name no option.
    throw new TypeError(`${name} must be a private key as a JWK`, { cause });
  }
  const { modulusLength = MIN_RSA_BITS } = key.asymmetricKeyDetails ?? {};
  demand(modulusLength >= MIN_RSA_BITS, name, `of ${MIN_RSA_BITS} bits or more`);
}

function dpopSettings(dpop: DpopOptions): Settings['dpop'] {
  requireMembers('dpop', dpop, ['algorithms', 'nonceKey', 'replayMarks']);
  const { algorithms = FAPI_ALGORITHMS, nonceKey, replayMarks = memoryReplayMarks() } = dpop;
  requireSome('dpop.algorithms', algorithms, ALGORITHMS);
  demand(typeof replayMarks?.claim === 'function', 'dpop.replayMarks', 'an object with a function claim');
  if (nonceKey === undefined) return { algorithms, nonceKey, replayMarks };
  const isKey = typeof nonceKey === 'string' || nonceKey instanceof Uint8Array;
  demand(isKey && Buffer.from(nonceKey).byteLength >= MIN_KEY_BYTES, 'dpop.nonceKey', 'at least 32 bytes');
  return { algorithms, nonceKey: Buffer.from(nonceKey), replayMarks };
}

function requireMetadata(metadata: ResourceMetadata): void {
  const texts = ['resource_name', 'resource_documentation', 'resource_policy_uri', 'resource_tos_uri'];
  const lists = ['scopes_supported', 'authorization_details_types_supported'];
  requireMembers('metadata', metadata, [...texts, ...lists]);
  for (const [name, value] of Object.entries(metadata)) {
    if (texts.includes(name)) demand(isText(value), `metadata.${name}`, 'a text that is not empty');
    else demand(Array.isArray(value) && value.every(isText), `metadata.${name}`, 'a list of texts');
  }
}

function requireSome(name: string, values: readonly unknown[], allowed: readonly string[]): void {
  const fits = Array.isArray(values) && values.length > 0 && values.every((value) => allowed.includes(value));
  demand(fits, name, `among ${allowed.join(', ')}`);
}

/** @throws TypeError when it is no object, or has members beyond those */
export function requireMembers(name: string, value: unknown, known: readonly string[]): void {
  demand(isObject(value), name, 'an object');
  for (const member of Object.keys(value)) {
    if (!known.includes(member)) throw new TypeError(`${name} has no member ${member}; there are ${known.join(', ')}`);
  }
}

/** @throws TypeError "`name` must be `what`" */
export function demand(holds: boolean, name: string, what: string): asserts holds {
  if (!holds) throw new TypeError(`${name} must be ${what}`);
}
