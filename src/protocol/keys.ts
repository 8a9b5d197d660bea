/**
 * Our keys, as the rest of the kernel uses them: those we sign with, and those that others encrypt to us with. Who makes,
 * keeps and rotates them, and what each may do in which state, is features/key-rotation.
 */
import type { PublicJwk, SigningAlg, SigningKey, VerifyingKey } from './jose.ts';
import type { FindDecryptionKey } from './jose-decryption.ts';

export type FindKey = (kid: string) => VerifyingKey | undefined;

export interface Keyring {
  /**
   * The key that signs with `alg` now.
   * @throws Error when there is none: a profile announces only algorithms it has keys for
   */
  signing(alg: SigningAlg): Promise<SigningKey>;
  /** A published signing key by its id: next, active or retired. */
  verifying(): Promise<FindKey>;
  /**
   * The same and archived ones: for what only has to have been ours once. Never for what gives access: an archived key
   * signs no more, so whatever it signed that is not over yet was signed by somebody else.
   */
  remembered(): Promise<FindKey>;
  /** Keys that open what was encrypted to us: the published ones, and those that senders may still have kept. */
  decrypting(): Promise<FindDecryptionKey>;
  /** All published keys, public parts only (RFC 7517 §5). */
  published(): Promise<readonly PublicJwk[]>;
}
