/**
 * Signing out. A request from anywhere shows a page that asks; only its own form ends the session (logout CSRF). With
 * the session end all sign-ins in this browser, and every grant that was bound to one.
 */
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import { displayName } from '../../protocol/claims.ts';
import type { Feature } from '../../protocol/feature.ts';
import { browserOf, formToken, initialOf } from '../../protocol/interaction.ts';
import type { BrowserRequest, BrowserResponse } from '../../protocol/message.ts';
import { equals, parseCredential } from '../../protocol/secrets.ts';
import { sessionOf } from '../../protocol/session.ts';

const PATH = '/logout';

export function logout(): Feature {
  return {
    name: 'logout',
    // Clients send the browser here by form too (RP-Initiated Logout §2), so a foreign form is not an error: it is asked.
    endpoints: [{ caller: 'browser', path: PATH, get: ask, post: decide, crossOrigin: true }],
  };
}

async function ask(request: BrowserRequest, server: AuthorizationServer): Promise<BrowserResponse> {
  const session = await sessionOf(request, server.sessions);
  if (!session || session.signIns.length === 0) return signedOut();
  const browser = browserOf(request, server);
  return {
    kind: 'page',
    cookies: browser.cookies,
    page: {
      view: 'logout',
      action: PATH,
      csrf: formToken(browser, server, PATH, session.id),
      fields: [],
      people: session.signIns.map(({ user }) => ({
        name: displayName(user),
        username: user.username,
        initial: initialOf(displayName(user)),
      })),
      stayUrl: '/account',
    },
  };
}

async function decide(request: BrowserRequest, server: AuthorizationServer): Promise<BrowserResponse> {
  const session = await sessionOf(request, server.sessions);
  const credential = parseCredential('session', request.cookie('session'));
  // A form of another site comes without our SameSite cookies: nothing is known and nothing forgotten here, the GET asks.
  if (!session || !credential) return { kind: 'redirect', location: PATH };
  const expected = formToken(browserOf(request, server), server, PATH, session.id);
  if (!equals(request.parameters.get('csrf') ?? '', expected)) return ask(request, server);
  await server.sessions.end(credential, request.now);
  request.trace.event = 'signed_out';
  request.trace.userId = session.signIns[0]?.user.id ?? '';
  return signedOut();
}

function signedOut(): BrowserResponse {
  return {
    kind: 'page',
    page: { view: 'signed-out', signInUrl: '/login' },
    cookies: [{ name: 'session', value: null }],
  };
}
