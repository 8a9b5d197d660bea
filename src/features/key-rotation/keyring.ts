/** The keys that are stored, opened and sorted by what they may do: once after every change, not for a request. */
import {
  restoreSigningKey,
  type SigningAlg,
  type SigningKey,
  type VerifyingKey,
  verifyingKey,
} from '../../protocol/jose.ts';
import { type DecryptionKey, isDecryptionAlg, restoreDecryptionKey } from '../../protocol/jose-decryption.ts';
import type { KeyEncryption } from '../../protocol/key-encryption.ts';
import type { Keyring } from '../../protocol/keys.ts';
import { isPublished, purposeOf, type StoredKey, stateOf } from './index.ts';

/**
 * The keyring over a way to get the stored keys (cached, forgotten when they change).
 * @throws Error when a private key cannot be opened
 */
export function buildKeyring(stored: readonly StoredKey[], encryption: KeyEncryption) {
  const signing = new Map<SigningAlg, SigningKey>();
  const decrypting = new Map<string, DecryptionKey>();
  /** What a sender means who names no key: of each algorithm it saw one. */
  const decryptingUnnamed = new Map<string, DecryptionKey>();
  for (const key of stored) {
    const { alg, kid, publicJwk, privateKey } = key;
    if (!privateKey) continue;
    const opened = () => encryption.open(privateKey, purposeOf(alg, kid));
    if (isDecryptionAlg(alg)) {
      const restored = restoreDecryptionKey(kid, alg, opened());
      decrypting.set(kid, restored);
      if (isPublished(key)) decryptingUnnamed.set(alg, restored);
    } else if (stateOf(key) === 'active') {
      signing.set(alg, restoreSigningKey(publicJwk, opened()));
    }
  }
  const published = stored.filter(isPublished);
  const verifying = (keys: readonly StoredKey[]) => byId(keys.filter(({ alg }) => !isDecryptionAlg(alg)));
  return {
    signing,
    verifying: verifying(published),
    remembered: verifying(stored),
    decrypting,
    decryptingUnnamed,
    published: published.map(({ publicJwk }) => publicJwk),
  };
}

function byId(keys: readonly StoredKey[]): ReadonlyMap<string, VerifyingKey> {
  return new Map(keys.map((key) => [key.kid, verifyingKey(key.publicJwk)]));
}

export function keyring(load: () => Promise<ReturnType<typeof buildKeyring>>): Keyring {
  return {
    async signing(alg) {
      const key = (await load()).signing.get(alg);
      if (!key) throw new Error(`There is no signing key for ${alg}.`);
      return key;
    },
    async verifying() {
      const { verifying } = await load();
      return (kid) => verifying.get(kid);
    },
    async remembered() {
      const { remembered } = await load();
      return (kid) => remembered.get(kid);
    },
    async decrypting() {
      const { decrypting, decryptingUnnamed } = await load();
      return (alg, kid) => (kid === undefined ? decryptingUnnamed.get(alg) : decrypting.get(kid));
    },
    published: async () => (await load()).published,
  };
}
