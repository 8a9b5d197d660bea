/**
 * Sessions: a session is a browser, holding one or more sign-ins, each a person who proved who they are
 * (OpenID Connect Core §3.1.2.3). The cookie names the session; tokens that shall end with it name the sign-in, whose
 * id stays when the session is renewed at the next login.
 */
import type { Authentication } from './authorization.ts';
import type { User } from './claims.ts';
import type { PendingAuthorization } from './interaction.ts';
import type { BrowserRequest } from './message.ts';
import { type Credential, parseCredential } from './secrets.ts';

/** What a password alone proves: our only `acr` so far, and its `amr` (RFC 8176). */
export const PASSWORD_AUTHENTICATION = { acr: 'urn:gatehouse:acr:password', amr: ['pwd'] } as const;

export interface SignIn {
  readonly id: string;
  readonly user: User;
  readonly authentication: Authentication;
  /** What this person has allowed the client the session was asked for, and not taken back. */
  readonly consentedScope: readonly string[];
}

export interface Session {
  readonly id: string;
  /** Those that still stand, the latest first. */
  readonly signIns: readonly SignIn[];
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
  /** Ends a session and all its sign-ins. One statement. */
  end(credential: Credential, now: Date): Promise<void>;
}

/** The sign-in a request goes on with: the one made for it, else the latest of the browser. */
export function chosenSignIn(
  session: Session | undefined,
  pending: PendingAuthorization | undefined,
): SignIn | undefined {
  return session?.signIns.find(({ id }) => id === pending?.signedIn?.signInId) ?? session?.signIns[0];
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
