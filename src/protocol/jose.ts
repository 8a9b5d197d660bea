/**
 * What we sign, and whether a signature is good, ours or another's (RFC 7515, 7517, 7518, 7638, 8725). All by node:crypto.
 *
 * One table knows what each algorithm needs. EC and Edwards signatures are made synchronously by node:crypto, which
 * costs a third of the asynchronous way (measured: 28 against 77 µs); RSA, ten times dearer, goes to the thread pool so
 * that it never holds the event loop. Verifying is done at once: with an RSA key of 2048 bits it takes 40 µs, and the size of
 * others' keys is bounded (jose-client.ts, jose-proof.ts). test/protocol/jose.test.ts checks every signature with jose.
 */
import {
  constants,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  hash,
  type JsonWebKey,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { promisify } from 'node:util';

export const signingAlgs = ['ES256', 'RS256', 'PS256', 'EdDSA'] as const;
export type SigningAlg = (typeof signingAlgs)[number];

/** A public key as JWKS shows it. */
export type PublicJwk = Readonly<JsonWebKey & { kid: string; alg: string; use: 'sig' | 'enc' }>;

export interface SigningKey {
  readonly kid: string;
  readonly alg: SigningAlg;
  readonly privateKey: KeyObject;
  readonly publicJwk: PublicJwk;
}

/** A key other parties check our signatures with. */
export interface VerifyingKey {
  readonly kid: string;
  readonly alg: SigningAlg;
  readonly publicKey: KeyObject;
}

const generate = promisify(generateKeyPair);

const es256 = (key: KeyObject) => ({ key, dsaEncoding: 'ieee-p1363' }) as const;
const rs256 = (key: KeyObject) => ({ key, padding: constants.RSA_PKCS1_PADDING });
const ps256 = (key: KeyObject) => ({ key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 });

const TABLE: Record<
  SigningAlg,
  {
    newKeyPair(): Promise<{ publicKey: KeyObject; privateKey: KeyObject }>;
    sign(data: Buffer, key: KeyObject): Buffer | Promise<Buffer>;
    verify(data: Buffer, key: KeyObject, signature: Buffer): boolean;
  }
> = {
  ES256: {
    newKeyPair: () => generate('ec', { namedCurve: 'P-256' }),
    sign: (data, key) => sign('sha256', data, es256(key)),
    verify: (data, key, signature) => verify('sha256', data, es256(key), signature),
  },
  RS256: {
    newKeyPair: () => generate('rsa', { modulusLength: 2048 }),
    sign: (data, key) => offThread('sha256', data, rs256(key)),
    verify: (data, key, signature) => verify('sha256', data, rs256(key), signature),
  },
  PS256: {
    newKeyPair: () => generate('rsa', { modulusLength: 2048 }),
    sign: (data, key) => offThread('sha256', data, ps256(key)),
    verify: (data, key, signature) => verify('sha256', data, ps256(key), signature),
  },
  EdDSA: {
    newKeyPair: () => generate('ed25519'),
    sign: (data, key) => sign(null, data, key),
    verify: (data, key, signature) => verify(null, data, key, signature),
  },
};

/**
 * Whether a compact JWS was signed by this key (RFC 7515 §5.2-8). At once: WebCrypto would take longer to get to it and back than it takes.
 * @param alg the one the key is for; what the header says is the caller's to have compared
 * @param key a public key of the type and size that the algorithm takes
 */
export function isSignedBy(jws: string, alg: SigningAlg, key: KeyObject): boolean {
  const end = jws.lastIndexOf('.');
  const encoded = jws.slice(end + 1);
  const signature = Buffer.from(encoded, 'base64url');
  // One spelling of each signature: the loose bits at its end would make many tokens of one.
  if (signature.toString('base64url') !== encoded) return false;
  return TABLE[alg].verify(Buffer.from(jws.slice(0, end)), key, signature);
}

function offThread(digest: string, data: Buffer, key: Parameters<typeof sign>[2]): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    sign(digest, data, key, (error, signature) => (error ? reject(error) : resolve(signature)));
  });
}

/** Makes a signing key; its `kid` is the RFC 7638 thumbprint, so it is unique and says nothing. */
export async function generateSigningKey(alg: SigningAlg): Promise<SigningKey & { pkcs8: Buffer }> {
  const { publicKey, privateKey } = await TABLE[alg].newKeyPair();
  const jwk = publicKey.export({ format: 'jwk' });
  const kid = thumbprintOf(jwk);
  const pkcs8 = privateKey.export({ format: 'der', type: 'pkcs8' });
  return { kid, alg, privateKey, publicJwk: { ...jwk, kid, alg, use: 'sig' }, pkcs8 };
}

/** What is required of a key of each type, in the order of the names (RFC 7638 §3.2, RFC 8037 §2). */
const REQUIRED: Readonly<Record<string, readonly string[]>> = {
  EC: ['crv', 'kty', 'x', 'y'],
  OKP: ['crv', 'kty', 'x'],
  RSA: ['e', 'kty', 'n'],
};

/**
 * The thumbprint of a key (RFC 7638 §3), with SHA-256.
 * @param jwk a key that was read: what it is made of is there
 */
export function thumbprintOf(jwk: Readonly<Record<string, unknown>>): string {
  const { kty } = jwk;
  const required = typeof kty === 'string' && Object.hasOwn(REQUIRED, kty) ? REQUIRED[kty] : undefined;
  // Else all keys of that type would have one.
  if (!required) throw new TypeError('There is no thumbprint of a key of this type.');
  const members = required.map((name) => [name, jwk[name]]);
  return hash('sha256', JSON.stringify(Object.fromEntries(members)), 'base64url');
}

/** A signing key from its stored parts. */
export function restoreSigningKey(publicJwk: PublicJwk, pkcs8: Buffer): SigningKey {
  const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  return { kid: publicJwk.kid, alg: publicJwk.alg as SigningAlg, privateKey, publicJwk };
}

/** The key a published JWK stands for. */
export function verifyingKey(jwk: PublicJwk): VerifyingKey {
  return { kid: jwk.kid, alg: jwk.alg as SigningAlg, publicKey: createPublicKey({ key: jwk, format: 'jwk' }) };
}

/** NumericDate (RFC 7519 §2). */
export function seconds(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}

const headers = new WeakMap<SigningKey, Map<string, string>>();

/** The encoded header: the same few bytes for every token of a key and type, so made once. */
function encodedHeader(key: SigningKey, typ: string): string {
  const ofKey = headers.get(key) ?? new Map<string, string>();
  headers.set(key, ofKey);
  let header = ofKey.get(typ);
  if (!header) {
    header = Buffer.from(JSON.stringify({ alg: key.alg, typ, kid: key.kid })).toString('base64url');
    ofKey.set(typ, header);
  }
  return header;
}

/**
 * Signs claims as a compact JWS.
 * @param typ explicit type (RFC 8725 §3.11): what keeps one kind of token from passing as another
 */
export async function signJwt(
  key: SigningKey,
  typ: string,
  claims: Readonly<Record<string, unknown>>,
): Promise<string> {
  const payload = Buffer.from(JSON.stringify(claims)).toString('base64url');
  const input = `${encodedHeader(key, typ)}.${payload}`;
  const signature = await TABLE[key.alg].sign(Buffer.from(input), key.privateKey);
  return `${input}.${signature.toString('base64url')}`;
}

/** The longest token that is looked at, in characters. */
const LONGEST_JWT = 8192;
const COMPACT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/** Whether a text could be a JWT at all, at no cost. */
export function looksLikeJwt(token: string): boolean {
  return token.length <= LONGEST_JWT && COMPACT.test(token);
}

interface Expected {
  readonly typ: string;
  readonly issuer: string;
  readonly now: Date;
  findKey(kid: string): VerifyingKey | undefined;
  /** Of the profile, where a key of a laxer one may be left and its tokens are good for something; else all of ours. */
  readonly algs?: readonly SigningAlg[];
  /** Seconds it may be over; none where it is not said. */
  readonly overFor?: number;
}

/**
 * What a JWT says that nobody has verified: good for asking whose key it takes, and for nothing else.
 * @returns `undefined` where it says nothing, or is too long to be looked at
 */
export function unverifiedPart(jwt: string, part: 'header' | 'claims'): Readonly<Record<string, unknown>> | undefined {
  if (jwt.length > LONGEST_JWT) return undefined;
  try {
    const encoded = jwt.split('.')[part === 'header' ? 0 : 1] ?? '';
    const value: unknown = JSON.parse(Buffer.from(encoded, 'base64url').toString());
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Verifies a JWT that we signed ourselves: our key by `kid`, that key's one algorithm, explicit type, issuer, expiry
 * (RFC 7515 §5.2, RFC 7519 §7.2, RFC 8725 §3).
 * @returns its claims, or `undefined` for anything that is not exactly that
 */
export function verifyOwnJwt(token: string, expected: Expected): Readonly<Record<string, unknown>> | undefined {
  if (!looksLikeJwt(token)) return undefined;
  const header = unverifiedPart(token, 'header');
  // Nothing of ours has extensions (RFC 7515 §4.1.11), among them payloads that are not encoded (RFC 7797).
  if (!header || Object.hasOwn(header, 'crit') || Object.hasOwn(header, 'b64')) return undefined;
  const key = typeof header.kid === 'string' ? expected.findKey(header.kid) : undefined;
  // One key, one algorithm (RFC 8725 §3.1): the header does not choose.
  if (!key || key.alg !== header.alg || !isOfType(header.typ, expected.typ)) return undefined;
  if (expected.algs && !expected.algs.includes(key.alg)) return undefined;
  const claims = signedClaims(token, key);
  const now = expected.now.getTime() / 1000;
  const { iss, exp, nbf } = claims ?? {};
  if (iss !== expected.issuer || typeof exp !== 'number' || exp + (expected.overFor ?? 0) <= Math.floor(now))
    return undefined;
  if (nbf !== undefined && !(typeof nbf === 'number' && nbf <= now)) return undefined;
  return claims;
}

/** A media type, which may be named in full (RFC 7515 §4.1.9). */
function isOfType(typ: unknown, expected: string): boolean {
  return typ === expected || (typeof typ === 'string' && typ.toLowerCase() === `application/${expected}`);
}

type Claims = Readonly<Record<string, unknown>>;

/** What was read with each key, by the digest of the token: a token itself would keep the whole request it came in. */
const read = new WeakMap<
  VerifyingKey,
  { readonly claims: Map<string, { claims: Claims; size: number }>; size: number }
>();
/** Characters of tokens, of one key, whose claims are remembered. */
const MOST_READ = 2_000_000;

/**
 * What a token says, when this key signed it. An API asks about the same token at every call it gets, and whether these bytes
 * were signed by this key is true for ever, so it is worked out once. What can change (time, revocation, whether the key still counts)
 * is asked by the caller each time; a keyring that is read anew has new keys, and remembers nothing. The oldest go first: a client
 * with many tokens of its own can push out others', which are verified again then.
 */
function signedClaims(token: string, key: VerifyingKey): Claims | undefined {
  const ofKey = read.get(key) ?? { claims: new Map(), size: 0 };
  read.set(key, ofKey);
  const digest = hash('sha256', token, 'base64');
  const known = ofKey.claims.get(digest);
  if (known) return known.claims;
  if (!isSignedBy(token, key.alg, key.publicKey)) return undefined;
  const claims = unverifiedPart(token, 'claims');
  if (!claims) return undefined;
  ofKey.claims.set(digest, { claims: frozen(claims), size: token.length });
  ofKey.size += token.length;
  for (const [oldest, { size }] of ofKey.claims) {
    if (ofKey.size <= MOST_READ) break;
    ofKey.claims.delete(oldest);
    ofKey.size -= size;
  }
  return claims;
}

/** Several callers are given the same object. */
function frozen<T extends object>(value: T): T {
  for (const inner of Object.values(value)) if (typeof inner === 'object' && inner !== null) frozen(inner);
  return Object.freeze(value);
}

export function isSigningAlg(value: unknown): value is SigningAlg {
  return signingAlgs.some((alg) => alg === value);
}
