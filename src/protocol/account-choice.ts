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
  const hinted = named.filter((signIn) => isHinted(request, signIn));
  return hinted.length === 1 ? hinted : named;
}

/** Whether a hint means somebody who is not signed in: a person should say which of the two it is. */
export function hintsAtAnother(request: AuthorizationRequest, session: Session | undefined): boolean {
  // An ID token says more than a name.
  if (request.loginHint === undefined || request.namesPerson) return false;
  return !eligible(request, session).some((signIn) => isHinted(request, signIn));
}

/**
 * Where nobody is asked a hint chooses only among those who know this client already: else any client could find out, name by
 * name, who is signed in with a browser.
 */
function isHinted({ loginHint, prompt, client }: AuthorizationRequest, signIn: SignIn): boolean {
  if (loginHint === undefined || !isCalled(signIn.user, loginHint)) return false;
  return !prompt.has('none') || client.skipConsent || signIn.consentedScope.length > 0;
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

/** Seconds that a sign-in made for a request is good for it, however short its `max_age`: the consent page takes a moment. */
const A_MOMENT = 60;

/**
 * Whether the request wants a later sign-in than this person's (§3.1.2.1, `max_age`).
 * @param fresh it was made for this very request
 */
export function isTooOld(
  { authentication }: SignIn,
  { maxAge }: AuthorizationRequest,
  fresh: boolean,
  now: Date,
): boolean {
  if (maxAge === undefined) return false;
  const age = now.getTime() - authentication.time.getTime();
  return age > (fresh ? Math.max(maxAge, A_MOMENT) : maxAge) * 1000;
}

/** Who is signed in, and has to prove it once more for this request; `undefined` where it may be anybody. */
export function askedAgain(
  request: AuthorizationRequest,
  session: Session | undefined,
  pending: PendingAuthorization,
  now: Date,
): SignIn | undefined {
  const signIn = signInFor(request, session, pending);
  if (!signIn) return undefined;
  const fresh = signIn.id === pending.signIn?.id && pending.signIn.fresh;
  return (request.prompt.has('login') && !fresh) || isTooOld(signIn, request, fresh, now) ? signIn : undefined;
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
