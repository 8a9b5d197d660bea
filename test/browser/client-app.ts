/**
 * A client for the browser tests: a server on an origin of its own that begins authorizations and redeems what comes
 * back with openid-client, which checks `state`, `iss`, PKCE and the ID token as strictly as a real application would.
 *
 * On `localhost` it is another origin than Gatehouse and the same site; on `127.0.0.1` it is another site, for which
 * SameSite cookies stay at home.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import * as client from 'openid-client';
import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { freePort } from '../support/ports.ts';
import type { TestServer } from '../support/server.ts';

/** One authorization response, as the app received it, and what it got for it. */
export interface Arrival {
  readonly method: string;
  readonly answer: URLSearchParams;
  /** The error of the response; a response that openid-client did not accept fails the test that looks at it. */
  readonly error: string | undefined;
  readonly accessToken: string | undefined;
  readonly idToken: string | undefined;
  /** Of the ID token. */
  readonly sub: string | undefined;
  readonly sid: string | undefined;
  /** Granted scopes, in order. */
  readonly scope: readonly string[];
}

export interface ClientAppOptions {
  readonly host?: 'localhost' | '127.0.0.1';
  /** Registration over the usual one of a confidential web app; of its own addresses, where they depend on its origin. */
  readonly metadata?: Record<string, unknown> | ((origin: string) => Record<string, unknown>);
}

export interface ClientApp {
  readonly id: string;
  readonly origin: string;
  readonly redirectUri: string;
  /** Everything that came to the redirect URI, in order. */
  readonly arrivals: readonly Arrival[];
  /** The app's address that sends the browser to Gatehouse; `parameters` over the usual ones. */
  begin(parameters?: Record<string, string>): string;
  /** The app's address with a form that posts the request to Gatehouse (button `#go`). */
  beginByForm(parameters?: Record<string, string>): string;
  /** The app's address that shows another page in a frame (`#frame`). */
  frame(address: string): string;
  /** Where its own people are signed out, by a frame on another page. */
  readonly signOutUri: string;
  /** Queries `signOutUri` was loaded with, in order. */
  readonly signOuts: readonly URLSearchParams[];
  /** Waits until the page is back at the app. */
  arrivalOn(page: Page): Promise<Arrival>;
  close(): Promise<void>;
}

/** Registers a client and starts its app. */
export async function startClientApp(gatehouse: TestServer, options: ClientAppOptions = {}): Promise<ClientApp> {
  const { host = 'localhost', metadata = {} } = options;
  const port = await freePort();
  const origin = `http://${host}:${port}`;
  const redirectUri = `${origin}/callback`;
  const registered = await gatehouse.client({
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
    scope: 'openid profile email offline_access photos.read photos.write storage.read',
    ...(typeof metadata === 'function' ? metadata(origin) : metadata),
  });
  const authentication = registered.secret === '' ? client.None() : client.ClientSecretBasic(registered.secret);
  const configuration = await client.discovery(new URL(gatehouse.issuer), registered.id, undefined, authentication, {
    execute: [client.allowInsecureRequests],
  });
  const verifiers = new Map<string, string>();
  const arrivals: Arrival[] = [];
  const signOuts: URLSearchParams[] = [];

  async function request(parameters: URLSearchParams): Promise<URL> {
    const state = client.randomState();
    const verifier = client.randomPKCECodeVerifier();
    verifiers.set(state, verifier);
    return client.buildAuthorizationUrl(configuration, {
      redirect_uri: redirectUri,
      scope: 'openid photos.read',
      state,
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      ...Object.fromEntries(parameters),
    });
  }

  async function receive(message: IncomingMessage, url: URL): Promise<Arrival> {
    const method = message.method ?? '';
    const body = method === 'POST' ? await readAll(message) : '';
    const answer = method === 'POST' ? new URLSearchParams(body) : url.searchParams;
    const state = answer.get('state') ?? '';
    const response = method === 'POST' ? formRequest(url, body) : url;
    const checks = { expectedState: state, pkceCodeVerifier: verifiers.get(state) ?? '' };
    const isOurs = verifiers.delete(state);
    try {
      if (!isOurs) throw new Error(`state ${state} is not one the app is waiting for`);
      const granted = await client.authorizationCodeGrant(configuration, response, checks);
      const scope = granted.scope?.split(' ').sort() ?? [];
      const { access_token: accessToken, id_token: idToken } = granted;
      const claims = granted.claims();
      const sid = claims?.sid as string | undefined;
      return { method, answer, error: undefined, accessToken, idToken, sub: claims?.sub, sid, scope };
    } catch (error) {
      const told = error instanceof client.AuthorizationResponseError ? error.error : `not accepted: ${error}`;
      const nothing = { accessToken: undefined, idToken: undefined, sub: undefined, sid: undefined, scope: [] };
      return { method, answer, error: told, ...nothing };
    }
  }

  const server = createServer(async (message, response) => {
    const url = new URL(message.url ?? '/', origin);
    if (url.pathname === '/begin') {
      response.writeHead(303, { location: (await request(url.searchParams)).href }).end();
    } else if (url.pathname === '/begin-by-form') {
      show(response, postForm(await request(url.searchParams)));
    } else if (url.pathname === '/frame') {
      show(response, `<iframe id="frame" src="${escapeHtml(url.searchParams.get('address') ?? '')}"></iframe>`);
    } else if (url.pathname === '/sign-out') {
      signOuts.push(url.searchParams);
      show(response, '<p>Signed out of the app</p>');
    } else if (url.pathname === '/callback') {
      const count = arrivals.push(await receive(message, url));
      show(response, `<h1>Back at the app</h1><p id="arrival">${count - 1}</p>`);
    } else show(response, '<h1>The app</h1>');
  });
  await new Promise<void>((resolve) => server.listen(port, host, resolve));

  const path = (name: string, parameters: Record<string, string>) =>
    `${origin}${name}?${new URLSearchParams(parameters)}`;
  return {
    id: registered.id,
    origin,
    redirectUri,
    arrivals,
    begin: (parameters = {}) => path('/begin', parameters),
    beginByForm: (parameters = {}) => path('/begin-by-form', parameters),
    frame: (address) => path('/frame', { address }),
    signOutUri: `${origin}/sign-out`,
    signOuts,
    async arrivalOn(page) {
      await page.waitForURL((url) => url.origin === origin && url.pathname === '/callback');
      const arrival = arrivals[Number(await page.locator('#arrival').textContent())];
      if (arrival === undefined) throw new Error(`the page at ${page.url()} shows no arrival`);
      expect(arrival.error ?? '', 'what openid-client said').not.toMatch(/^not accepted/);
      return arrival;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function formRequest(url: URL, body: string): Request {
  return new Request(url, { method: 'POST', body, headers: { 'content-type': 'application/x-www-form-urlencoded' } });
}

function postForm(address: URL): string {
  const fields = [...address.searchParams].map(
    ([name, value]) => `<input type="hidden" name="${escapeHtml(name)}" value="${escapeHtml(value)}">`,
  );
  return `<form method="post" action="${escapeHtml(address.origin + address.pathname)}">${fields.join('')}<button id="go">Sign in</button></form>`;
}

async function readAll(message: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of message) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

function show(response: ServerResponse, main: string): void {
  response
    .writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' })
    .end(
      `<!doctype html><html lang="en"><head><title>App</title><link rel="icon" href="data:,"></head><body>${main}</body></html>`,
    );
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
