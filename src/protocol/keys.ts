/**
 * Our signing keys, as the rest of the kernel uses them. Who makes, keeps and rotates them is features/key-rotation.
 *
 * State: next (published, not signing) → active (signing) → retired (published, not signing) → archived (known) → removed.
 */
import type { PublicJwk, SigningAlg, SigningKey, VerifyingKey } from './jose.ts';

export type FindKey = (kid: string) => VerifyingKey | undefined;

export interface Keyring {
  /**
   * The key that signs with `alg` now.
   * @throws Error when there is none: a profile announces only algorithms it has keys for
   */
  signing(alg: SigningAlg): Promise<SigningKey>;
  /** A published key by its id: next, active or retired. */
  verifying(): Promise<FindKey>;
  /**
   * The same and archived ones: for what only has to have been ours once. Never for what gives access: an archived key
   * signs no more, so whatever it signed that is not over yet was signed by somebody else.
   */
  remembered(): Promise<FindKey>;
  /** All published keys, public parts only (RFC 7517 §5). */
  published(): Promise<readonly PublicJwk[]>;
}
