/**
 * Our keys: made at the first start, encrypted at rest, rotated by themselves. RFC 7517, OpenID Connect Core §10.1.1, §10.2.1.
 *
 * What we sign with:
 *   next ──90 days old is the active one, and made a day ago──▶ active ──▶ retired ──a day──▶ archived ──a year──▶ gone
 *   └────────────────────────── published ──────────────────────────────────────┘
 * JWKS shows the next one before it signs, so that no verifier meets a key it has not seen, and the retired one while anything
 * it signed can live. Of an archived one only the public part is left: it tells that an ID token that is over was ours
 * (`id_token_hint`, Core §3.1.2.1), and nothing that gives access is taken under it.
 *
 * What is encrypted to us with:
 *   next ──likewise──▶ active ──▶ retired ──a day──▶ gone
 *   └─────────────────── opens ─────────────────┘
 * The other way round: JWKS shows the active one alone, so that nobody has to choose. Every node holds the next one before a
 * client can see it; the retired one, which nobody finds any more, opens what is encrypted to it out of an older copy of the
 * JWKS. Then it is forgotten whole, and so is, for whoever recorded them, what was sent to it.
 *
 * Every change is made under one lock, so among nodes starting together one makes the keys and the others find them.
 */
import type { Feature } from '../../protocol/feature.ts';
import { HINT_LIFETIME } from '../../protocol/id-token.ts';
import { generateSigningKey, type PublicJwk, type SigningAlg } from '../../protocol/jose.ts';
import { type DecryptionAlg, generateDecryptionKey, isDecryptionAlg } from '../../protocol/jose-decryption.ts';
import type { KeyEncryption, Sealed } from '../../protocol/key-encryption.ts';
import type { Profile } from '../../protocol/profile.ts';

/** A key has one algorithm, and that has one use: signing, or being encrypted to. */
export type KeyAlg = SigningAlg | DecryptionAlg;

/** The algorithms that a profile needs keys for. */
export function keyAlgs({ signingAlgs, decryptionAlgs }: Pick<Profile, 'signingAlgs' | 'decryptionAlgs'>): KeyAlg[] {
  return [...signingAlgs, ...decryptionAlgs];
}

export interface StoredKey {
  readonly kid: string;
  readonly alg: KeyAlg;
  readonly publicJwk: PublicJwk;
  /** Gone from an archived key. */
  readonly privateKey: Sealed | undefined;
  readonly createdAt: Date;
  readonly activatedAt: Date | undefined;
  readonly retiredAt: Date | undefined;
  readonly archivedAt: Date | undefined;
}

export type NewKey = Pick<StoredKey, 'kid' | 'alg' | 'publicJwk' | 'createdAt'> & { readonly privateKey: Sealed };

export interface Keys {
  list(): Promise<StoredKey[]>;
  /** Runs `change` alone: under a lock over all nodes, in one transaction, and tells all processes if it changed anything. */
  alone(change: (keys: LockedKeys) => Promise<boolean>): Promise<void>;
}

export interface LockedKeys {
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

/** Whether JWKS shows a key; why those of the two uses differ is told above. */
export function isPublished(key: StoredKey): boolean {
  return isDecryptionAlg(key.alg) ? stateOf(key) === 'active' : stateOf(key) !== 'archived';
}

interface KeptMove {
  readonly kind: 'activate' | 'retire' | 'archive' | 'remove';
  readonly kid: string;
}

export type Move = { readonly kind: 'publish' } | KeptMove;

const age = (since: Date | undefined, now: Date) => (since ? now.getTime() - since.getTime() : 0);

/** What their age alone demands of retired and archived keys. */
function agedMoves(keys: readonly StoredKey[], now: Date): KeptMove[] {
  return keys.flatMap((key): KeptMove[] => {
    const { kid, alg } = key;
    if (stateOf(key) === 'retired' && age(key.retiredAt, now) >= OVERLAP)
      return [{ kind: isDecryptionAlg(alg) ? 'remove' : 'archive', kid }];
    return stateOf(key) === 'archived' && age(key.archivedAt, now) >= ARCHIVED_FOR ? [{ kind: 'remove', kid }] : [];
  });
}

/**
 * What has to happen to the keys of one algorithm now, in order. Pure.
 * @param force rotate at once, whatever the ages (`gatehouse keys rotate`)
 */
export function dueMoves(keys: readonly StoredKey[], now: Date, force = false): Move[] {
  const active = keys.find((key) => stateOf(key) === 'active');
  const next = keys.find((key) => stateOf(key) === 'next');
  const moves: Move[] = agedMoves(keys, now);
  const due =
    !active ||
    force ||
    (age(active.activatedAt, now) >= ACTIVE_FOR && next !== undefined && age(next.createdAt, now) >= OVERLAP);
  if (!due) return next ? moves : [...moves, { kind: 'publish' }];
  if (active) moves.push({ kind: 'retire', kid: active.kid });
  // Without a next one (first start) the published one is activated in the round that follows.
  if (next) moves.push({ kind: 'activate', kid: next.kid });
  return [...moves, { kind: 'publish' }];
}

/** Applies due moves to all algorithms until there are none. */
export async function rotateKeys(
  store: Keys,
  algs: readonly KeyAlg[],
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
 * Lets go of keys whose algorithm the profile has no more: the server was put under a stricter one. They are announced for as long as
 * what they signed can live, like every key that is retired, and then go its way.
 */
export async function retireOtherKeys(store: Keys, algs: readonly KeyAlg[], now: Date): Promise<void> {
  const due = (stored: readonly StoredKey[]) => {
    const others = stored.filter(({ alg }) => !algs.includes(alg));
    return [...new Set(others.map(({ alg }) => alg))].flatMap((alg) => lastMoves(ofAlg(others, alg), now));
  };
  if (due(await store.list()).length === 0) return;
  await store.alone(async (keys) => {
    const moves = due(await keys.list());
    for (const move of moves) await apply(keys, move, now);
    return moves.length > 0;
  });
}

/** What has to happen to the keys of an algorithm that is not used any more. */
function lastMoves(keys: readonly StoredKey[], now: Date): KeptMove[] {
  return [
    ...agedMoves(keys, now),
    ...keys.flatMap((key): KeptMove[] => {
      if (stateOf(key) === 'next') return [{ kind: 'remove', kid: key.kid }];
      return stateOf(key) === 'active' ? [{ kind: 'retire', kid: key.kid }] : [];
    }),
  ];
}

/**
 * Drops every key, archived ones too, and begins anew: for keys that somebody else may hold. Whatever they signed is nobody's from then on, at
 * us at once, at an API when its copy of the JWKS is over.
 */
export async function replaceKeys(
  store: Keys,
  algs: readonly KeyAlg[],
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
  keys: LockedKeys,
  algs: readonly KeyAlg[],
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
      moves.map(({ alg, move }) => (move.kind === 'publish' ? generateKey(alg) : undefined)),
    );
    for (const [index, { alg, move }] of moves.entries()) {
      const key = made[index];
      if (move.kind !== 'publish') await apply(keys, move, now);
      else if (key) {
        const { publicJwk, pkcs8 } = key;
        const { kid } = publicJwk;
        const privateKey = encryption.seal(pkcs8, purposeOf(alg, kid));
        await keys.publish({ kid, alg, publicJwk, privateKey, createdAt: now });
      }
    }
    changed = true;
    forced = false;
  }
}

function apply(keys: LockedKeys, { kind, kid }: KeptMove, now: Date): Promise<void> {
  return kind === 'remove' ? keys.remove(kid) : keys[kind](kid, now);
}

function generateKey(alg: KeyAlg): Promise<{ publicJwk: PublicJwk; pkcs8: Buffer }> {
  return isDecryptionAlg(alg) ? generateDecryptionKey(alg) : generateSigningKey(alg);
}

/** What a private part is sealed as: bound to its use, so that no change in the table makes a key serve another. */
export function purposeOf(alg: KeyAlg, kid: string): string {
  return `${isDecryptionAlg(alg) ? 'decryption' : 'signing'} key ${kid}`;
}

function ofAlg(keys: readonly StoredKey[], alg: KeyAlg): StoredKey[] {
  return keys.filter((key) => key.alg === alg);
}

export function keyRotation(options: { keys: Keys; algs: readonly KeyAlg[]; encryption: KeyEncryption }): Feature {
  return {
    name: 'key-rotation',
    jobs: [
      {
        name: 'rotate keys',
        every: 3600,
        atStart: true,
        async run(now) {
          await rotateKeys(options.keys, options.algs, options.encryption, now);
          // Not for `gatehouse keys rotate`, whose environment may lack the server's profile.
          await retireOtherKeys(options.keys, options.algs, now);
        },
      },
    ],
  };
}
