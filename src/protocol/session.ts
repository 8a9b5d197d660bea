/**
 * Sessions: a session is a browser, holding one or more sign-ins, each a person who proved who they are
 * (OpenID Connect Core §3.1.2.3). The cookie names the session; tokens that shall end with it name the sign-in, whose
 * id stays when the session is renewed at the next login.
 */
import type { Authentication } from './authorization.ts';
import type { AuthorizationServer } from './authorization-server.ts';
import type { User } from './claims.ts';
import type { BrowserRequest } from './message.ts';
import { type Credential, hmac, parseCredential } from './secrets.ts';

/** What a password alone proves: our only `acr` so far, and its `amr` (RFC 8176). */
export const PASSWORD_AUTHENTICATION = { acr: 'urn:gatehouse:acr:password', amr: ['pwd'] } as const;

export interface SignIn {
  readonly id: string;
  readonly user: User;
  readonly authentication: Authentication;
  /** What this person has allowed the client the session was asked for, and not taken back. */
  readonly consentedScope: readonly string[];
  /** The same for claims that were asked for by name, beyond the scopes. */
  readonly consentedClaims: readonly string[];
}

export interface Session {
  readonly id: string;
  /** Those that still stand, the latest first. */
  readonly signIns: readonly SignIn[];
}

/** A sign-in that is over, with the clients that were told of it by an ID token. */
export interface EndedSignIn {
  readonly id: string;
  readonly userId: string;
  readonly clientIds: readonly string[];
}

/** A sign-in to be recorded. */
export interface NewSignIn {
  /** The session renewed: a fresh credential, so that one planted before login is worth nothing (session fixation). */
  readonly session: Credential;
  /** The session it replaces; its other sign-ins move over. */
  readonly previous: Credential | undefined;
  readonly signInId: string;
  readonly userId: string;
  /** The user's when the password was looked up: one that was changed since signs nobody in. */
  readonly userEpoch: number;
  readonly authentication: Authentication;
  /** The pending authorization this sign-in answers. */
  readonly pendingId: string | undefined;
  readonly expiresAt: Date;
}

export interface Sessions {
  /** The session behind a cookie, with each sign-in's consent for `clientId`. One statement. */
  find(credential: Credential, now: Date, clientId?: string): Promise<Session | undefined>;
  /**
   * Records a sign-in under a renewed session, and for its pending authorization. One statement.
   * @returns `gone` when the user was disabled or got a new password since it was looked up
   */
  signIn(record: NewSignIn, now: Date): Promise<'signed in' | 'gone'>;
  /** Ends a session and all its sign-ins, in one statement; who was told of them is read after it. */
  end(credential: Credential, now: Date): Promise<EndedSignIn[]>;
}

/**
 * `sid`: the name of a sign-in towards one client (Front-Channel Logout 1.0 §3, Back-Channel Logout 1.0 §2.1). It is computed,
 * not stored, and differs from client to client, so that it links nobody's visits.
 */
export function sidOf(signInId: string, clientId: string, { sharedKeys }: AuthorizationServer): string {
  return hmac(sharedKeys.sessions, 'sid', signInId, clientId).toString('base64url');
}

/** The session of the calling browser. */
export async function sessionOf(
  request: BrowserRequest,
  sessions: Sessions,
  clientId?: string,
): Promise<Session | undefined> {
  const credential = parseCredential('session', request.cookie('session'));
  return credential && sessions.find(credential, request.now, clientId);
}
