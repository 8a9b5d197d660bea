/**
 * The authorization server as the kernel sees it: its name, its rules, its registries and the stores that several rooms
 * share. Put together once by src/server.ts and handed to every endpoint.
 */
import type { Catalogue } from './catalogue.ts';
import type { RemoteKeys } from './client-keys.ts';
import type { Context } from './context.ts';
import type { Exchanges } from './exchanges.ts';
import type { PendingAuthorizations } from './interaction.ts';
import type { Keyring } from './keys.ts';
import type { Ledger } from './ledger.ts';
import type { Profile } from './profile.ts';
import type { Registries } from './registries.ts';
import type { ReplayMarks } from './replay.ts';
import type { Sessions } from './session.ts';

export interface AuthorizationServer {
  /** Identifies us in every token and answer; compared as a string (RFC 8414 §2). */
  readonly issuer: string;
  readonly profile: Profile;
  readonly context: Context;
  readonly registries: Registries;
  readonly catalogue: Catalogue;
  readonly keyring: Keyring;
  readonly ledger: Ledger;
  readonly exchanges: Exchanges;
  readonly replayMarks: ReplayMarks;
  readonly sessions: Sessions;
  readonly pendingAuthorizations: PendingAuthorizations;
  readonly remoteKeys: RemoteKeys;
  /** Random, made once, the same on all nodes. */
  readonly sharedKeys: {
    /** Keys the tokens of forms. */
    readonly csrf: Buffer;
    /** Goes into the keys that successors of refresh tokens are sealed under. */
    readonly successors: Buffer;
    /** Keys pairwise subjects: another one would make everybody a stranger. */
    readonly pairwise: Buffer;
    /** Keys `sid` and the browser state of session management. */
    readonly sessions: Buffer;
    /** Makes DPoP nonces. */
    readonly nonces: Buffer;
  };
}
