/**
 * The logout request, checked: OpenID Connect RP-Initiated Logout 1.0 §2, §3.
 *
 * Invariant: a `destination` is an address that the client it belongs to has registered, compared as a string. Nothing is
 * redirected to any other, so that this endpoint is no open redirector (RFC 9700 §4.11).
 *
 * Known and not read: `ui_locales`, for there is one language, and `logout_hint`, for everybody in the browser is
 * signed out.
 */
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import { type Client, findClient } from '../../protocol/client.ts';
import { OAuthError } from '../../protocol/errors.ts';
import { type IdTokenHint, readIdTokenHint } from '../../protocol/id-token.ts';
import type { Parameters } from '../../protocol/message.ts';
import { withQuery } from '../../protocol/redirect-uri.ts';
import { type Session, sidOf } from '../../protocol/session.ts';
import { subjectOf } from '../../protocol/subject.ts';

export interface LogoutRequest {
  /** Whose request it is. Proven by the hint only: anybody may send somebody else's `client_id`. */
  readonly client: Client | undefined;
  readonly hint: IdTokenHint | undefined;
  /** Where the browser goes afterwards. */
  readonly destination: Destination | undefined;
}

export interface Destination {
  readonly client: Client;
  /** As registered. */
  readonly redirectUri: string;
  /** With the request's `state`, if it has one. */
  readonly location: string;
}

/**
 * @throws OAuthError `invalid_request`, to be shown and never sent: nothing in such a request can be relied on
 */
export async function parseLogoutRequest(
  parameters: Parameters,
  now: Date,
  server: AuthorizationServer,
): Promise<LogoutRequest> {
  parameters.refuseRepeats();
  const token = parameters.get('id_token_hint');
  const hint = token === undefined ? undefined : await readIdTokenHint(token, now, server);
  if (token !== undefined && !hint) throw refuse('The id_token_hint is not an ID token of this server.');
  const clientId = parameters.get('client_id');
  if (hint && clientId !== undefined && clientId !== hint.clientId)
    throw refuse('The id_token_hint was issued to another client than the client_id names.');
  const id = hint?.clientId ?? clientId;
  const client = await findClient(server.catalogue, id);
  if (id !== undefined && !client) throw refuse('The client is unknown here.');
  return { client, hint, destination: resolveDestination(parameters, client) };
}

/** §3: exactly as registered; `state` goes along, byte for byte, and nothing else does. */
function resolveDestination(parameters: Parameters, client: Client | undefined): Destination | undefined {
  const redirectUri = parameters.get('post_logout_redirect_uri');
  if (redirectUri === undefined) return undefined;
  if (!client) throw refuse('A post_logout_redirect_uri needs an id_token_hint or a client_id beside it.');
  const registered = (client.metadata.post_logout_redirect_uris ?? []) as readonly string[];
  if (!registered.includes(redirectUri))
    throw refuse('The post_logout_redirect_uri is not registered for this client.');
  const state = parameters.get('state');
  const location = state === undefined ? redirectUri : withQuery(redirectUri, `state=${encodeURIComponent(state)}`);
  return { client, redirectUri, location };
}

function refuse(description: string): OAuthError {
  return new OAuthError('invalid_request', description);
}

/**
 * Whether the hint names the one sign-in there is. Then the client says what its own person wants and need not be doubted;
 * otherwise that person is asked (§2): somebody else's ID token must sign nobody out (logout CSRF).
 */
export function namesOnlySignIn(
  { hint, client }: LogoutRequest,
  { signIns }: Session,
  server: AuthorizationServer,
): boolean {
  const [only, ...others] = signIns;
  if (!hint || !client || !only || others.length > 0) return false;
  if (hint.sid !== undefined) return hint.sid === sidOf(only.id, client.id, server);
  return hint.subject === subjectOf(only.user, client, server);
}
