/**
 * What the OpenID Foundation's conformance suite brings to a plan with static clients: a server on https, clients made by
 * the command line, a person with every standard claim, a browser with a cookie jar of its own for each module, and
 * relying-party code that validates all it gets.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalJWKSet, type JSONWebKeySet, type JWTPayload, jwtVerify } from 'jose';
import { expect } from 'vitest';
import { DEMO_USERS } from '../../src/operator/demo-data.ts';
import { decide, formTo, signIn, TestBrowser, type Visit } from './browser.ts';
import { makeCertificate } from './certificate.ts';
import { gatehouse } from './gatehouse.ts';
import { startTestServer, type TestServer } from './server.ts';
import { TEST_KEY_ENCRYPTION_KEY } from './template.ts';
import { trustingFetch } from './trusting-fetch.ts';

/** An origin of the suite; nobody listens there, the browser stops before it. */
export const SUITE = 'https://suite.example/test/a/gatehouse';
export const CALLBACK = `${SUITE}/callback`;

export interface StaticClient {
  readonly id: string;
  readonly secret: string;
}

export type Answer = { readonly status: number; readonly headers: Headers; readonly json: Record<string, unknown> };

export interface Certification {
  readonly server: TestServer;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly fetch: typeof fetch;
  readonly client: StaticClient;
  readonly client2: StaticClient;
  readonly clientSecretPost: StaticClient;
  /** A fresh cookie jar. */
  browser(): TestBrowser;
  close(): Promise<void>;
}

/** @param metadata what this plan's clients register beside what all do */
export async function startCertification(metadata: Record<string, unknown> = {}): Promise<Certification> {
  const folder = await mkdtemp(join(tmpdir(), 'gatehouse-certification-'));
  const { cert, key } = await makeCertificate(join(folder, 'server'));
  const trusting = trustingFetch(cert);
  const server = await startTestServer({
    env: { GATEHOUSE_TLS_CERT: cert, GATEHOUSE_TLS_KEY: key, GATEHOUSE_ALLOW_LOOPBACK_FETCH: 'on' },
  });
  const [alice] = DEMO_USERS;
  await server.user(alice);
  const create = async (name: string, more: Record<string, unknown> = {}): Promise<StaticClient> => {
    const input = JSON.stringify({
      client_id: name,
      client_name: `Conformance suite: ${name}`,
      redirect_uris: [CALLBACK],
      grant_types: ['authorization_code', 'refresh_token'],
      // The plans for OpenID Connect send no code challenge.
      require_pkce: false,
      ...metadata,
      ...more,
    });
    const env = {
      DATABASE_URL: server.databaseUrl,
      GATEHOUSE_KEY_ENCRYPTION_KEY: TEST_KEY_ENCRYPTION_KEY.toString('base64url'),
    };
    const { code, stdout, stderr } = await gatehouse(['clients', 'create', '--file', '-', '--format', 'json'], {
      env,
      input,
    });
    if (code !== 0) throw new Error(`gatehouse clients create: ${stderr}`);
    const created = JSON.parse(stdout) as { client_id: string; client_secret: string };
    return { id: created.client_id, secret: created.client_secret };
  };
  const [client, client2, clientSecretPost] = await Promise.all([
    create('client'),
    create('client2'),
    create('client-secret-post', { token_endpoint_auth_method: 'client_secret_post' }),
  ]);
  const discovered = await trusting(`${server.issuer}/.well-known/openid-configuration`);
  return {
    server,
    metadata: (await discovered.json()) as Record<string, unknown>,
    fetch: trusting,
    client,
    client2,
    clientSecretPost,
    browser: () => new TestBrowser(server, trusting),
    async close() {
      await server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export interface Asking {
  readonly client?: StaticClient;
  readonly browser?: TestBrowser;
  /** Over the usual parameters; `undefined` removes one. */
  readonly parameters?: Record<string, string | undefined>;
  readonly responseMode?: 'form_post' | undefined;
  /** Says no on the consent page. */
  readonly deny?: boolean;
}

export interface Asked {
  readonly browser: TestBrowser;
  readonly sent: Readonly<Record<string, string>>;
  /** Paths of the pages the person was shown on the way. */
  readonly shown: readonly string[];
  /** Where it ended: a response to the client, or a page of ours. */
  readonly end: Visit;
  /** What came to the client's callback. */
  readonly response: URLSearchParams | undefined;
}

/** Sends a browser with an authorization request and does what the pages ask. */
export async function authorize(certification: Certification, asking: Asking = {}): Promise<Asked> {
  const { client = certification.client, browser = certification.browser(), deny = false } = asking;
  const sent = Object.fromEntries(
    Object.entries({
      client_id: client.id,
      redirect_uri: CALLBACK,
      response_type: 'code',
      scope: 'openid',
      state: randomBytes(16).toString('base64url'),
      nonce: randomBytes(16).toString('base64url'),
      ...(asking.responseMode !== undefined && { response_mode: asking.responseMode }),
      ...asking.parameters,
    }).filter((pair): pair is [string, string] => pair[1] !== undefined),
  );
  const endpoint = String(certification.metadata.authorization_endpoint);
  const first = await browser.visit(`${endpoint}?${new URLSearchParams(sent)}`);
  return { browser, sent, ...(await answerPages(browser, first, deny)) };
}

/** Signs in and consents wherever a page asks for it. */
export async function answerPages(
  browser: TestBrowser,
  first: Visit,
  deny = false,
): Promise<Pick<Asked, 'shown' | 'end' | 'response'>> {
  const shown: string[] = [];
  let end = first;
  while (end.location === undefined && shown.length < 4) {
    const { pathname } = new URL(end.url);
    if (pathname === '/login') end = await signIn(browser, end);
    else if (pathname === '/consent') end = await decide(browser, end, deny ? 'deny' : 'allow');
    else break;
    shown.push(pathname);
  }
  return { shown, end, response: responseAt(end) };
}

/** The response that reached the callback, by either mode; `undefined` when it was a page of ours. */
export function responseAt(visit: Visit): URLSearchParams | undefined {
  if (visit.location?.startsWith(CALLBACK)) return new URL(visit.location).searchParams;
  if (visit.status === 200 && visit.body.includes(`action="${CALLBACK}"`))
    return new URLSearchParams(formTo(visit, CALLBACK).fields);
  return undefined;
}

/** The code of a flow that must succeed; the response holds what it may and nothing else. */
export function codeOf({ response, sent, end }: Asked, certification: Certification): string {
  if (!response) throw new Error(`no response: ${end.status} ${end.url}`);
  const allowed = ['code', 'state', 'iss', 'session_state'];
  expect([...response.keys()].filter((name) => !allowed.includes(name))).toEqual([]);
  expect(response.get('state')).toBe(sent.state ?? null);
  expect(response.get('iss')).toBe(certification.server.issuer);
  return response.get('code') ?? '';
}

/** A POST to one of the endpoints for clients, authenticated by the header. */
export async function send(
  certification: Certification,
  endpoint: string,
  fields: Record<string, string>,
  client: StaticClient | undefined = certification.client,
): Promise<Answer> {
  const response = await certification.fetch(endpoint, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      ...(client && { authorization: `Basic ${Buffer.from(`${client.id}:${client.secret}`).toString('base64')}` }),
    },
    body: new URLSearchParams(fields).toString(),
  });
  return {
    status: response.status,
    headers: response.headers,
    json: (await response.json()) as Record<string, unknown>,
  };
}

export function redeem(
  certification: Certification,
  code: string,
  { client, ...more }: { client?: StaticClient; code_verifier?: string } = {},
): Promise<Answer> {
  const fields = { grant_type: 'authorization_code', code, redirect_uri: CALLBACK, ...more };
  return send(certification, String(certification.metadata.token_endpoint), fields, client);
}

export interface Tokens {
  readonly accessToken: string;
  readonly refreshToken: string | undefined;
  readonly idToken: string;
  readonly claims: JWTPayload;
}

/** A token response as the suite checks it, with its ID token validated against the published keys. */
export async function checkTokens(
  certification: Certification,
  { status, headers, json }: Answer,
  { client = certification.client, nonce }: { client?: StaticClient; nonce?: string | undefined } = {},
): Promise<Tokens> {
  expect({ status, json }).toMatchObject({ status: 200 });
  expect(headers.get('content-type')).toMatch(/^application\/json/);
  expect(headers.get('cache-control')).toContain('no-store');
  expect(String(json.token_type)).toMatch(/^bearer$/i);
  expect(json.expires_in).toBeGreaterThan(0);
  const idToken = String(json.id_token);
  const { server, metadata } = certification;
  const jwks = (await (await certification.fetch(String(metadata.jwks_uri))).json()) as JSONWebKeySet;
  const { payload, protectedHeader } = await jwtVerify(idToken, createLocalJWKSet(jwks), {
    issuer: server.issuer,
    audience: client.id,
    currentDate: server.clock.now(),
  });
  expect(protectedHeader).toMatchObject({ alg: 'RS256', kid: expect.any(String) });
  expect(payload.sub).toMatch(/^[\x21-\x7E]{1,255}$/);
  expect(payload.nonce).toBe(nonce);
  expect(Math.abs(Number(payload.iat) * 1000 - server.clock.now().getTime())).toBeLessThan(300_000);
  expect(payload).not.toHaveProperty('azp');
  const personal = ['name', 'email', 'address', 'phone_number', 'birthdate', 'given_name'];
  expect(personal.filter((name) => name in payload)).toEqual([]);
  const refreshToken = json.refresh_token === undefined ? undefined : String(json.refresh_token);
  return { accessToken: String(json.access_token), refreshToken, idToken, claims: payload };
}

/** The whole flow to validated tokens. */
export async function flow(certification: Certification, asking: Asking = {}): Promise<Asked & Tokens> {
  const asked = await authorize(certification, asking);
  const client = asking.client ?? certification.client;
  const answer = await redeem(certification, codeOf(asked, certification), { client });
  return { ...asked, ...(await checkTokens(certification, answer, { client, nonce: asked.sent.nonce })) };
}

export type Userinfo = Record<string, unknown>;

/** Asks who it is, by the method and place of the token the specification allows. */
export async function userinfo(
  certification: Certification,
  accessToken: string,
  how: 'get' | 'post-header' | 'post-body' = 'get',
): Promise<{ status: number; json: Userinfo }> {
  const response = await certification.fetch(String(certification.metadata.userinfo_endpoint), {
    method: how === 'get' ? 'GET' : 'POST',
    headers: {
      ...(how !== 'post-body' && { authorization: `Bearer ${accessToken}` }),
      ...(how === 'post-body' && { 'content-type': 'application/x-www-form-urlencoded' }),
    },
    ...(how === 'post-body' && { body: new URLSearchParams({ access_token: accessToken }).toString() }),
  });
  const text = await response.text();
  return { status: response.status, json: text === '' ? {} : (JSON.parse(text) as Userinfo) };
}

/** An error page for a reviewer: HTML at the address that was asked for, showing the code, leading nowhere. */
export function expectErrorPage(visit: Visit, code = 'invalid_request'): void {
  expect(visit.location).toBeUndefined();
  expect(visit.headers.get('content-type')).toMatch(/^text\/html/);
  expect(visit.status).toBeGreaterThanOrEqual(400);
  expect(visit.status).toBeLessThan(500);
  expect(visit.body).toContain(code);
}
