/**
 * Our signing keys, as the rest of the kernel uses them. Who makes, keeps and rotates them is features/key-rotation.
 *
 * State: next (published, not signing) → active (signing) → retired (published, not signing) → removed.
 */
import type { PublicJwk, SigningAlg, SigningKey, VerifyingKey } from './jose.ts';

export interface Keyring {
  /**
   * The key that signs with `alg` now.
   * @throws Error when there is none: a profile announces only algorithms it has keys for
   */
  signing(alg: SigningAlg): Promise<SigningKey>;
  /** A published key by its id: next, active or retired. */
  verifying(): Promise<(kid: string) => VerifyingKey | undefined>;
  /** All published keys, public parts only (RFC 7517 §5). */
  published(): Promise<readonly PublicJwk[]>;
}
