/** What tests of DPoP ask again and again: a bound token, and the answers of our endpoints to a proof. */
import { authorizePath, decide, pkce, post, responseOf, signIn, TestBrowser } from './browser.ts';
import { type ProofKey, type ProofOptions, proofFor } from './proof-key.ts';
import { getCode, SPA_REDIRECT, STORAGE, WEB_REDIRECT, type World } from './world.ts';

export const TOKEN = ['POST', '/token'] as const;
export const USERINFO = ['GET', '/userinfo'] as const;
export const PAR = ['POST', '/par'] as const;

/** A token request of the client that acts for itself, with these `DPoP` headers. */
export function askToken(world: World, proofs: readonly string[] | string, origin?: string) {
  const headers = { dpop: proofs, ...(origin !== undefined && { origin }) } as Record<string, string>;
  return post(
    `${world.issuer}/token`,
    { grant_type: 'client_credentials', resource: STORAGE },
    {
      basic: world.batch,
      headers,
    },
  );
}

export interface Bound {
  readonly access_token: string;
  readonly refresh_token: string;
  readonly token_type: string;
}

/** Tokens of alice for a client, bound to a key. */
export async function boundTokens(
  world: World,
  key: ProofKey,
  client: 'web' | 'spa' = 'web',
  scope = 'openid',
): Promise<Bound> {
  const flow = await getCode(world, { client, scope });
  const { status, json, text } = await redeemWith(world, flow, key, client);
  if (status !== 200) throw new Error(text);
  return json as unknown as Bound;
}

export async function redeemWith(
  world: World,
  flow: { code: string; verifier: string },
  key: ProofKey | undefined,
  client: 'web' | 'spa' = 'web',
  proof = key && proofFor(world, key, TOKEN),
) {
  const fields = {
    grant_type: 'authorization_code',
    code: flow.code,
    code_verifier: flow.verifier,
    redirect_uri: client === 'web' ? WEB_REDIRECT : SPA_REDIRECT,
  };
  const headers = proof ? { dpop: await proof } : {};
  return client === 'web'
    ? post(`${world.issuer}/token`, fields, { basic: world.web, headers })
    : post(`${world.issuer}/token`, { ...fields, client_id: world.spa.id }, { headers });
}

export async function refreshWith(
  world: World,
  refreshToken: string,
  key: ProofKey | undefined,
  client: 'web' | 'spa' = 'web',
  proof = key && proofFor(world, key, TOKEN),
) {
  const fields = { grant_type: 'refresh_token', refresh_token: refreshToken };
  const headers = proof ? { dpop: await proof } : {};
  return client === 'web'
    ? post(`${world.issuer}/token`, fields, { basic: world.web, headers })
    : post(`${world.issuer}/token`, { ...fields, client_id: world.spa.id }, { headers });
}

/** Userinfo with a token and a good proof of this key, but for what the options change. */
export async function askUserinfo(world: World, token: string, key: ProofKey, options: ProofOptions = {}) {
  const proof = await proofFor(world, key, USERINFO, { accessToken: token, ...options });
  return fetch(`${world.issuer}/userinfo`, { headers: { authorization: `DPoP ${token}`, dpop: proof } });
}

export interface Push {
  readonly fields?: Record<string, string | undefined>;
  readonly client?: { readonly id: string; readonly secret: string };
  readonly headers?: Record<string, string>;
}

/** Pushes a request of the web client, or of another one; `undefined` removes a default. */
export async function push(world: World, { fields = {}, client = world.web, headers = {} }: Push = {}) {
  const { verifier, challenge } = pkce();
  const given = Object.entries({
    response_type: 'code',
    redirect_uri: WEB_REDIRECT,
    scope: 'openid photos.read',
    state: 'af0ifjsldkj',
    code_challenge: challenge,
    code_challenge_method: 'S256',
    ...(client.secret === '' && { client_id: client.id }),
    ...fields,
  }).filter((pair): pair is [string, string] => pair[1] !== undefined);
  const answer = await post(`${world.issuer}/par`, Object.fromEntries(given), {
    ...(client.secret !== '' && { basic: client }),
    headers,
  });
  return { ...answer, verifier, uri: String(answer.json.request_uri) };
}

/** The address a browser is sent to with a pushed request. */
export function pushedPath(requestUri: string, clientId = 'web', beside: Record<string, string> = {}): string {
  const bare = { response_type: undefined, state: undefined, code_challenge_method: undefined };
  return authorizePath({ ...bare, client_id: clientId, request_uri: requestUri, ...beside });
}

/** Sends a browser there and through sign-in and consent, where they are asked for. */
export async function follow(world: World, path: string, browser = new TestBrowser(world)) {
  let page = await browser.visit(path);
  if (page.url.includes('/login')) page = await signIn(browser, page);
  if (page.url.includes('/consent')) page = await decide(browser, page);
  return { page, browser, answer: page.location === undefined ? undefined : responseOf(page) };
}
