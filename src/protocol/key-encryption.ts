/**
 * Encryption at rest for what must be read back: our private keys and shared keys. Ciphertexts name the key they are under,
 * so key-encryption keys can be rotated: the first of the list writes, all read, and `gatehouse keys reencrypt` moves
 * what is left.
 */
import type { Context } from './context.ts';
import { seal, sha256, unseal } from './secrets.ts';

export interface Sealed {
  readonly ciphertext: Buffer;
  /** Name of the key-encryption key: a digest of it, which tells nothing. */
  readonly keyName: string;
}

export class KeyEncryption {
  readonly #keys: ReadonlyMap<string, Buffer>;
  readonly #writer: string;
  readonly #random: Context['random'];

  /** @param keys 32 bytes each; at least one */
  constructor(keys: readonly Buffer[], random: Context['random']) {
    this.#keys = new Map(keys.map((key) => [sha256(key).toString('hex').slice(0, 16), key]));
    const [writer] = this.#keys.keys();
    if (writer === undefined) throw new Error('There is no key-encryption key.');
    this.#writer = writer;
    this.#random = random;
  }

  /** Name of the key that writes. */
  get writer(): string {
    return this.#writer;
  }

  /** @param purpose what it is, bound to the ciphertext: one cannot be put in another's place */
  seal(plaintext: Buffer, purpose: string): Sealed {
    const key = this.#keys.get(this.#writer) ?? Buffer.alloc(0);
    return { ciphertext: seal(key, plaintext, purpose, this.#random), keyName: this.#writer };
  }

  /** @throws Error, which must stop the start: nothing this server signs could be trusted */
  open({ ciphertext, keyName }: Sealed, purpose: string): Buffer {
    const key = this.#keys.get(keyName);
    const plaintext = key && unseal(key, ciphertext, purpose);
    if (!plaintext) {
      throw new Error(
        `GATEHOUSE_KEY_ENCRYPTION_KEY does not open the stored ${purpose}: it was written under key ${keyName}. Add that key to the list.`,
      );
    }
    return plaintext;
  }
}
