/**
 * What is encrypted to us, and the door to jose for it (RFC 7516, 7518 §4, §5, 8725).
 *
 * Whoever can read the JWKS can encrypt to us, so nothing is learnt about who did, and the header decides nothing. In this
 * order: size, form, an algorithm and a content encryption that are on the lists (before any key is looked for), no header
 * member that brings a key, changes the rules or unpacks something, the type, then our key by its id, then decryption. From
 * there on there is one refusal for all that can go wrong: a second one would be an oracle.
 */
import { createPrivateKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { compactDecrypt, type JWK } from 'jose';
import { type PublicJwk, thumbprintOf } from './jose.ts';
import { checkHeader, JwtRefused, parsePart } from './jose-client.ts';

/**
 * Key management that clients may use to encrypt to us (RFC 7518 §4). No RSA1_5 (RFC 8725 §3.2); nothing with a shared secret
 * or a password, so nobody sends an iteration count. A key has one of them, hence no second form of ECDH-ES.
 */
export const decryptionAlgs = ['RSA-OAEP-256', 'ECDH-ES'] as const;
export type DecryptionAlg = (typeof decryptionAlgs)[number];

export interface DecryptionKey {
  readonly kid: string;
  readonly alg: DecryptionAlg;
  readonly privateKey: KeyObject;
}

/** Our key for an algorithm: the one of that id, or the published one where the sender named none. */
export type FindDecryptionKey = (alg: string, kid: string | undefined) => DecryptionKey | undefined;

const generate = promisify(generateKeyPair);

const NEW_KEY_PAIR: Record<DecryptionAlg, () => Promise<{ publicKey: KeyObject; privateKey: KeyObject }>> = {
  'RSA-OAEP-256': () => generate('rsa', { modulusLength: 2048 }),
  'ECDH-ES': () => generate('ec', { namedCurve: 'P-256' }),
};

/** Makes a key that others encrypt to; its `kid` is the RFC 7638 thumbprint. */
export async function generateDecryptionKey(alg: DecryptionAlg): Promise<{ publicJwk: PublicJwk; pkcs8: Buffer }> {
  const { publicKey, privateKey } = await NEW_KEY_PAIR[alg]();
  const jwk = publicKey.export({ format: 'jwk' }) as JWK;
  const kid = thumbprintOf(jwk);
  return {
    publicJwk: { ...jwk, kid, alg, use: 'enc' },
    pkcs8: privateKey.export({ format: 'der', type: 'pkcs8' }),
  };
}

/** A key that others encrypt to, from its stored parts. */
export function restoreDecryptionKey(kid: string, alg: DecryptionAlg, pkcs8: Buffer): DecryptionKey {
  return { kid, alg, privateKey: createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }) };
}

export function isDecryptionAlg(value: unknown): value is DecryptionAlg {
  return decryptionAlgs.some((alg) => alg === value);
}

export interface JweRules {
  /** Of {@link decryptionAlgs}. */
  readonly algs: readonly string[];
  readonly encs: readonly string[];
  /** Of the JWE and of what is in it, in lower case; both may be absent. */
  readonly typs: readonly string[];
  /** Characters. */
  readonly longest: number;
}

/** Whether a text has the five parts of a compact JWE (RFC 7516 §3.1), not that it is one. */
export function looksEncrypted(text: string): boolean {
  return /^[^.]*(?:\.[^.]*){4}$/.test(text);
}

/** The encrypted key is empty where a key is agreed on. */
const COMPACT = /^[\w-]+\.[\w-]*\.[\w-]+\.[\w-]+\.[\w-]+$/;

/**
 * Decrypts a compact JWE.
 * @returns its plaintext, of which nothing has been checked; nothing is known of who wrote it
 * @throws JwtRefused
 */
export async function decryptJwe(jwe: string, rules: JweRules, findKey: FindDecryptionKey): Promise<string> {
  if (jwe.length > rules.longest) throw new JwtRefused('it is too long');
  const parts = jwe.split('.');
  // Of several ways to write the same bytes one is taken: a JWE that was changed is not the JWE that was sent.
  const strict =
    COMPACT.test(jwe) && parts.every((part) => Buffer.from(part, 'base64url').toString('base64url') === part);
  if (!strict) throw new JwtRefused('it is not an encrypted JWT');
  const header = parsePart(parts[0] ?? '');
  const { alg, enc, kid } = header;
  const algs = rules.algs.filter((name) => name === alg);
  const encs = rules.encs.filter((name) => name === enc);
  if (typeof alg !== 'string' || algs.length === 0)
    throw new JwtRefused('it is encrypted with an alg that is not accepted');
  if (encs.length === 0) throw new JwtRefused('it is encrypted with an enc that is not accepted');
  checkHeader(header, rules);
  // RFC 8725 §3.6: a few bytes would become as many as their maker likes.
  if (Object.hasOwn(header, 'zip')) throw new JwtRefused('it is compressed, which is not accepted');
  // RFC 7519 §5.2.
  checkHeader({ typ: header.cty }, rules);
  if (kid !== undefined && typeof kid !== 'string') throw new JwtRefused('its kid is not a string');
  const key = findKey(alg, kid);
  try {
    if (key?.alg !== alg) throw new Error(`there is no key ${kid ?? ''} for ${alg}`);
    const { plaintext } = await compactDecrypt(jwe, key.privateKey, {
      keyManagementAlgorithms: algs,
      contentEncryptionAlgorithms: encs,
    });
    return Buffer.from(plaintext).toString();
  } catch (cause) {
    throw new JwtRefused('it cannot be decrypted: it was changed, or is not encrypted to a key of this server', {
      cause,
    });
  }
}
