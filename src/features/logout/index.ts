/**
 * Signing out: OpenID Connect RP-Initiated Logout 1.0.
 *
 *   nobody signed in? ──yes──────────────────────────────────────────────▶ on
 *        └─no─▶ does the hint name the only sign-in? ──yes──▶ end, tell clients ─▶ on
 *                    └─no─▶ ask, saying what is wrong ──our own form──▶ ┘
 *
 * "On" is the client's address, where a valid hint or the person's confirmation vouches for it, else the page "You have
 * been signed out". With the session end all sign-ins in this browser, and every grant that was bound to one.
 *
 * Invariant: a request with anything wrong in it redirects nowhere, confirmed or not.
 */
import { z } from 'zod';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import type { ClientMetadataCheck } from '../../protocol/client.ts';
import { OAuthError } from '../../protocol/errors.ts';
import type { Feature } from '../../protocol/feature.ts';
import { browserOf, formToken } from '../../protocol/interaction.ts';
import {
  type BrowserRequest,
  type BrowserResponse,
  type CookieChange,
  LONGEST_URL,
  type Parameters,
} from '../../protocol/message.ts';
import { redirectUriProblem } from '../../protocol/redirect-uri.ts';
import { type Credential, equals, parseCredential } from '../../protocol/secrets.ts';
import { sessionOf } from '../../protocol/session.ts';
import { frontchannelLogoutPage, questionPage, signedOutPage } from './pages.ts';
import { type LogoutRequest, namesOnlySignIn, parseLogoutRequest } from './request.ts';

const PATH = '/logout';

export function logout(): Feature {
  return {
    name: 'logout',
    clientMetadata: { post_logout_redirect_uris: z.array(z.string().max(2000)).max(50).optional() },
    checkClientMetadata,
    // Clients send the browser here by form too (§2), so a foreign form is no error: it is a request like any other.
    endpoints: [
      {
        caller: 'browser',
        path: PATH,
        metadata: 'end_session_endpoint',
        get: signOut,
        post: signOut,
        crossOrigin: true,
      },
    ],
  };
}

/** §3.1: held to what redirect URIs are held to, since the browser is sent to both. */
const checkClientMetadata: ClientMetadataCheck = ({ post_logout_redirect_uris = [], application_type }) => {
  for (const uri of post_logout_redirect_uris as readonly string[]) {
    const why = redirectUriProblem(uri, application_type === 'native' ? 'native' : 'web');
    if (why !== undefined) return { field: 'post_logout_redirect_uris', why };
  }
  return undefined;
};

async function signOut(request: BrowserRequest, server: AuthorizationServer): Promise<BrowserResponse> {
  const { parameters, trace } = request;
  const { asked, problem } = await read(request, server);
  if (asked.client) trace.clientId = asked.client.id;
  const credential = parseCredential('session', request.cookie('session'));
  if (request.method === 'POST' && !credential) return getAgain(parameters, asked, problem);

  const session = await sessionOf(request, server.sessions);
  if (!credential || !session || session.signIns.length === 0) {
    // §2: not an error. Without a hint it takes a click to get on: anybody can write a link with a client_id in it.
    const proven = asked.hint && asked.destination;
    const response = proven ? redirect(proven.location) : signedOutPage(asked, problem);
    return { ...response, cookies: forget(request) };
  }

  const browser = browserOf(request, server);
  const csrf = (fields: readonly Field[]) => formToken(browser, server, PATH, session.id, ...fields.flat());
  const carried = fieldsOf(parameters);
  const confirmed = request.method === 'POST' && equals(parameters.get('csrf') ?? '', csrf(carried));
  if (!confirmed && (problem || !namesOnlySignIn(asked, session, server))) {
    const kept = problem ? [] : carried;
    const fields = kept.map(([name, value]) => ({ name, value }));
    const page = questionPage(asked, session, problem, { action: PATH, csrf: csrf(kept), fields });
    return { ...page, cookies: browser.cookies };
  }
  trace.event = 'signed_out';
  trace.userId = session.signIns[0]?.user.id ?? '';
  return { ...(await end(credential, asked, request.now, server)), cookies: forget(request) };
}

/** Of a request with something wrong in it nothing is left. */
const NOTHING: LogoutRequest = { client: undefined, hint: undefined, destination: undefined };

async function read(
  { parameters, now }: BrowserRequest,
  server: AuthorizationServer,
): Promise<{ asked: LogoutRequest; problem?: OAuthError }> {
  try {
    return { asked: await parseLogoutRequest(parameters, now, server) };
  } catch (problem) {
    if (problem instanceof OAuthError) return { asked: NOTHING, problem };
    throw problem;
  }
}

/** Ends the session, tells every client of it, goes on. */
async function end(
  credential: Credential,
  asked: LogoutRequest,
  now: Date,
  server: AuthorizationServer,
): Promise<BrowserResponse> {
  const ended = await server.sessions.end(credential, now);
  const frames: string[] = [];
  for (const channel of server.registries.logoutChannels.values()) {
    frames.push(...(await channel.notify(ended, server, now)));
  }
  // Nobody is signed in there any more, so our own page is the last one, and can be loaded again.
  const { client, destination } = asked;
  const onward = destination?.location ?? addressOf(client ? [['client_id', client.id]] : []);
  return frames.length === 0 ? redirect(onward) : frontchannelLogoutPage(frames, onward, asked);
}

type Field = [name: string, value: string];

/** What is read of a request, and has to come back with its confirmation. */
const PARAMETERS = ['id_token_hint', 'client_id', 'post_logout_redirect_uri', 'state'] as const;

function fieldsOf(parameters: Parameters): Field[] {
  return PARAMETERS.flatMap((name) => parameters.all(name).map((value): Field => [name, value]));
}

function addressOf(fields: readonly Field[]): string {
  return fields.length === 0 ? PATH : `${PATH}?${new URLSearchParams([...fields])}`;
}

/**
 * The same request as a GET. A form of another site comes without our SameSite cookies: who is signed in shows only then.
 *
 * What nobody reads stays behind. Where a hint would make the address too long, the id of the client it was issued to goes
 * in its place: the person is then asked what the hint would have answered, and nothing is lost but a click.
 *
 * @throws OAuthError when it cannot be said in an address
 */
function getAgain(parameters: Parameters, { client }: LogoutRequest, problem: OAuthError | undefined): BrowserResponse {
  const fields = fieldsOf(parameters);
  const whole = addressOf(fields);
  if (whole.length <= LONGEST_URL) return redirect(whole);
  // Without its hint a forged request would look like a good one.
  if (problem) throw problem;
  const others = fields.filter(([name]) => name !== 'id_token_hint' && name !== 'client_id');
  const shorter = addressOf([...(client ? [['client_id', client.id] satisfies Field] : []), ...others]);
  if (shorter.length <= LONGEST_URL) return redirect(shorter);
  throw new OAuthError('invalid_request', 'The request is too long.', { status: 414 });
}

function redirect(location: string): BrowserResponse {
  return { kind: 'redirect', location };
}

/** Deletes what this browser knows of the session. */
function forget(request: BrowserRequest): CookieChange[] {
  const names = ['session', 'state'] as const;
  return names.filter((name) => request.cookie(name) !== undefined).map((name) => ({ name, value: null }));
}
