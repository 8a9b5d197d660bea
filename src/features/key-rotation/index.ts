/**
 * Signing keys: made at the first start, encrypted at rest, rotated by themselves. RFC 7517, OpenID Connect Core §10.1.1.
 *
 *   next ──90 days old is the active one, and published for a day──▶ active ──▶ retired ──a day──▶ archived ──a year──▶ gone
 *
 * JWKS shows the first three: the next one before it signs, so that no verifier meets a key it has not seen, and the retired
 * one while anything it signed can live. Of an archived one only the public part is left: it tells that an ID token that is
 * over was ours (`id_token_hint`, Core §3.1.2.1), and nothing that gives access is taken under it. Every change is made under one lock, so among nodes starting together one
 * makes the keys and the others find them.
 */
import type { Feature } from '../../protocol/feature.ts';
import { HINT_LIFETIME } from '../../protocol/id-token.ts';
import {
  generateSigningKey,
  type PublicJwk,
  restoreSigningKey,
  type SigningAlg,
  type SigningKey,
  type VerifyingKey,
  verifyingKey,
} from '../../protocol/jose.ts';
import type { KeyEncryption, Sealed } from '../../protocol/key-encryption.ts';
import type { Keyring } from '../../protocol/keys.ts';

export interface StoredKey {
  readonly kid: string;
  readonly alg: SigningAlg;
  readonly publicJwk: PublicJwk;
  /** Gone from an archived key. */
  readonly privateKey: Sealed | undefined;
  readonly createdAt: Date;
  readonly activatedAt: Date | undefined;
  readonly retiredAt: Date | undefined;
  readonly archivedAt: Date | undefined;
}

export type NewKey = Pick<StoredKey, 'kid' | 'alg' | 'publicJwk' | 'createdAt'> & { readonly privateKey: Sealed };

export interface SigningKeys {
  list(): Promise<StoredKey[]>;
  /** Runs `change` alone: under a lock over all nodes, in one transaction, and tells all processes if it changed anything. */
  alone(change: (keys: LockedSigningKeys) => Promise<boolean>): Promise<void>;
}

export interface LockedSigningKeys {
  list(): Promise<StoredKey[]>;
  publish(key: NewKey): Promise<void>;
  activate(kid: string, now: Date): Promise<void>;
  retire(kid: string, now: Date): Promise<void>;
  /** Keeps the public part and forgets the private one. */
  archive(kid: string, now: Date): Promise<void>;
  remove(kid: string): Promise<void>;
}

const DAY = 86_400_000;
const ACTIVE_FOR = 90 * DAY;
/** More than the longest-kept JWKS (minutes) and the longest-lived token (an hour). */
const OVERLAP = DAY;
/** As long as an ID token may serve as a hint (protocol/id-token.ts). */
const ARCHIVED_FOR = HINT_LIFETIME * 1000;

type State = 'next' | 'active' | 'retired' | 'archived';

export function stateOf(key: StoredKey): State {
  if (key.archivedAt) return 'archived';
  if (key.retiredAt) return 'retired';
  return key.activatedAt ? 'active' : 'next';
}

export type Move =
  | { readonly kind: 'publish' }
  | { readonly kind: 'activate' | 'retire' | 'archive' | 'remove'; readonly kid: string };

/**
 * What has to happen to the keys of one algorithm now, in order. Pure.
 * @param force rotate at once, whatever the ages (`gatehouse keys rotate`)
 */
export function dueMoves(keys: readonly StoredKey[], now: Date, force = false): Move[] {
  const age = (since: Date | undefined) => (since ? now.getTime() - since.getTime() : 0);
  const active = keys.find((key) => stateOf(key) === 'active');
  const next = keys.find((key) => stateOf(key) === 'next');
  const moves: Move[] = keys.flatMap((key) => {
    const { kid } = key;
    if (stateOf(key) === 'retired' && age(key.retiredAt) >= OVERLAP) return { kind: 'archive', kid };
    return stateOf(key) === 'archived' && age(key.archivedAt) >= ARCHIVED_FOR ? { kind: 'remove', kid } : [];
  });
  const due =
    !active || force || (age(active.activatedAt) >= ACTIVE_FOR && next !== undefined && age(next.createdAt) >= OVERLAP);
  if (!due) return next ? moves : [...moves, { kind: 'publish' }];
  if (active) moves.push({ kind: 'retire', kid: active.kid });
  // Without a next one (first start) the published one is activated in the round that follows.
  if (next) moves.push({ kind: 'activate', kid: next.kid });
  return [...moves, { kind: 'publish' }];
}

/** Applies due moves to all algorithms until there are none. */
export async function rotateKeys(
  store: SigningKeys,
  algs: readonly SigningAlg[],
  encryption: KeyEncryption,
  now: Date,
  force = false,
): Promise<void> {
  // Most runs have nothing to do: look before locking.
  const before = await store.list();
  if (!force && algs.every((alg) => dueMoves(ofAlg(before, alg), now).length === 0)) return;
  await store.alone((keys) => settle(keys, algs, encryption, now, force));
}

/**
 * Drops every key, archived ones too, and begins anew: for keys that somebody else may hold. Whatever they signed is nobody's from then on, at
 * us at once, at an API when its copy of the JWKS is over.
 */
export async function replaceKeys(
  store: SigningKeys,
  algs: readonly SigningAlg[],
  encryption: KeyEncryption,
  now: Date,
): Promise<void> {
  await store.alone(async (keys) => {
    for (const { kid } of await keys.list()) await keys.remove(kid);
    return settle(keys, algs, encryption, now, false);
  });
}

/** @returns whether anything was changed */
async function settle(
  keys: LockedSigningKeys,
  algs: readonly SigningAlg[],
  encryption: KeyEncryption,
  now: Date,
  force: boolean,
): Promise<boolean> {
  let changed = false;
  let forced = force;
  for (;;) {
    const stored = await keys.list();
    const moves = algs.flatMap((alg) => dueMoves(ofAlg(stored, alg), now, forced).map((move) => ({ alg, move })));
    if (moves.length === 0) return changed;
    const made = await Promise.all(
      moves.map(({ alg, move }) => (move.kind === 'publish' ? generateSigningKey(alg) : undefined)),
    );
    for (const [index, { move }] of moves.entries()) {
      const key = made[index];
      if (move.kind === 'activate') await keys.activate(move.kid, now);
      else if (move.kind === 'retire') await keys.retire(move.kid, now);
      else if (move.kind === 'archive') await keys.archive(move.kid, now);
      else if (move.kind === 'remove') await keys.remove(move.kid);
      else if (key) {
        await keys.publish({
          kid: key.kid,
          alg: key.alg,
          publicJwk: key.publicJwk,
          privateKey: encryption.seal(key.pkcs8, `signing key ${key.kid}`),
          createdAt: now,
        });
      }
    }
    changed = true;
    forced = false;
  }
}

function ofAlg(keys: readonly StoredKey[], alg: SigningAlg): StoredKey[] {
  return keys.filter((key) => key.alg === alg);
}

/**
 * The keyring over a way to get the stored keys (cached, forgotten when they change).
 * @throws Error when a private key cannot be opened
 */
export function buildKeyring(stored: readonly StoredKey[], encryption: KeyEncryption) {
  const signing = new Map<SigningAlg, SigningKey>();
  for (const key of stored) {
    if (stateOf(key) === 'active' && key.privateKey) {
      signing.set(key.alg, restoreSigningKey(key.publicJwk, encryption.open(key.privateKey, `signing key ${key.kid}`)));
    }
  }
  const published = stored.filter((key) => stateOf(key) !== 'archived');
  return {
    signing,
    verifying: byId(published),
    remembered: byId(stored),
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
    published: async () => (await load()).published,
  };
}

export function keyRotation(options: {
  keys: SigningKeys;
  algs: readonly SigningAlg[];
  encryption: KeyEncryption;
}): Feature {
  return {
    name: 'key-rotation',
    jobs: [
      {
        name: 'rotate signing keys',
        every: 3600,
        atStart: true,
        run: (now) => rotateKeys(options.keys, options.algs, options.encryption, now),
      },
    ],
  };
}
