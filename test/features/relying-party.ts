/** Strict foreign clients as relying parties: openid-client and oauth4webapi, with a browser that goes where they send it. */
import * as oidc from 'openid-client';
import { decide, formsOf, signIn, TestBrowser, type Visit } from '../support/browser.ts';
import type { TestServer } from '../support/server.ts';

export interface Registered {
  readonly id: string;
  readonly secret: string;
}

export interface RelyingPartyOptions {
  /** What the client registered and has to know of itself. */
  readonly metadata?: Partial<oidc.ClientMetadata>;
  readonly auth?: oidc.ClientAuth;
  /** Which metadata document it reads. */
  readonly algorithm?: 'oidc' | 'oauth2';
}

/** Discovers the server; ID tokens are verified with the published keys, not only trusted for where they came from. */
export async function relyingParty(
  server: Pick<TestServer, 'issuer'>,
  client: Registered,
  { metadata = {}, auth, algorithm = 'oidc' }: RelyingPartyOptions = {},
): Promise<oidc.Configuration> {
  const method = auth ?? (client.secret === '' ? oidc.None() : oidc.ClientSecretBasic(client.secret));
  return oidc.discovery(new URL(server.issuer), client.id, metadata, method, {
    algorithm,
    execute: [oidc.allowInsecureRequests, oidc.enableNonRepudiationChecks],
  });
}

export interface Authorization {
  /** What the client's redirect URI is asked for: by GET, or by POST with form_post. */
  readonly callback: URL | Request;
  readonly checks: oidc.AuthorizationCodeGrantChecks;
  readonly browser: TestBrowser;
}

export interface AuthorizationOptions {
  readonly browser?: TestBrowser;
  readonly parameters?: Record<string, string | string[]>;
  readonly who?: [username: string, password: string];
  readonly decision?: 'allow' | 'deny';
}

/** Sends a browser through an authorization request of this relying party, as far as the person is needed. */
export async function authorizationOf(
  party: oidc.Configuration,
  redirectUri: string,
  scope: string,
  options: AuthorizationOptions = {},
): Promise<Authorization> {
  const { issuer } = party.serverMetadata();
  const { browser = new TestBrowser({ issuer }), decision = 'allow' } = options;
  const pkceCodeVerifier = oidc.randomPKCECodeVerifier();
  const expectedState = oidc.randomState();
  const openid = scope.split(' ').includes('openid');
  const expectedNonce = openid ? oidc.randomNonce() : undefined;
  const parameters = new URLSearchParams({
    redirect_uri: redirectUri,
    scope,
    code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    state: expectedState,
    ...(expectedNonce !== undefined && { nonce: expectedNonce }),
  });
  for (const [name, values] of Object.entries(options.parameters ?? {})) {
    for (const value of [values].flat()) parameters.append(name, value);
  }
  let page = await browser.visit(oidc.buildAuthorizationUrl(party, parameters).href);
  if (page.url.includes('/login')) page = await signIn(browser, page, ...(options.who ?? []));
  if (page.url.includes('/consent')) page = await decide(browser, page, decision);
  return {
    callback: callbackOf(page),
    browser,
    checks: {
      pkceCodeVerifier,
      expectedState,
      ...(expectedNonce !== undefined && { expectedNonce, idTokenExpected: true }),
    },
  };
}

/** The request a client's redirect URI gets from what the browser was told. */
export function callbackOf(page: Visit): URL | Request {
  if (page.location !== undefined) return new URL(page.location);
  const [form] = formsOf(page);
  if (!form?.action.startsWith('http')) throw new Error(`no answer on ${page.url} (${page.status}): ${page.body}`);
  return new Request(form.action, { method: 'POST', body: new URLSearchParams(form.fields) });
}

/** The whole code flow. */
export async function tokensOf(
  party: oidc.Configuration,
  redirectUri: string,
  scope: string,
  options: AuthorizationOptions & { tokenParameters?: Record<string, string> } = {},
) {
  const { callback, checks, browser } = await authorizationOf(party, redirectUri, scope, options);
  const tokens = await oidc.authorizationCodeGrant(party, callback, checks, options.tokenParameters);
  return { tokens, checks, browser };
}
