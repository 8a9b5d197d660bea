/**
 * Which of the people signed in with a browser a request is about: OpenID Connect Core §3.1.2.1, §3.1.2.3. Several may be;
 * then somebody has to choose, and the choice is recorded for the pending authorization.
 */
import type { AuthorizationRequest } from './authorization-request.ts';
import { nameKey, type User } from './claims.ts';
import type { PendingAuthorization } from './interaction.ts';
import type { Session, SignIn } from './session.ts';

/** Those who may answer: whom the request names, else everybody. */
export function eligible(request: AuthorizationRequest, session: Session | undefined): readonly SignIn[] {
  return (session?.signIns ?? []).filter(({ user }) => request.concerns(user));
}

/** Of those, the one its `login_hint` means; where it means none of them, all. */
export function candidates(request: AuthorizationRequest, session: Session | undefined): readonly SignIn[] {
  const named = eligible(request, session);
  const { loginHint } = request;
  const hinted = loginHint === undefined ? [] : named.filter(({ user }) => isCalled(user, loginHint));
  return hinted.length === 1 ? hinted : named;
}

function isCalled({ username, claims }: User, name: string): boolean {
  const key = nameKey(name);
  return nameKey(username) === key || (claims.email !== undefined && nameKey(claims.email) === key);
}

/** Who signed in for this request or was chosen for it; `undefined` when that is nobody (any more). */
export function recordedSignIn(
  session: Session | undefined,
  pending: PendingAuthorization | undefined,
): SignIn | undefined {
  return session?.signIns.find(({ id }) => id === pending?.signIn?.id);
}

/** Whether the request wants a later sign-in than this person's (§3.1.2.1, `max_age`). */
export function isTooOld({ authentication }: SignIn, { maxAge }: AuthorizationRequest, now: Date): boolean {
  return maxAge !== undefined && now.getTime() - authentication.time.getTime() > maxAge * 1000;
}

/** Who is signed in, and has to prove it once more for this request; `undefined` where it may be anybody. */
export function askedAgain(
  request: AuthorizationRequest,
  session: Session | undefined,
  pending: PendingAuthorization,
  now: Date,
): SignIn | undefined {
  const signIn = signInFor(request, session, pending);
  if (!signIn || (signIn.id === pending.signIn?.id && pending.signIn.fresh)) return undefined;
  return request.prompt.has('login') || isTooOld(signIn, request, now) ? signIn : undefined;
}

/** The one it goes on with; `undefined` when there is nobody, or somebody has to choose first. */
export function signInFor(
  request: AuthorizationRequest,
  session: Session | undefined,
  pending: PendingAuthorization | undefined,
): SignIn | undefined {
  const recorded = recordedSignIn(session, pending);
  if (recorded) return recorded;
  const [only, ...others] = candidates(request, session);
  return others.length === 0 ? only : undefined;
}
