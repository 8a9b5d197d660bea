/**
 * Interactions: what a person does between the authorization request and its response.
 *
 * Pages never continue the flow. A page records a fact with its time (signed in at, consented at, denied at) on the
 * *pending authorization* and sends the browser back to `/authorize?pending=…`, which starts again at its first step.
 * So there is no resume path and no flag to clear, and every tab has a state of its own.
 *
 * A pending authorization belongs to one browser: its row holds the hash of the `browser` cookie, so the address of a
 * page is worth nothing elsewhere (FAPI 2.0 attacker A1: an interaction begun here cannot be finished there). Forms
 * carry a token keyed by that cookie, the form's path and what the form is about (RFC 9700 §4.7).
 */

import { type AuthorizationRequest, parseAuthorizationRequest } from './authorization-request.ts';
import type { AuthorizationServer } from './authorization-server.ts';
import { displayName, type User } from './claims.ts';
import { type Client, findClient } from './client.ts';
import { OAuthError } from './errors.ts';
import type { BrowserRequest, BrowserResponse, CookieChange, Parameters } from './message.ts';
import type { ClientCard, Person } from './page.ts';
import { type ReturnAddress, resolveReturnAddress } from './redirect-uri.ts';
import { equals, hmac, isUuid, sha256 } from './secrets.ts';

export interface PendingAuthorization {
  readonly id: string;
  /** A snapshot of the whole request, as it first came. */
  readonly parameters: Parameters;
  /** Digest of the client's registration that it was checked against; `undefined` of one that is older than such digests. */
  readonly registration: Buffer | undefined;
  /** False until a browser comes for it (a request that was posted from another site comes without cookies). */
  readonly bound: boolean;
  /** Whose request it is; `fresh` when they signed in for it, false when they were chosen from those signed in already. */
  readonly signIn: { readonly id: string; readonly fresh: boolean } | undefined;
  readonly consented:
    | { readonly userId: string; readonly scope: readonly string[]; readonly claims: readonly string[] }
    | undefined;
  readonly denied: boolean;
  /** The pushed request it came from. */
  readonly pushedRequestId: string | undefined;
  /** Answered: a code or an error has gone back. */
  readonly closed: boolean;
}

/** Pages that a request may need, by their path. */
export type InteractionPage = 'login' | 'select-account' | 'consent';

export interface NewPendingAuthorization {
  readonly id: string;
  readonly pushedRequestId: string | undefined;
  readonly browserHash: Buffer | undefined;
  readonly clientId: string;
  readonly parameters: Parameters;
  readonly registration: Buffer;
  readonly expiresAt: Date;
}

export interface PendingAuthorizations {
  open(pending: NewPendingAuthorization): Promise<void>;
  /** One that is not expired and is this browser's or nobody's yet. */
  find(id: string, browserHash: Buffer, now: Date): Promise<PendingAuthorization | undefined>;
  /** Gives one that is nobody's to this browser. */
  bind(id: string, browserHash: Buffer, now: Date): Promise<boolean>;
  /** The person chose one of the accounts signed in with this browser. */
  choose(id: string, signInId: string, now: Date): Promise<void>;
  /** The person said no. */
  deny(id: string, now: Date): Promise<void>;
  /** Answers it with an error; `false` when it was answered before. */
  close(id: string, now: Date): Promise<boolean>;
}

/** The calling browser, known by a random cookie from its first page on. */
export interface Browser {
  readonly secret: string;
  readonly hash: Buffer;
  /** To be sent along when the cookie is new. */
  readonly cookies: readonly CookieChange[];
}

const BROWSER_SECRET = /^[A-Za-z0-9_-]{43}$/;

export function browserOf(request: BrowserRequest, server: AuthorizationServer): Browser {
  const known = request.cookie('browser');
  if (known !== undefined && BROWSER_SECRET.test(known)) return { secret: known, hash: sha256(known), cookies: [] };
  const secret = server.context.random(32).toString('base64url');
  return { secret, hash: sha256(secret), cookies: [{ name: 'browser', value: secret }] };
}

/** The token of a form: worth something only to this browser, at this path, for this matter. */
export function formToken(
  browser: Browser,
  server: AuthorizationServer,
  path: string,
  ...matter: readonly string[]
): string {
  return hmac(server.sharedKeys.csrf, browser.secret, path, ...matter).toString('base64url');
}

/**
 * Checks the token of a form that was sent.
 * @throws OAuthError `access_denied` (403), shown: nothing has been changed
 */
export function checkForm(
  request: BrowserRequest,
  server: AuthorizationServer,
  path: string,
  ...matter: readonly string[]
): Browser {
  request.parameters.refuseRepeats();
  const browser = browserOf(request, server);
  if (!equals(request.parameters.get('csrf') ?? '', formToken(browser, server, path, ...matter))) throw formRefused();
  return browser;
}

/** What a form gets that was not ours, not this browser's, or not about what is now the case. */
export function formRefused(): OAuthError {
  return new OAuthError(
    'access_denied',
    'This form does not belong to this browser or is out of date. Go back and try again.',
    { status: 403 },
  );
}

/** An interaction as its pages need it. */
export interface Interaction {
  readonly pending: PendingAuthorization;
  readonly browser: Browser;
  readonly client: Client;
  readonly address: ReturnAddress;
  readonly request: AuthorizationRequest;
}

/**
 * The interaction a page was opened for, checked anew: the client may have been disabled, a scope removed.
 * @throws OAuthError to be shown
 */
export async function interactionOf(request: BrowserRequest, server: AuthorizationServer): Promise<Interaction> {
  const browser = browserOf(request, server);
  const pending = await findPending(request.parameters.get('pending'), browser, request.now, server);
  const client = await findClient(server.catalogue, pending.parameters.get('client_id'));
  if (!client) throw new OAuthError('invalid_request', 'The client is unknown here.');
  const address = resolveReturnAddress(client, pending.parameters);
  return {
    pending,
    browser,
    client,
    address,
    request: await parseAuthorizationRequest(pending.parameters, client, request.now, server),
  };
}

/**
 * @param options `unbound`: also one that is nobody's yet; only the authorization endpoint takes those, and binds them
 * @throws OAuthError when there is none for this browser, or it has been answered
 */
export async function findPending(
  id: string | undefined,
  browser: Browser,
  now: Date,
  server: AuthorizationServer,
  { unbound = false } = {},
): Promise<PendingAuthorization> {
  const pending = isUuid(id) ? await server.pendingAuthorizations.find(id, browser.hash, now) : undefined;
  if (!pending || !(pending.bound || unbound)) {
    throw new OAuthError(
      'invalid_request',
      'This sign-in has expired or was begun in another browser. Start again at the application.',
    );
  }
  if (pending.closed) {
    throw new OAuthError('invalid_request', 'This sign-in is finished. Start again at the application if you need to.');
  }
  return pending;
}

/**
 * Where a person answers for a request. Without the room that lets people choose among several, they sign in: that is
 * recorded for the request all the same, so it cannot loop.
 */
export function interactionUrl(page: InteractionPage, pendingId: string, server: AuthorizationServer): string {
  const chooser = server.registries.endpoints.some(({ path }) => path === '/select-account');
  return `/${page === 'select-account' && !chooser ? 'login' : page}?pending=${pendingId}`;
}

/**
 * The person chose not to go on: recorded, and the authorization endpoint answers the client.
 * @param path of the form beside the button, which shares its token
 * @throws OAuthError to be shown, as {@link checkForm} and {@link findPending}
 */
export async function cancelInteraction(
  request: BrowserRequest,
  server: AuthorizationServer,
  path: string,
): Promise<BrowserResponse> {
  const id = request.parameters.get('pending');
  const browser = checkForm(request, server, path, id ?? '');
  const pending = await findPending(id, browser, request.now, server);
  await server.pendingAuthorizations.deny(pending.id, request.now);
  return { kind: 'redirect', location: `/authorize?pending=${pending.id}` };
}

/** The client as people are shown it; its host beside the name it chose for itself. */
export function clientCard(client: Client, redirectUri?: string): ClientCard {
  const { client_uri, policy_uri, tos_uri } = client.metadata as Record<string, string | undefined>;
  const site = client_uri ?? redirectUri;
  const host = site === undefined ? '' : new URL(site).host;
  return {
    name: client.name,
    initial: initialOf(client.name),
    ...(host !== '' && { host }),
    ...(client.logoUrl !== undefined && { logoUrl: client.logoUrl }),
    ...(client_uri !== undefined && { siteUrl: client_uri }),
    ...(policy_uri !== undefined && { policyUrl: policy_uri }),
    ...(tos_uri !== undefined && { termsUrl: tos_uri }),
  };
}

/** Somebody who is signed in, as their own pages show them. */
export function personCard(user: User): Person {
  const name = displayName(user);
  return { name, username: user.username, initial: initialOf(name) };
}

/** The first letter of a name, for where there is no picture. */
export function initialOf(name: string): string {
  const [first = '?'] = name.trim();
  return first.toUpperCase();
}
