/** The flow of the FAPI plans, step by step: push, send the browser, redeem, use; each as it should be but for what is said. */
import { expect } from 'vitest';
import { decide, formTo, pkce, signIn, type TestBrowser, type Visit } from './browser.ts';
import type { ClientKey } from './client-key.ts';
import { DETAILS } from './fapi-api.ts';
import { type Fapi, type FapiClient, scopeOf } from './fapi-certification.ts';
import {
  type Answer,
  endpoint,
  expectUnguessable,
  keepNonce,
  proof,
  randomText,
  type Sending,
  seconds,
  send,
  verified,
  withoutUndefined,
} from './fapi-requests.ts';
import type { ProofKey, ProofOptions } from './proof-key.ts';

export interface Pushing extends Sending {
  /** Over the usual parameters; `undefined` removes one. */
  readonly parameters?: Record<string, unknown>;
  /** Beside the request object. */
  readonly beside?: Record<string, string>;
  /** Over the usual claims of a request object that are no parameters. */
  readonly claims?: Record<string, unknown>;
  /** What signs the request object, where it is not the client's key. */
  readonly signer?: Pick<ClientKey, 'sign'>;
}

export interface Pushed {
  readonly answer: Answer;
  readonly uri: string;
  readonly verifier: string;
  readonly sent: Readonly<Record<string, unknown>>;
}

/** Pushes an authorization request, in a request object where the variant signs. */
export async function push(op: Fapi, pushing: Pushing = {}): Promise<Pushed> {
  const { client = op.client, beside = {}, parameters, ...rest } = pushing;
  const { verifier, challenge } = pkce();
  const { openid, jarm, rar, signed } = op.variant;
  const sent: Record<string, unknown> = withoutUndefined({
    response_type: 'code',
    redirect_uri: client.redirectUri,
    scope: scopeOf(op.variant),
    state: randomText(22),
    ...(openid && { nonce: randomText(22) }),
    ...(jarm && { response_mode: 'jwt' }),
    ...(rar && { authorization_details: DETAILS }),
    code_challenge: challenge,
    code_challenge_method: 'S256',
    ...parameters,
  });
  const fields = signed ? { request: await requestObject(op, sent, pushing) } : formOf(sent);
  const answer = await send(op, 'pushed_authorization_request_endpoint', { ...fields, ...beside }, { ...rest, client });
  return { answer, uri: String(answer.json.request_uri), verifier, sent };
}

/** Parameters as a form has them: lists and objects as JSON. */
export function formOf(parameters: Readonly<Record<string, unknown>>): Record<string, string> {
  const pairs = Object.entries(parameters).map(([name, value]) => [
    name,
    typeof value === 'string' ? value : JSON.stringify(value),
  ]);
  return Object.fromEntries(pairs) as Record<string, string>;
}

/** Signed by the client, good for five minutes. */
function requestObject(
  op: Fapi,
  parameters: Record<string, unknown>,
  { client = op.client, claims, signer = client.key }: Pushing,
): Promise<string> {
  const now = seconds(op);
  const own = { iss: client.id, aud: op.server.issuer, nbf: now, exp: now + 300, client_id: client.id };
  return signer.sign(withoutUndefined({ ...own, ...parameters, ...claims }), { typ: 'oauth-authz-req+jwt' });
}

/** A push that must succeed: RFC 9126 §2.2. */
export function expectPushed({ answer, uri }: Pushed): void {
  expect(answer).toMatchObject({ status: 201 });
  expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
  expect(answer.json.expires_in).toBeGreaterThanOrEqual(5);
  expect(answer.json.expires_in).toBeLessThan(600);
  expectUnguessable(uri.split(':').at(-1));
}

export interface Visiting {
  readonly client?: FapiClient;
  readonly browser?: TestBrowser;
  /** Beside `client_id` and `request_uri`. */
  readonly beside?: Record<string, string>;
  /** Where the person gives up. */
  readonly deny?: 'login' | 'consent';
}

/** Sends a browser with a reference, and does what the pages ask. */
export async function visit(op: Fapi, uri: string, visiting: Visiting = {}): Promise<Visit> {
  const { client = op.client, browser = op.browser(), beside = {}, deny } = visiting;
  const query = new URLSearchParams({ client_id: client.id, request_uri: uri, ...beside });
  let page = await browser.visit(`${op.metadata.authorization_endpoint}?${query}`);
  for (let pages = 0; page.location === undefined && pages < 3; pages += 1) {
    const { pathname } = new URL(page.url);
    if (pathname === '/login' && deny === 'login') page = await browser.submit(formTo(page, '/login/cancel'));
    else if (pathname === '/login') page = await signIn(browser, page);
    else if (pathname === '/consent') page = await decide(browser, page, deny === 'consent' ? 'deny' : 'allow');
    else break;
  }
  return page;
}

export type Response = Readonly<Record<string, unknown>>;

/** The response at the client's redirect URI, out of its JWT where the variant has one; whose it is and who sent it checked. */
export async function responseOf(op: Fapi, page: Visit, client: FapiClient = op.client): Promise<Response> {
  const { location } = page;
  if (location === undefined) throw new Error(`no response: ${page.status} ${page.url} ${page.body.slice(0, 3000)}`);
  const joint = client.redirectUri.includes('?') ? '&' : '?';
  expect(location.slice(0, client.redirectUri.length + 1)).toBe(client.redirectUri + joint);
  let response: Response = Object.fromEntries(new URLSearchParams(location.slice(client.redirectUri.length + 1)));
  if (op.variant.jarm) {
    expect(Object.keys(response)).toEqual(['response']);
    const { aud: _aud, exp, ...claims } = await verified(op, String(response.response), client);
    expect((exp ?? 0) - seconds(op)).toBeGreaterThan(10);
    expect((exp ?? 0) - seconds(op)).toBeLessThanOrEqual(600);
    response = claims;
  }
  const more = op.variant.profile === 'oauth21' ? ['session_state'] : [];
  const allowed = ['code', 'state', 'iss', 'error', 'error_description', ...more];
  expect(Object.keys(response).filter((name) => !allowed.includes(name))).toEqual([]);
  expect(response.iss).toBe(op.server.issuer);
  return response;
}

/** A page of ours that tells the error and leads nowhere. */
export function expectErrorPage(page: Visit, code: string): void {
  expect(page.location).toBeUndefined();
  expect(page.status).toBeGreaterThanOrEqual(400);
  expect(page.status).toBeLessThan(500);
  expect(page.headers.get('content-type')).toMatch(/^text\/html/);
  expect(page.body).toContain(code);
}

export interface Asked extends Pushed {
  readonly code: string;
  readonly response: Response;
}

/** From the push to the code. */
export async function getCode(op: Fapi, asking: Pushing & { visiting?: Visiting } = {}): Promise<Asked> {
  const { visiting, ...pushing } = asking;
  const { client = op.client } = pushing;
  const pushed = await push(op, pushing);
  expectPushed(pushed);
  const response = await responseOf(op, await visit(op, pushed.uri, { client, ...visiting }), client);
  expect(response).toMatchObject({ code: expect.any(String) });
  expect(response.state).toBe(pushed.sent.state);
  expectUnguessable(response.code);
  return { ...pushed, response, code: String(response.code) };
}

export interface Redeeming extends Sending {
  readonly verifier?: string | undefined;
  readonly fields?: Record<string, string>;
}

export function redeem(op: Fapi, { code, verifier }: Asked, redeeming: Redeeming = {}): Promise<Answer> {
  const { client = op.client, fields, ...sending } = redeeming;
  const proofOfCode = Object.hasOwn(redeeming, 'verifier') ? redeeming.verifier : verifier;
  const all = {
    grant_type: 'authorization_code',
    code,
    redirect_uri: client.redirectUri,
    ...(proofOfCode !== undefined && { code_verifier: proofOfCode }),
    ...fields,
  };
  return send(op, 'token_endpoint', all, { ...sending, client });
}

export interface Tokens {
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly claims: Readonly<Record<string, unknown>> | undefined;
}

/** A token response as the suite checks it. */
export async function checkTokens(
  op: Fapi,
  { status, headers, json }: Answer,
  { client = op.client, nonce }: { client?: FapiClient | undefined; nonce?: unknown } = {},
): Promise<Tokens> {
  expect({ status, json }).toMatchObject({ status: 200 });
  expect(headers.get('content-type')).toMatch(/^application\/json/);
  expect(headers.get('cache-control')).toContain('no-store');
  expect(json.token_type).toBe(op.variant.constraint === 'dpop' ? 'DPoP' : 'Bearer');
  expect(json.expires_in).toBeGreaterThan(0);
  expectUnguessable(json.access_token);
  expect(json.id_token !== undefined).toBe(op.variant.openid);
  expect(json.authorization_details).toEqual(op.variant.rar ? DETAILS : undefined);
  const claims = op.variant.openid ? await verified(op, String(json.id_token), client) : undefined;
  if (claims) {
    expect(claims.nonce).toBe(nonce);
    expect(claims.acr).toMatch(/./);
  }
  return { accessToken: String(json.access_token), refreshToken: String(json.refresh_token), claims };
}

/** The whole flow to tokens. */
export async function getTokens(op: Fapi, asking: Parameters<typeof getCode>[1] = {}): Promise<Asked & Tokens> {
  const { client } = asking;
  const asked = await getCode(op, asking);
  const answer = await redeem(op, asked, { ...(client && { client }) });
  return { ...asked, ...(await checkTokens(op, answer, { client, nonce: asked.sent.nonce })) };
}

export interface Using {
  readonly client?: FapiClient;
  readonly key?: ProofKey;
  /** The Authorization header's scheme. */
  readonly scheme?: string;
  /** Instead of the one good proof. */
  readonly proofs?: readonly string[];
  readonly proofOptions?: ProofOptions;
  readonly fetch?: typeof fetch;
  readonly headers?: Record<string, string>;
}

/** Uses a token at one of the resources, with the client's key or certificate. */
export async function use(op: Fapi, url: string, accessToken: string, using: Using = {}) {
  const { client = op.client, scheme, headers, fetch: fetcher = client.fetch } = using;
  const { key = client.proofKey, proofOptions } = using;
  const dpop = op.variant.constraint === 'dpop';
  const once = async () => {
    const good = async () => [await proof(op, key, 'GET', url, { accessToken, ...proofOptions })];
    const proofs = using.proofs ?? (dpop ? await good() : []);
    const response = await fetcher(url, {
      headers: {
        authorization: `${scheme ?? (dpop ? 'DPoP' : 'Bearer')} ${accessToken}`,
        ...(proofs.length > 0 && { dpop: (proofs.length > 1 ? proofs : proofs[0]) as string }),
        ...headers,
      },
    });
    keepNonce(op, 'GET', url, response);
    return { status: response.status, headers: response.headers, text: await response.text() };
  };
  const answer = await once();
  const wantsNonce = answer.status === 401 && answer.headers.get('www-authenticate')?.includes('"use_dpop_nonce"');
  return wantsNonce && using.proofs === undefined ? once() : answer;
}

/** Where tokens are used: the API, and userinfo with OpenID Connect. */
export function resources(op: Fapi): string[] {
  return [op.api.url, ...(op.variant.openid ? [endpoint(op, 'userinfo_endpoint')] : [])];
}
