/**
 * The authorization endpoint (RFC 6749 §3.1, §4.1.1; OpenID Connect Core §3.1.2), in its order:
 *
 *  1. Who asks, and one flat parameter set out of whatever carried it (query, form, request object, an earlier visit).
 *  2. Where the answer goes. Until that is proven errors are shown; from then on they are sent.
 *  3. The request is checked.
 *  4. The next step: sign in, choose, consent, refuse or proceed. A pure function of request, session, pending and now.
 *  5. The response type makes the answer, the response mode sends it.
 *
 * Steps send the browser to a page and the page sends it back here, to step 1.
 */

import { candidates, hintsAtAnother, isTooOld, recordedSignIn } from './account-choice.ts';
import {
  AUTHORIZATION_PARAMETERS,
  type AuthorizationRequest,
  parseAuthorizationRequest,
} from './authorization-request.ts';
import type { AuthorizationServer } from './authorization-server.ts';
import { claimsBeyondScope } from './claims-request.ts';
import { type Client, findClient, isPublic, registrationOf } from './client.ts';
import { type ErrorCode, OAuthError, Unavailable } from './errors.ts';
import type { ApprovedRequest, CarriedParameters, ResponseMode } from './feature.ts';
import {
  browserOf,
  findPending,
  type InteractionPage,
  interactionUrl,
  type PendingAuthorization,
} from './interaction.ts';
import type { BrowserRequest, BrowserResponse, Parameters } from './message.ts';
import { isClaimable, type ReturnAddress, resolveReturnAddress } from './redirect-uri.ts';
import { unwrap } from './request-source.ts';
import { resolveResponseMode, sendResponse } from './response.ts';
import { equals, mintId } from './secrets.ts';
import { type Session, type SignIn, sessionOf } from './session.ts';

/** Repeating one of these leaves open whom to answer. */
const IDENTIFYING = ['client_id', 'redirect_uri', 'response_mode', 'request', 'request_uri', 'pending'];

export async function authorize(request: BrowserRequest, server: AuthorizationServer): Promise<BrowserResponse> {
  // 1, 2
  const carried = await carriedRequest(request, server);
  const { parameters, pending, pushedRequestId, address, mode, problem } = carried;
  try {
    if (problem) throw problem;
    // 3
    const asked = await parseAuthorizationRequest(parameters, address.client, request.now, server);
    // A form posted from another site comes without our SameSite cookies: it is kept and fetched by a GET that has them.
    if (request.method === 'POST') return await keep(request, carried, undefined, server);
    // 4
    const browser = await sessionOf(request, server.sessions, address.client.id);
    const step = nextStep(asked, address, browser, pending, request.now);
    if (step.kind === 'refuse') throw step.error;
    if (step.kind !== 'proceed') return await interact(step.kind, request, carried, server);
    // 5
    const { signIn, session } = step;
    request.trace.userId = signIn.user.id;
    request.trace.event = 'authorization_granted';
    const approved = {
      request: asked,
      address,
      signIn,
      session,
      pushedRequestId,
      pendingId: pending?.id,
      now: request.now,
    };
    return await respond(approved, mode, server);
  } catch (error) {
    return refuse(error, request, address, mode, pending, server);
  }
}

interface CarriedRequest {
  readonly parameters: Parameters;
  readonly pushedRequestId: string | undefined;
  readonly pending: PendingAuthorization | undefined;
  readonly address: ReturnAddress;
  readonly mode: ResponseMode;
  /** What was wrong with what carried it, to be told at `address`. */
  readonly problem?: unknown;
}

/** @throws OAuthError to be shown: it is not known who asks, or where the answer would go */
async function carriedRequest(request: BrowserRequest, server: AuthorizationServer): Promise<CarriedRequest> {
  const { parameters: outer } = request;
  for (const name of IDENTIFYING) {
    if (outer.isRepeated(name)) throw new OAuthError('invalid_request', 'A parameter is repeated.');
  }
  const id = request.method === 'GET' ? outer.get('pending') : undefined;
  if (id !== undefined) {
    // Kept as it was read the first time, whatever had carried it.
    const pending = await findPending(id, browserOf(request, server), request.now, server, { unbound: true });
    const client = await identifyClient(pending.parameters, request, server);
    const { parameters, pushedRequestId } = pending;
    const problem = outdated(pending, client, server);
    return { parameters, pushedRequestId, pending, ...proveReturn(parameters, client, server), problem };
  }
  const client = await identifyClient(outer, request, server);
  let carried: CarriedParameters;
  try {
    carried = await unwrap(outer, client, 'authorization endpoint', request.now, server);
  } catch (problem) {
    // What the request object says is not known, but an address beside it may be proven by itself.
    const address = addressBeside(outer, client, server);
    // Of a pushed request that is over nothing is known, and what stands beside it never counted (RFC 9126 §4).
    const lost = problem instanceof OAuthError && problem.code === 'invalid_request_uri';
    if (!address || lost) throw problem;
    return { parameters: outer, pushedRequestId: undefined, pending: undefined, problem, ...address };
  }
  // From here on what stood beside it does not count (RFC 9101 §6.3), for errors neither.
  const { parameters, pushedRequestId } = carried;
  return { parameters, pushedRequestId, pending: undefined, ...proveReturn(parameters, client, server) };
}

/**
 * How it came was checked when it came (pushed, signed, by which algorithm) and is not known any more. After a change of the
 * registration that check is of no worth: a stricter one must not let it pass.
 */
function outdated({ registration }: PendingAuthorization, client: Client, { profile }: AuthorizationServer) {
  return registration === undefined || equals(registration, registrationOf(client, profile))
    ? undefined
    : new OAuthError('invalid_request', 'The registration of the client has changed since. Start again.');
}

/** Only one that is named: without it the rest is inside, `state` too, which no answer may lose (RFC 6749 §4.1.2.1). */
function addressBeside(outer: Parameters, client: Client, server: AuthorizationServer) {
  if (outer.get('redirect_uri') === undefined) return undefined;
  try {
    return proveReturn(outer, client, server);
  } catch (error) {
    if (error instanceof OAuthError) return undefined;
    throw error;
  }
}

async function identifyClient(
  parameters: Parameters,
  { trace }: BrowserRequest,
  server: AuthorizationServer,
): Promise<Client> {
  const id = parameters.get('client_id');
  if (id === undefined) throw new OAuthError('invalid_request', 'client_id is required.');
  const client = await findClient(server.catalogue, id);
  if (!client) throw new OAuthError('invalid_request', 'The client is unknown here.');
  trace.clientId = client.id;
  return client;
}

function proveReturn(
  parameters: Parameters,
  client: Client,
  server: AuthorizationServer,
): { address: ReturnAddress; mode: ResponseMode } {
  return { address: resolveReturnAddress(client, parameters), mode: resolveResponseMode(parameters, client, server) };
}

/** The response type's parameters and everybody else's, sent. */
async function respond(
  approved: ApprovedRequest,
  mode: ResponseMode,
  server: AuthorizationServer,
): Promise<BrowserResponse> {
  const answer = await approved.request.responseType.respond(approved, server);
  const more = [...server.registries.responseParameters.values()].flatMap((parameter) => {
    const due = parameter.value(approved, server);
    return due ? [{ name: parameter.name, ...due }] : [];
  });
  const parameters = { ...answer, ...Object.fromEntries(more.map(({ name, value }) => [name, value])) };
  const cookies = more.flatMap((parameter) => parameter.cookies ?? []);
  return { ...(await sendResponse(approved.address, mode, parameters, approved.now, server)), cookies };
}

export type Step =
  | { readonly kind: InteractionPage }
  | { readonly kind: 'refuse'; readonly error: OAuthError }
  | { readonly kind: 'proceed'; readonly signIn: SignIn; readonly session: Session };

/**
 * What has to happen next (OpenID Connect Core §3.1.2.3, §3.1.2.4). A sign-in, choice or consent recorded for this very
 * pending authorization satisfies `prompt` and `max_age`, so coming back here cannot loop.
 *
 *   denied? ─▶ acr ─▶ who? (sign in, choose) ─▶ recently enough? ─▶ allowed? ─▶ proceed
 *
 * With `prompt=none` each step that would need the person is the error that names it (§3.1.2.6).
 */
export function nextStep(
  request: AuthorizationRequest,
  address: ReturnAddress,
  session: Session | undefined,
  pending: PendingAuthorization | undefined,
  now: Date,
): Step {
  const { prompt } = request;
  const ask = (kind: keyof typeof UNASKED): Step => (prompt.has('none') ? UNASKED[kind]() : { kind });
  if (pending?.denied) return refusal('access_denied', 'The user did not allow it.');
  if (!request.acrCanBeMet)
    return refusal('unmet_authentication_requirements', 'The acr that is asked for cannot be had here.');

  const recorded = recordedSignIn(session, pending);
  const fresh = recorded !== undefined && pending?.signIn?.fresh === true;
  // Somebody signed in, and it is not the person the request is about (§3.1.2.1, id_token_hint).
  if (recorded && !request.concerns(recorded.user))
    return refusal('login_required', 'The user who signed in is not the one asked for.');
  if (prompt.has('login') && !fresh) return ask('login');
  const known = candidates(request, session);
  // With prompt=none a hint that fits nobody is none: what clients use as hints is not always a name we know.
  const unsure = prompt.has('select_account') || (!prompt.has('none') && hintsAtAnother(request, session));
  if (!recorded && (known.length > 1 || (known.length === 1 && unsure))) return ask('select-account');
  const signIn = recorded ?? known[0];
  if (!session || !signIn || isTooOld(signIn, request, fresh, now)) return ask('login');
  if (mustConsent(request, address, signIn, pending)) return ask('consent');
  return { kind: 'proceed', signIn, session };
}

/** What a client is told that wants nobody asked (§3.1.2.6). */
const UNASKED = {
  login: () => refusal('login_required', 'The user has to sign in.'),
  'select-account': () => refusal('account_selection_required', 'The user has to choose an account.'),
  consent: () => refusal('consent_required', 'The user has to consent.'),
};

function refusal(code: ErrorCode, description: string): Step {
  return { kind: 'refuse', error: new OAuthError(code, description) };
}

function mustConsent(
  request: AuthorizationRequest,
  address: ReturnAddress,
  signIn: SignIn,
  pending: PendingAuthorization | undefined,
): boolean {
  const claims = claimsBeyondScope(request.claims, request.scope);
  const covers = (allowed: { readonly scope: readonly string[]; readonly claims: readonly string[] }) =>
    request.scope.every((token) => allowed.scope.includes(token)) &&
    claims.every((name) => allowed.claims.includes(name));
  const { consented } = pending ?? {};
  // By this person for this request; somebody else's answer, or one to a shorter list, does not count.
  if (consented && consented.userId === signIn.user.id && covers(consented)) return false;
  // RFC 8252 §8.6: an address any app on the device can claim proves nothing about the client, so the person is asked.
  if (isPublic(request.client) && isClaimable(address.redirectUri)) return true;
  if (request.prompt.has('consent')) return true;
  // A yes to one payment is none to the next, even of the same amount: details are never remembered (RFC 9396 §12).
  if (request.authorizationDetails.length > 0 && !request.client.skipConsent) return true;
  return !request.client.skipConsent && !covers({ scope: signIn.consentedScope, claims: signIn.consentedClaims });
}

/** Sends the browser to a page, with the request kept for when it comes back. */
async function interact(
  page: InteractionPage,
  request: BrowserRequest,
  carried: CarriedRequest,
  server: AuthorizationServer,
): Promise<BrowserResponse> {
  const { pending } = carried;
  if (!pending) return keep(request, carried, page, server);
  const browser = browserOf(request, server);
  if (!pending.bound && !(await server.pendingAuthorizations.bind(pending.id, browser.hash, request.now))) {
    throw new OAuthError('invalid_request', 'This sign-in was begun in another browser.');
  }
  return { kind: 'redirect', location: interactionUrl(page, pending.id, server), cookies: browser.cookies };
}

async function keep(
  request: BrowserRequest,
  { parameters, pushedRequestId, address }: CarriedRequest,
  page: InteractionPage | undefined,
  server: AuthorizationServer,
): Promise<BrowserResponse> {
  const id = mintId(request.now, server.context.random);
  // Without cookies there is no telling which browser it is: it stays nobody's until the GET.
  const browser = page === undefined ? undefined : browserOf(request, server);
  await server.pendingAuthorizations.open({
    id,
    pushedRequestId,
    browserHash: browser?.hash,
    clientId: address.client.id,
    parameters: parameters.only(AUTHORIZATION_PARAMETERS),
    registration: registrationOf(address.client, server.profile),
    expiresAt: new Date(request.now.getTime() + server.profile.lifetimes.interaction * 1000),
  });
  const location = page === undefined ? `/authorize?pending=${id}` : interactionUrl(page, id, server);
  return { kind: 'redirect', location, cookies: browser?.cookies ?? [] };
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
  if (error instanceof OAuthError) request.trace.reason ??= error.reason;
  const parameters = { error: told.code, error_description: told.message };
  const response = await sendResponse(address, mode, parameters, request.now, server);
  return error instanceof OAuthError ? response : { ...response, cause: error };
}
