/**
 * Session management: OpenID Connect Session Management 1.0. A client's page asks ours, in a frame, whether the people signed
 * in with this browser are still the same; nobody asks the server.
 *
 *   browser state = HMAC(key, ids of the browser's sign-ins), in the cookie `state`
 *   session_state = hex(SHA-256(client_id ‖ ' ' ‖ origin ‖ ' ' ‖ browser state ‖ ' ' ‖ salt)) ‖ '.' ‖ salt
 *
 * The browser state says nothing about anybody, and nothing can be done with it: that is why a script may read it. The page
 * that does is the only one here that may be framed, so all of this can be switched off.
 */
import { createHash } from 'node:crypto';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import type { ApprovedRequest, Feature } from '../../protocol/feature.ts';
import type { CookieChange } from '../../protocol/message.ts';
import { CHECK_SESSION_SCRIPT } from '../../protocol/page.ts';
import { hmac } from '../../protocol/secrets.ts';
import type { Session } from '../../protocol/session.ts';

export function sessionManagement({ on }: { on: boolean }): Feature {
  const name = 'session-management';
  if (!on) return { name };
  return {
    name,
    responseParameters: [{ name: 'session_state', value: sessionState }],
    endpoints: [
      {
        caller: 'browser',
        path: '/session/check',
        metadata: 'check_session_iframe',
        get: async () => ({ kind: 'page', page: { view: 'check-session', script: CHECK_SESSION_SCRIPT } }),
      },
    ],
  };
}

/** §2, §3: for OpenID requests, of clients whose answers arrive at a web page: no other could ask. */
function sessionState(
  { request, address, session, now }: ApprovedRequest,
  server: AuthorizationServer,
): { value: string; cookies: CookieChange[] } | undefined {
  const { origin } = new URL(address.redirectUri);
  if (!request.scope.includes('openid') || origin === 'null') return undefined;
  const state = browserState(session, server);
  const salt = server.context.random(12).toString('base64url');
  const digest = createHash('sha256').update(`${request.client.id} ${origin} ${state} ${salt}`).digest('hex');
  return {
    value: `${digest}.${salt}`,
    cookies: [{ name: 'state', value: state, maxAge: secondsLeft(session, now, server) }],
  };
}

function browserState({ signIns }: Session, { sharedKeys }: AuthorizationServer): string {
  const ids = signIns.map(({ id }) => id).sort();
  return hmac(sharedKeys.sessions, 'browser state', ...ids).toString('base64url');
}

/**
 * Until the first sign-in is over, or the session for want of use: then the state is another one, and without the cookie
 * clients see that it is. Too early is no harm: they ask by `prompt=none`, and the answer brings it back.
 */
function secondsLeft({ signIns }: Session, now: Date, { profile }: AuthorizationServer): number {
  const { signIn, sessionIdle } = profile.lifetimes;
  const ends = signIns.map(({ authentication }) => authentication.time.getTime() / 1000 + signIn);
  return Math.max(1, Math.floor(Math.min(sessionIdle, ...ends.map((end) => end - now.getTime() / 1000))));
}
