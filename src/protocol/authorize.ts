/**
 * The authorization endpoint (RFC 6749 §3.1, §4.1.1; OpenID Connect Core §3.1.2), in its order:
 *
 *  1. One flat parameter set, whatever carried it.
 *  2. Who asks, and where the answer goes. Until both are proven errors are shown; from then on they are sent.
 *  3. The request is checked.
 *  4. The next step: sign in, consent, refuse or proceed. A pure function of request, session, pending and now.
 *  5. The response type makes the answer, the response mode sends it.
 *
 * Steps send the browser to a page and the page sends it back here, to step 1.
 */

import {
  AUTHORIZATION_PARAMETERS,
  type AuthorizationRequest,
  parseAuthorizationRequest,
} from './authorization-request.ts';
import type { AuthorizationServer } from './authorization-server.ts';
import { findClient, isPublic } from './client.ts';
import { OAuthError, Unavailable } from './errors.ts';
import type { ResponseMode } from './feature.ts';
import { browserOf, findPending, type PendingAuthorization } from './interaction.ts';
import type { BrowserRequest, BrowserResponse, Parameters } from './message.ts';
import { isClaimable, type ReturnAddress, resolveReturnAddress } from './redirect-uri.ts';
import { resolveResponseMode, sendResponse } from './response.ts';
import { mintId } from './secrets.ts';
import { chosenSignIn, type Session, type SignIn, sessionOf } from './session.ts';

/** Repeating one of these leaves open whom to answer. */
const IDENTIFYING = ['client_id', 'redirect_uri', 'response_mode', 'request', 'request_uri', 'pending'];

export async function authorize(request: BrowserRequest, server: AuthorizationServer): Promise<BrowserResponse> {
  // 1
  const { parameters, pending } = await carriedRequest(request, server);
  // 2
  const { address, mode } = await identify(parameters, server);
  request.trace.clientId = address.client.id;
  try {
    // 3
    const asked = await parseAuthorizationRequest(parameters, address.client, server);
    // A form posted from another site comes without our SameSite cookies: it is kept and fetched by a GET that has them.
    if (request.method === 'POST') return await keep(request, parameters, address, undefined, server);
    // 4
    const session = await sessionOf(request, server.sessions, address.client.id);
    const step = nextStep(asked, address, session, pending, request.now);
    if (step.kind === 'refuse') throw step.error;
    if (step.kind !== 'proceed') return await interact(step.kind, request, parameters, address, pending, server);
    // 5
    request.trace.userId = step.signIn.user.id;
    request.trace.event = 'authorization_granted';
    const answer = await asked.responseType.respond(
      { request: asked, address, signIn: step.signIn, pendingId: pending?.id, now: request.now },
      server,
    );
    return sendResponse(address, mode, answer, server.issuer);
  } catch (error) {
    return refuse(error, request, address, mode, pending, server);
  }
}

async function carriedRequest(
  request: BrowserRequest,
  server: AuthorizationServer,
): Promise<{ parameters: Parameters; pending: PendingAuthorization | undefined }> {
  const { parameters } = request;
  for (const name of IDENTIFYING) {
    if (parameters.isRepeated(name)) throw new OAuthError('invalid_request', 'A parameter is repeated.');
  }
  const id = parameters.get('pending');
  if (id === undefined || request.method !== 'GET') return { parameters, pending: undefined };
  const browser = browserOf(request, server);
  const pending = await findPending(id, browser, request.now, server, { unbound: true });
  return { parameters: pending.parameters, pending };
}

async function identify(
  parameters: Parameters,
  server: AuthorizationServer,
): Promise<{ address: ReturnAddress; mode: ResponseMode }> {
  const id = parameters.get('client_id');
  if (id === undefined) throw new OAuthError('invalid_request', 'client_id is required.');
  const client = await findClient(server.catalogue, id);
  if (!client) throw new OAuthError('invalid_request', 'The client is unknown here.');
  return { address: resolveReturnAddress(client, parameters), mode: resolveResponseMode(parameters, server) };
}

export type Step =
  | { readonly kind: 'login' }
  | { readonly kind: 'consent' }
  | { readonly kind: 'refuse'; readonly error: OAuthError }
  | { readonly kind: 'proceed'; readonly signIn: SignIn };

/**
 * What has to happen next (OpenID Connect Core §3.1.2.3, §3.1.2.4). A sign-in or consent recorded for this very pending
 * authorization satisfies `prompt` and `max_age`, so coming back here cannot loop.
 */
export function nextStep(
  request: AuthorizationRequest,
  address: ReturnAddress,
  session: Session | undefined,
  pending: PendingAuthorization | undefined,
  now: Date,
): Step {
  const refuse = (error: OAuthError): Step => ({ kind: 'refuse', error });
  const silent = request.prompt.has('none');
  if (pending?.denied) return refuse(new OAuthError('access_denied', 'The user did not allow it.'));

  const signIn = chosenSignIn(session, pending);
  const answering = signIn?.id === pending?.signedIn?.signInId;
  if (!signIn || (!answering && mustSignInAgain(request, signIn, now))) {
    return silent ? refuse(new OAuthError('login_required', 'The user has to sign in.')) : { kind: 'login' };
  }
  if (mustConsent(request, address, signIn, pending)) {
    return silent ? refuse(new OAuthError('consent_required', 'The user has to consent.')) : { kind: 'consent' };
  }
  return { kind: 'proceed', signIn };
}

function mustSignInAgain({ prompt, maxAge }: AuthorizationRequest, signIn: SignIn, now: Date): boolean {
  if (prompt.has('login') || prompt.has('select_account')) return true;
  return maxAge !== undefined && now.getTime() - signIn.authentication.time.getTime() > maxAge * 1000;
}

function mustConsent(
  request: AuthorizationRequest,
  address: ReturnAddress,
  signIn: SignIn,
  pending: PendingAuthorization | undefined,
): boolean {
  const covers = (scope: readonly string[]) => request.scope.every((token) => scope.includes(token));
  const { consented } = pending ?? {};
  // By this person for this request; somebody else's answer, or one to a shorter list, does not count.
  if (consented && consented.userId === signIn.user.id && covers(consented.scope)) return false;
  // RFC 8252 §8.6: an address any app on the device can claim proves nothing about the client, so the person is asked.
  if (isPublic(request.client) && isClaimable(address.redirectUri)) return true;
  if (request.prompt.has('consent')) return true;
  return !request.client.skipConsent && !covers(signIn.consentedScope);
}

/** Sends the browser to a page, with the request kept for when it comes back. */
async function interact(
  page: 'login' | 'consent',
  request: BrowserRequest,
  parameters: Parameters,
  address: ReturnAddress,
  pending: PendingAuthorization | undefined,
  server: AuthorizationServer,
): Promise<BrowserResponse> {
  if (!pending) return keep(request, parameters, address, page, server);
  const browser = browserOf(request, server);
  if (!pending.bound && !(await server.pendingAuthorizations.bind(pending.id, browser.hash, request.now))) {
    throw new OAuthError('invalid_request', 'This sign-in was begun in another browser.');
  }
  return { kind: 'redirect', location: `/${page}?pending=${pending.id}`, cookies: browser.cookies };
}

async function keep(
  request: BrowserRequest,
  parameters: Parameters,
  address: ReturnAddress,
  page: 'login' | 'consent' | undefined,
  server: AuthorizationServer,
): Promise<BrowserResponse> {
  const id = mintId(request.now, server.context.random);
  // Without cookies there is no telling which browser it is: it stays nobody's until the GET.
  const browser = page === undefined ? undefined : browserOf(request, server);
  await server.pendingAuthorizations.open({
    id,
    browserHash: browser?.hash,
    clientId: address.client.id,
    parameters: parameters.only(AUTHORIZATION_PARAMETERS),
    expiresAt: new Date(request.now.getTime() + server.profile.lifetimes.interaction * 1000),
  });
  return { kind: 'redirect', location: `/${page ?? 'authorize'}?pending=${id}`, cookies: browser?.cookies ?? [] };
}

/** Sends an error to the client; a bug goes as `server_error`, with nothing said (RFC 6749 §4.1.2.1). */
async function refuse(
  error: unknown,
  request: BrowserRequest,
  address: ReturnAddress,
  mode: ResponseMode,
  pending: PendingAuthorization | undefined,
  server: AuthorizationServer,
): Promise<BrowserResponse> {
  const told =
    error instanceof OAuthError
      ? error
      : error instanceof Unavailable
        ? new OAuthError('temporarily_unavailable', 'Try again in a moment.')
        : new OAuthError('server_error', 'Something went wrong here.');
  if (pending && error instanceof OAuthError && !(await server.pendingAuthorizations.close(pending.id, request.now))) {
    throw new OAuthError('invalid_request', 'This sign-in is finished. Start again at the application if you need to.');
  }
  request.trace.event = told.code;
  const response = sendResponse(address, mode, { error: told.code, error_description: told.message }, server.issuer);
  return error instanceof OAuthError ? response : { ...response, cause: error };
}
