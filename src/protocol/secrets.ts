/**
 * Secrets: credentials that carry their own time, comparison, sealing, and people's passwords.
 *
 * A credential is `prefix ‖ base64url(UUIDv7 id (16 bytes) ‖ secret (32 random bytes))`. The store keeps the id, by
 * which tables are partitioned in time, and SHA-256 of the secret; who reads the database cannot present anything.
 * 256 bits from the generator need no slow hash. The prefix tells secret scanners, logs and us what it is.
 */
import { createCipheriv, createDecipheriv, createHmac, hash as digest, hkdfSync, timingSafeEqual } from 'node:crypto';
import * as argon2 from '@node-rs/argon2';
import type { Context } from './context.ts';
import { Unavailable } from './errors.ts';

const PREFIXES = {
  access_token: 'gate_at_',
  /** An access token that was made from another one: the prefix tells where to look. */
  exchanged_token: 'gate_ex_',
  refresh_token: 'gate_rt_',
  authorization_code: 'gate_ac_',
  client_secret: 'gate_cs_',
  session: 'gate_si_',
  pushed_request: 'gate_pr_',
} as const;

export type CredentialKind = keyof typeof PREFIXES;

export interface Credential {
  /** UUIDv7: when it was made, and the row's key. */
  readonly id: string;
  /** SHA-256 of the secret: what is stored and compared. */
  readonly hash: Buffer;
  readonly secret: Buffer;
}

const CREDENTIAL_LENGTH = 64;
const CREDENTIAL = /^[A-Za-z0-9_-]{64}$/;

/** Makes a new credential; `value` is what its bearer gets, once. */
export function mintCredential(
  kind: CredentialKind,
  now: Date,
  random: Context['random'],
): Credential & { value: string } {
  const bytes = Buffer.concat([uuidV7Bytes(now, random), random(32)]);
  return { ...fromBytes(bytes), value: PREFIXES[kind] + bytes.toString('base64url') };
}

/** Reads a credential of the given kind; anything else, however alike, is `undefined`. */
export function parseCredential(kind: CredentialKind, value: string | undefined): Credential | undefined {
  const prefix = PREFIXES[kind];
  if (value?.length !== prefix.length + CREDENTIAL_LENGTH || !value.startsWith(prefix)) return undefined;
  const text = value.slice(prefix.length);
  return CREDENTIAL.test(text) ? fromBytes(Buffer.from(text, 'base64url')) : undefined;
}

/** The id of a new row, in the order of time. */
export function mintId(now: Date, random: Context['random']): string {
  return formatUuid(uuidV7Bytes(now, random));
}

/** The smallest id a row made at `at` can have: the bound of partitions and of look-backs. */
export function idFloor(at: Date): string {
  const bytes = Buffer.alloc(16);
  bytes.writeUIntBE(Math.max(0, at.getTime()), 0, 6);
  return formatUuid(bytes);
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Whether a text is a UUID as we write them (lower case). */
export function isUuid(text: string | undefined): text is string {
  return text !== undefined && UUID.test(text);
}

function fromBytes(bytes: Buffer): Credential {
  const secret = bytes.subarray(16);
  return { id: formatUuid(bytes.subarray(0, 16)), secret, hash: sha256(secret) };
}

function uuidV7Bytes(now: Date, random: Context['random']): Buffer {
  const bytes = random(16);
  bytes.writeUIntBE(now.getTime(), 0, 6);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x70, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes;
}

function formatUuid(bytes: Buffer): string {
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export function sha256(data: string | Buffer): Buffer {
  // By way of a text: a buffer straight from OpenSSL is memory of its own, which the collector has to look after.
  return Buffer.from(digest('sha256', data, 'binary'), 'binary');
}

export function hmac(key: Buffer, ...parts: readonly string[]): Buffer {
  const mac = createHmac('sha256', key);
  // Lengths first: without them ('ab','c') and ('a','bc') would share a tag.
  for (const part of parts) mac.update(`${Buffer.byteLength(part)}:`).update(part);
  return mac.digest();
}

/** Equality in constant time; of texts and of unequal lengths over digests, so that not even the length shows. */
export function equals(a: string | Buffer, b: string | Buffer): boolean {
  if (typeof a !== 'string' && typeof b !== 'string' && a.length === b.length) return timingSafeEqual(a, b);
  return timingSafeEqual(sha256(a), sha256(b));
}

/** AES-256-GCM: `nonce (12) ‖ tag (16) ‖ ciphertext`; `context` is authenticated with it. */
export function seal(key: Buffer, plaintext: Buffer, context: string, random: Context['random']): Buffer {
  const nonce = random(12);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(context));
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), ciphertext]);
}

/** The inverse of {@link seal}; `undefined` with the wrong key or context, or when a bit was changed. */
export function unseal(key: Buffer, sealed: Buffer, context: string): Buffer | undefined {
  if (sealed.length < 28) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12));
  decipher.setAAD(Buffer.from(context)).setAuthTag(sealed.subarray(12, 28));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(28)), decipher.final()]);
  } catch {
    return undefined;
  }
}

/** HKDF-SHA-256 (RFC 5869) to a 256-bit key for one purpose. */
export function deriveKey(secret: Buffer, salt: string, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, salt, purpose, 32));
}

/**
 * People's passwords: argon2id with the OWASP minimum (19 MiB, two passes). Two are hashed at once in each process (one where it
 * has one core: two would take turns there, and push each other's memory out of its caches), so that a burst of sign-ins takes
 * neither all memory nor all threads; the rest wait in a bounded queue, and beyond it the answer is "try again" instead of a
 * process that dies.
 */
export class Passwords {
  readonly #parallel: number;
  readonly #queueLimit: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  /** Hashes computed so far: tests compare them for known and unknown users. */
  hashes = 0;

  /** @param options.cores how many this process can count on */
  constructor({ cores = 2, queueLimit = 100 }: { cores?: number; queueLimit?: number } = {}) {
    this.#parallel = Math.max(1, Math.min(2, Math.floor(cores)));
    this.#queueLimit = queueLimit;
  }

  /** @returns a PHC string */
  hash(password: string): Promise<string> {
    return this.#turn(() => argon2.hash(prepare(password), PARAMETERS));
  }

  /**
   * Whether the password is the one behind `phc`. Without `phc` (no such user) the same work is done against a hash
   * nobody's password has, so that time tells nothing.
   * @throws Unavailable when the queue is full; Error when `phc` is no hash of Argon2: nothing here stores such
   */
  async verify(phc: string | undefined, password: string): Promise<boolean> {
    const matches = await this.#turn(() => argon2.verify(phc ?? NOBODY, prepare(password)));
    return phc !== undefined && matches;
  }

  /** True when `phc` was made with other parameters than today's: hash again at the next sign-in. */
  isOutdated(phc: string): boolean {
    const made = argon2.parseOptions(phc);
    return (Object.keys(PARAMETERS) as (keyof typeof PARAMETERS)[]).some((name) => made[name] !== PARAMETERS[name]);
  }

  get queued(): number {
    return this.#waiting.length;
  }

  /**
   * For whoever counts attempts: to be asked before.
   * @throws Unavailable when the queue is full
   */
  assertRoom(): void {
    if (this.#running >= this.#parallel && this.#waiting.length >= this.#queueLimit)
      throw new Unavailable('The password queue is full.', { retryAfter: 5 });
  }

  async #turn<T>(work: () => Promise<T>): Promise<T> {
    this.assertRoom();
    if (this.#running >= this.#parallel) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#running += 1;
    }
    this.hashes += 1;
    try {
      return await work();
    } finally {
      // The turn is handed over, not given back: nobody can slip in between.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running -= 1;
    }
  }
}

/** `argon2.Algorithm.Argon2id` and `argon2.Version.V0x13`: types only, which TypeScript does not let us name here. */
const [ARGON2ID, V0x13] = [2, 1] as const;
const PARAMETERS = { algorithm: ARGON2ID, version: V0x13, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;

/** A hash with today's parameters whose password was thrown away. */
const NOBODY = '$argon2id$v=19$m=19456,p=1,t=2$XRHcEBcYCZaU6HAzF9DdFg$Iy9NdSSasqrekJZgD2bJQRx58yIatwg9ampfFjk0N84';

/** The longest password taken, in bytes: more is work for an attacker's sake. */
export const PASSWORD_MAX_BYTES = 1024;

/** NFKC, as SP 800-63B recommends: the same password typed on two keyboards is the same bytes. */
function prepare(password: string): string {
  return password.normalize('NFKC');
}
