/**
 * What clients sign, and what only they may read; the door to jose for what we encrypt (RFC 7515, 7516, 7517, 7518, 8725, 9864).
 *
 * The client chose everything in such a JWT, its header too, so the header decides nothing. In this order: size, form, an
 * algorithm that is on the list (before any key is looked for), no header member that brings a key or changes the rules,
 * the type, then a key that the client registered and that is made for this algorithm, then the signature. What the claims
 * say is up to whoever asked: a request object is not an assertion.
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { CompactEncrypt } from 'jose';
import { isSignedBy, isSigningAlg, type SigningAlg } from './jose.ts';
import type { Profile } from './profile.ts';

/** A key of a client, as it published it: nothing in it is trusted for being there. */
export type ClientJwk = Readonly<Record<string, unknown>>;

export interface JwtHeader {
  readonly alg: string;
  readonly kid: string | undefined;
  /** In lower case, without `application/`; one of those that were allowed, if it says any. */
  readonly typ: string | undefined;
}

export type JwtClaims = Readonly<Record<string, unknown>>;

/** A JWT that is not good. The message says what it lacks, in words for its maker: ASCII, and no echo. */
export class JwtRefused extends Error {
  /** It is a JWT with `alg: none`: nobody claims to have signed it. */
  readonly unsigned: boolean;

  constructor(message: string, options: { cause?: unknown; unsigned?: boolean } = {}) {
    super(message, { cause: options.cause });
    this.name = 'JwtRefused';
    this.unsigned = options.unsigned ?? false;
  }
}

export interface ClientJwtRules {
  /** Names from {@link clientSigningAlgs}, or the one the client registered. */
  readonly algs: readonly string[];
  /** In lower case. Without `typ` a JWT is of any type (RFC 8725 §3.11 came later than its uses). */
  readonly typs: readonly string[];
  /** Characters. */
  readonly longest: number;
}

/** RFC 9864 §2.2 names the same thing anew; both names are in use. */
const OTHER_NAMES: Readonly<Record<string, SigningAlg>> = { Ed25519: 'EdDSA' };

/** Names of the algorithms clients may sign with, for metadata and registration. */
export function clientSigningAlgs({ clientSigningAlgs: algs }: Profile): readonly string[] {
  return [...algs, ...Object.keys(OTHER_NAMES).filter((name) => algs.some((alg) => alg === OTHER_NAMES[name]))];
}

/**
 * What a client may sign with: the algorithm it registered, or any of the profile. One that it registered under a laxer profile, and the
 * present one forbids, leaves none.
 */
export function algsOf(registered: unknown, profile: Profile): readonly string[] {
  const algs = clientSigningAlgs(profile);
  return typeof registered === 'string' ? algs.filter((alg) => alg === registered) : algs;
}

function isSameAlg(one: unknown, other: unknown): boolean {
  return plainName(one) === plainName(other);
}

function plainName(alg: unknown): unknown {
  return typeof alg === 'string' && Object.hasOwn(OTHER_NAMES, alg) ? OTHER_NAMES[alg] : alg;
}

/** What brings a key along, or an address of one, is refused: keys come from the registration (RFC 8725 §3.10). */
const FOREIGN_KEYS = ['jwk', 'jku', 'x5u'];
/** The signature may be empty: that is how `alg: none` looks. */
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]*$/;

/**
 * The header and the claims of a JWT, still encoded, when it has the size and form of one.
 * @throws JwtRefused
 */
export function partsOf(jwt: string, { longest }: Pick<ClientJwtRules, 'longest'>): [header: string, claims: string] {
  if (jwt.length > longest) throw new JwtRefused('it is too long');
  if (!COMPACT.test(jwt)) throw new JwtRefused('it is not a signed JWT');
  const [header = '', claims = ''] = jwt.split('.');
  return [header, claims];
}

/**
 * Verifies a JWT that a client signed.
 * @param findKey the one key of the client that fits the header; called only with an `alg` of `rules`
 * @returns its claims, of which nothing has been checked
 * @throws JwtRefused
 */
export async function verifyClientJwt(
  jwt: string,
  rules: ClientJwtRules,
  findKey: (header: JwtHeader) => Promise<ClientJwk | undefined>,
): Promise<JwtClaims> {
  const [encodedHeader, payload] = partsOf(jwt, rules);
  const header = parsePart(encodedHeader);
  const alg = allowedAlg(header, rules);
  const typ = checkHeader(header, rules);
  const { kid } = header;
  if (kid !== undefined && typeof kid !== 'string') throw new JwtRefused('its kid is not a string');
  const claims = parsePart(payload);
  const jwk = await findKey({ alg, kid, typ });
  const key = jwk && isKeyFor(jwk, 'sig', alg) ? publicKeyOf(jwk) : undefined;
  if (!key) throw new JwtRefused('no key of the client fits it');
  checkSignature(jwt, alg, key);
  return claims;
}

/**
 * The algorithm a header names, when it is on the list.
 * @throws JwtRefused
 */
export function allowedAlg({ alg }: JwtClaims, { algs }: Pick<ClientJwtRules, 'algs'>): string {
  if (alg === 'none') throw new JwtRefused('it is not signed', { unsigned: true });
  if (typeof alg !== 'string' || !algs.some((allowed) => isSameAlg(allowed, alg)))
    throw new JwtRefused('its alg is not accepted');
  return alg;
}

/**
 * @param alg from {@link allowedAlg}
 * @param key that {@link isKeyFor} found to be for it
 * @throws JwtRefused
 */
export function checkSignature(jwt: string, alg: string, key: KeyObject): void {
  const own = plainName(alg);
  if (!isSigningAlg(own) || !isSignedBy(jwt, own, key)) throw new JwtRefused('its signature is not good');
}

/**
 * What any header must not have, and the type it may have: RFC 7515 §4.1.9, a media type, compared without case, its
 * `application/` usually left out.
 * @throws JwtRefused
 */
export function checkHeader(header: JwtClaims, { typs }: Pick<ClientJwtRules, 'typs'>): string | undefined {
  for (const name of [...FOREIGN_KEYS, 'crit']) {
    if (Object.hasOwn(header, name)) throw new JwtRefused(`its header has ${name}, which is not accepted`);
  }
  const { typ } = header;
  if (typ === undefined) return undefined;
  const type = typeof typ === 'string' ? typ.toLowerCase().replace(/^application\//, '') : undefined;
  if (type === undefined || !typs.includes(type)) throw new JwtRefused('its typ is that of something else');
  return type;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * A JSON object out of base64url, with one way to write the bytes and no broken characters. Of two members with one name the
 * last counts (RFC 7515 §4, RFC 7519 §4 leave that open), everywhere here: each part is parsed by this alone.
 * @throws JwtRefused
 */
export function parsePart(part: string): Record<string, unknown> {
  const bytes = Buffer.from(part, 'base64url');
  try {
    const value: unknown = bytes.toString('base64url') === part ? JSON.parse(utf8.decode(bytes)) : undefined;
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Told below.
  }
  throw new JwtRefused('it is malformed');
}

export interface TimeRules {
  /** Seconds it may be good for, and old. */
  readonly longest: number;
}

/** Seconds another clock may be ahead of ours; none behind for `exp`, which its maker chose. */
const SKEW = 30;

/**
 * Checks `exp`, `nbf` and `iat` (RFC 7519 §4.1), each where it is there. Which of them must be is the caller's to say.
 * @throws JwtRefused
 */
export function checkTimes(claims: JwtClaims, now: Date, { longest }: TimeRules): void {
  const present = now.getTime() / 1000;
  const [exp, nbf, iat] = ['exp', 'nbf', 'iat'].map((name) => time(claims, name));
  for (const begin of [nbf, iat]) {
    if (begin === undefined) continue;
    if (begin > present + SKEW) throw new JwtRefused('it is not good yet');
    if (begin < present - longest) throw new JwtRefused('it is too old');
  }
  if (exp === undefined) return;
  if (exp <= present) throw new JwtRefused('it has expired');
  if (exp - (nbf ?? iat ?? present) > longest) throw new JwtRefused('it would be good for too long');
}

function time(claims: JwtClaims, name: string): number | undefined {
  const value = claims[name];
  if (value === undefined || (typeof value === 'number' && Number.isFinite(value))) return value;
  throw new JwtRefused(`its ${name} is not a number`);
}

/** What the key of an algorithm looks like (RFC 7518 §6, RFC 8037 §2); only these are used. */
const KEYS: Readonly<Record<string, { readonly kty: string; readonly crvs?: readonly string[] }>> = {
  ES256: { kty: 'EC', crvs: ['P-256'] },
  RS256: { kty: 'RSA' },
  PS256: { kty: 'RSA' },
  EdDSA: { kty: 'OKP', crvs: ['Ed25519'] },
  Ed25519: { kty: 'OKP', crvs: ['Ed25519'] },
  'RSA-OAEP-256': { kty: 'RSA' },
  'ECDH-ES': { kty: 'EC', crvs: ['P-256', 'P-384', 'P-521'] },
  'ECDH-ES+A256KW': { kty: 'EC', crvs: ['P-256', 'P-384', 'P-521'] },
};

/**
 * Whether a key says of itself that it is for this: one key, one algorithm, one use (RFC 7517 §4.2, §4.4; RFC 8725 §3.1).
 * `key_ops` is not asked: of a public key it says no more than `use`.
 */
export function isKeyFor(jwk: ClientJwk, use: 'sig' | 'enc', alg: string): boolean {
  const { kty, crvs } = KEYS[alg] ?? {};
  return (
    kty !== undefined &&
    jwk.kty === kty &&
    (crvs === undefined || crvs.some((crv) => crv === jwk.crv)) &&
    (jwk.use === undefined || jwk.use === use) &&
    (jwk.alg === undefined || isSameAlg(jwk.alg, alg))
  );
}

const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'];

/**
 * What is wrong with a JWK as a public key of a client, in words for its owner.
 * @returns `undefined` when it can be used
 */
export function problemOfKey(jwk: ClientJwk): string | undefined {
  const read = readKey(jwk);
  return typeof read === 'string' ? read : undefined;
}

/**
 * The key, or what is wrong with it.
 * @param limits of an RSA key
 */
export function readKey(jwk: ClientJwk, limits = LIMITS): KeyObject | string {
  if (PRIVATE_MEMBERS.some((member) => Object.hasOwn(jwk, member)) || jwk.kty === 'oct')
    return 'holds a private or symmetric key';
  if (jwk.kid !== undefined && (typeof jwk.kid !== 'string' || jwk.kid === '' || jwk.kid.length > 200))
    return 'has a kid that is not a string of 1 to 200 characters';
  let key: KeyObject;
  try {
    // Which throws where it is nested too deeply.
    if (JSON.stringify(jwk).length > LARGEST_KEY) return 'holds a key that is too large';
    key = createPublicKey({ key: jwk, format: 'jwk' });
  } catch {
    return 'holds something that is not a key';
  }
  const { modulusLength = LEAST_MODULUS, publicExponent = LEAST_EXPONENT } = key.asymmetricKeyDetails ?? {};
  if (modulusLength < LEAST_MODULUS || modulusLength > limits.modulus)
    return `holds an RSA key of less than ${LEAST_MODULUS} or more than ${limits.modulus} bits`;
  if (publicExponent < LEAST_EXPONENT || publicExponent > limits.exponent)
    return 'holds an RSA key with an exponent nobody uses';
  return key;
}

/** Characters of JSON: an RSA key of the largest size with a certificate beside it. */
const LARGEST_KEY = 16 * 1024;
// RFC 7518 §3.3; and a large one costs us, not its owner.
const LEAST_MODULUS = 2048;
// With an exponent of 1 everybody's signature is good; a long one is as dear as a private key.
const LEAST_EXPONENT = 3n;
/** A signature by such a key takes 0.3 ms to verify, with the largest exponent 0.7: of a client that registered it. */
const LIMITS = { modulus: 8192, exponent: 2n ** 32n };

/** Keys read once: sets of clients stay the same objects for minutes. */
const readKeys = new WeakMap<ClientJwk, KeyObject>();

function publicKeyOf(jwk: ClientJwk): KeyObject | undefined {
  const known = readKeys.get(jwk);
  if (known) return known;
  const read = readKey(jwk);
  if (typeof read === 'string') return undefined;
  readKeys.set(jwk, read);
  return read;
}

/**
 * Key management of what we encrypt (RFC 7518 §4). No RSA1_5 (RFC 8725 §3.2), nothing with a shared secret; RSA-OAEP only
 * with SHA-256: the plain one's SHA-1 is what scanners stop at, and every library that has it has both.
 */
export const encryptionAlgs = ['RSA-OAEP-256', 'ECDH-ES', 'ECDH-ES+A256KW'] as const;
/** Content encryption; the first is what a client gets that registered none (OpenID Connect Registration §2). */
export const encryptionEncs = ['A128CBC-HS256', 'A256GCM', 'A128GCM'] as const;

export interface Encryption {
  /** Of {@link encryptionAlgs}. */
  readonly alg: string;
  /** Of {@link encryptionEncs}. */
  readonly enc: string;
}

/**
 * Encrypts a text as compact JWE (RFC 7516 §7.1), never compressed (RFC 8725 §3.6). A JWT in it is announced (RFC 7519 §5.2).
 * @returns `undefined` when the key is not to be used for this
 */
export async function encrypt(text: string, jwk: ClientJwk, { alg, enc }: Encryption): Promise<string | undefined> {
  const key = isEncryption(alg, enc) && isKeyFor(jwk, 'enc', alg) ? publicKeyOf(jwk) : undefined;
  if (!key) return undefined;
  // JSON begins with a brace, and no JWT does.
  const nested = !text.startsWith('{');
  return new CompactEncrypt(Buffer.from(text))
    .setProtectedHeader({
      alg,
      enc,
      ...(typeof jwk.kid === 'string' && { kid: jwk.kid }),
      ...(nested && { cty: 'JWT' }),
    })
    .encrypt(key);
}

function isEncryption(alg: string, enc: string): boolean {
  return encryptionAlgs.some((name) => name === alg) && encryptionEncs.some((name) => name === enc);
}
