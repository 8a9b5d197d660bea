/**
 * The web app's own sessions. The browser holds a random name in a cookie that scripts cannot read; everything else, the
 * tokens above all, stays here on the server.
 *
 * In memory, for a demo: a real application keeps them in its database.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/** A sign-in that has begun: what its answer must fit. */
export interface SignIn {
  readonly nonce: string;
  readonly codeVerifier: string;
}

export interface Tokens {
  readonly accessToken: string;
  readonly refreshToken: string | undefined;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/** Who has signed in, with what Gatehouse gave for it. */
export interface Account {
  /** Their name at Gatehouse, as every token says it. */
  readonly sub: string;
  readonly name: string;
  readonly email: string | undefined;
  /** Goes back to Gatehouse when they sign out: says who does, and which of their sign-ins. */
  readonly idToken: string;
  tokens: Tokens;
  /** The refresh under way, if any: two requests must not spend the same refresh token. */
  refreshing?: Promise<void> | undefined;
}

export interface Session {
  readonly id: string;
  /** Proves that a form was filled in on our own page. */
  readonly csrfToken: string;
  readonly startedAt: number;
  /** Sign-ins under way, by their `state`: one for each tab. */
  readonly signIns: Map<string, SignIn>;
  readonly account: Account | undefined;
}

const LIFETIME = 8 * 60 * 60 * 1000;
const MAX_SESSIONS = 10_000;
const MAX_SIGN_INS = 5;

export class Sessions {
  readonly #sessions = new Map<string, Session>();

  /** @param account absent for a visitor who is only about to sign in */
  start(account?: Account): Session {
    const random = () => randomBytes(32).toString('base64url');
    const session = { id: random(), csrfToken: random(), startedAt: Date.now(), signIns: new Map(), account };
    this.#sessions.set(session.id, session);
    dropOldest(this.#sessions, MAX_SESSIONS);
    return session;
  }

  find(id: string | undefined): Session | undefined {
    const session = id === undefined ? undefined : this.#sessions.get(id);
    return session !== undefined && session.startedAt + LIFETIME > Date.now() ? session : undefined;
  }

  end(session: Session): void {
    this.#sessions.delete(session.id);
  }
}

/** Remembers a sign-in, and forgets the oldest one of a visitor who begins many. */
export function beginSignIn(session: Session, state: string, signIn: SignIn): void {
  session.signIns.set(state, signIn);
  dropOldest(session.signIns, MAX_SIGN_INS);
}

/** Gives a sign-in back, once: whoever comes with the same `state` again finds nothing. */
export function takeSignIn(session: Session | undefined, state: string | null): SignIn | undefined {
  if (session === undefined || state === null) return undefined;
  const signIn = session.signIns.get(state);
  session.signIns.delete(state);
  return signIn;
}

/** Compares in a time that does not tell how much of it was right. */
export function isCsrfTokenOf(session: Session, given: unknown): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return typeof given === 'string' && timingSafeEqual(digest(given), digest(session.csrfToken));
}

/** A Map keeps the order in which its entries were added. */
function dropOldest(map: Map<string, unknown>, keep: number): void {
  for (const key of map.keys()) {
    if (map.size <= keep) return;
    map.delete(key);
  }
}
