/**
 * A server under a FAPI profile, with alice, bob, an API for each form of token, and clients that hold keys: the honest `app`,
 * and `evil`, registered just as well. Everybody's requests can be sent right, wrong or with somebody else's things.
 */
import { randomUUID } from 'node:crypto';
import type { JWTHeaderParameters } from 'jose';
import { decide, pkce, post, responseOf, signIn, TestBrowser, type Visit } from './browser.ts';
import { type ClientKey, clientKey } from './client-key.ts';
import { pushedPath } from './dpop-world.ts';
import { type ProofKey, proofFor, proofKey } from './proof-key.ts';
import { startTestServer, type TestServer } from './server.ts';

export const PHOTOS = 'https://photos.example';
export const STORAGE = 'https://storage.example';

export interface FapiClient {
  readonly id: string;
  readonly redirectUri: string;
  readonly key: ClientKey;
  /** What its tokens are bound to. */
  readonly proof: ProofKey;
}

export interface FapiWorld extends TestServer {
  readonly app: FapiClient;
  readonly evil: FapiClient;
  readonly photosApi: FapiClient;
  readonly alice: string;
  readonly bob: string;
  /** One more client like `app`. */
  fapiClient(id: string, metadata?: Record<string, unknown>, key?: ClientKey): Promise<FapiClient>;
  /** Another node with the same issuer. */
  secondNode(): Promise<TestServer>;
}

export async function startFapiWorld(
  profile = 'fapi2-security',
  env: Record<string, string> = {},
  more: Record<string, unknown> = {},
): Promise<FapiWorld> {
  const server = await startTestServer({ env: { GATEHOUSE_PROFILE: profile, ...env } });
  const { issuer, databaseUrl, clock } = server;
  const fapiClient: FapiWorld['fapiClient'] = async (id, metadata = {}, key) => {
    const own = key ?? (await clientKey('ES256', `${id}-key`));
    const redirectUri = `https://${id}.example/callback`;
    await server.client({
      client_id: id,
      client_name: id,
      redirect_uris: [redirectUri],
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [own.jwk] },
      scope: 'openid profile email photos.read storage.read',
      ...more,
      ...metadata,
    });
    return { id, redirectUri, key: own, proof: await proofKey() };
  };
  const apiOnly = { redirect_uris: [], grant_types: [], scope: '' };
  const photosApi = await fapiClient('photos-api', apiOnly);
  const resources = [
    [PHOTOS, 'photos.read', 'jwt'],
    [STORAGE, 'storage.read', 'opaque'],
  ] as const;
  for (const [resource, scope, access_token_format] of resources)
    await server.resource({
      resource,
      name: new URL(resource).hostname,
      scopes: { [scope]: `Use ${scope}` },
      access_token_format,
      introspection_clients: ['photos-api'],
    });
  return {
    ...server,
    photosApi,
    app: await fapiClient('app'),
    evil: await fapiClient('evil'),
    alice: await server.user({ username: 'alice', password: 'wonderland', claims: { name: 'Alice Liddell' } }),
    bob: await server.user({ username: 'bob', password: 'builder' }),
    fapiClient,
    secondNode: () =>
      startTestServer({ databaseUrl, clock, env: { GATEHOUSE_PROFILE: profile, GATEHOUSE_ISSUER: issuer, ...env } }),
  };
}

export const seconds = (world: Pick<TestServer, 'clock'>) => Math.floor(world.clock.now().getTime() / 1000);

/** The claims of a client assertion as they should be; `undefined` takes one away. */
export function assertionClaims(
  world: Pick<TestServer, 'issuer' | 'clock'>,
  client: Pick<FapiClient, 'id'>,
  changes: Record<string, unknown> = {},
): Record<string, unknown> {
  const now = seconds(world);
  const claims = { iss: client.id, sub: client.id, aud: world.issuer, jti: randomUUID(), iat: now, exp: now + 60 };
  return Object.fromEntries(Object.entries({ ...claims, ...changes }).filter(([, value]) => value !== undefined));
}

export function assertionOf(
  world: Pick<TestServer, 'issuer' | 'clock'>,
  client: Pick<FapiClient, 'id' | 'key'>,
  changes: Record<string, unknown> = {},
  header: Partial<JWTHeaderParameters> & Record<string, unknown> = {},
): Promise<string> {
  return client.key.sign(assertionClaims(world, client, changes), header);
}

export interface Sending {
  /** Instead of a fresh one of the client. */
  readonly assertion?: string;
  /** The DPoP proof, where there is to be one. */
  readonly dpop?: string | undefined;
  /** A node. */
  readonly at?: string;
  readonly headers?: Record<string, string>;
}

/** A form of a client that authenticates with its key. */
export async function sendAs(
  world: TestServer,
  client: Pick<FapiClient, 'id' | 'key'>,
  path: string,
  fields: Record<string, string | undefined>,
  { assertion, dpop, at = world.issuer, headers = {} }: Sending = {},
) {
  const form = {
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: assertion ?? (await assertionOf(world, client)),
    ...fields,
  };
  const given = Object.entries(form).filter((pair): pair is [string, string] => pair[1] !== undefined);
  return post(at + path, Object.fromEntries(given), { headers: { ...headers, ...(dpop !== undefined && { dpop }) } });
}

/** Pushes the client's authorization request. */
export async function pushAs(
  world: TestServer,
  client: FapiClient,
  fields: Record<string, string | undefined> = {},
  sending: Sending = {},
) {
  const { verifier, challenge } = pkce();
  const asked = {
    response_type: 'code',
    redirect_uri: client.redirectUri,
    scope: 'openid photos.read',
    state: 'af0ifjsldkj',
    code_challenge: challenge,
    code_challenge_method: 'S256',
    ...fields,
  };
  const answer = await sendAs(world, client, '/par', asked, sending);
  return { ...answer, verifier, uri: String(answer.json.request_uri) };
}

export type Person = readonly [username: string, password: string];
export const ALICE: Person = ['alice', 'wonderland'];
export const BOB: Person = ['bob', 'builder'];

/** Sends a browser on a client's behalf and through sign-in and consent, where they are asked for. */
export async function goThrough(
  browser: TestBrowser,
  path: string,
  who: Person = ALICE,
  decision: 'allow' | 'deny' = 'allow',
): Promise<Visit> {
  let page = await browser.visit(path);
  if (page.url.includes('/login')) page = await signIn(browser, page, ...who);
  if (page.url.includes('/consent')) page = await decide(browser, page, decision);
  return page;
}

export interface Flow {
  readonly code: string;
  readonly verifier: string;
  readonly uri: string;
  readonly browser: TestBrowser;
}

/** A code of a person for a client. */
export async function codeFor(
  world: TestServer,
  client: FapiClient,
  {
    who = ALICE,
    fields = {},
    sending = {},
    browser = new TestBrowser(world),
  }: {
    readonly who?: Person;
    readonly fields?: Record<string, string | undefined>;
    readonly sending?: Sending;
    readonly browser?: TestBrowser;
  } = {},
): Promise<Flow> {
  const { uri, verifier, text } = await pushAs(world, client, fields, sending);
  const page = await goThrough(browser, pushedPath(uri, client.id), who);
  const code = responseOf(page).get('code');
  if (code === null) throw new Error(`no code: ${page.location} ${text}`);
  return { code, verifier, uri, browser };
}

/** A token request with a proof by the client's key, or by another one. */
export async function askTokens(
  world: TestServer,
  client: FapiClient,
  fields: Record<string, string | undefined>,
  { proof = client.proof, ...sending }: Sending & { readonly proof?: ProofKey } = {},
) {
  return sendAs(world, client, '/token', fields, {
    dpop: await proofFor(world, proof, ['POST', '/token']),
    ...sending,
  });
}

export function redemption(client: FapiClient, { code, verifier }: Pick<Flow, 'code' | 'verifier'>) {
  return { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: client.redirectUri };
}

export function redeemAs(
  world: TestServer,
  client: FapiClient,
  flow: Pick<Flow, 'code' | 'verifier'>,
  sending: Sending & { readonly proof?: ProofKey } = {},
) {
  return askTokens(world, client, redemption(client, flow), sending);
}

export interface FapiTokens {
  readonly access_token: string;
  readonly refresh_token: string;
  readonly id_token: string;
}

/** The whole flow: tokens of a person for a client, bound to its key. */
export async function tokensFor(
  world: TestServer,
  client: FapiClient,
  options: Parameters<typeof codeFor>[2] = {},
): Promise<FapiTokens> {
  const { status, json, text } = await redeemAs(world, client, await codeFor(world, client, options));
  if (status !== 200) throw new Error(text);
  return json as unknown as FapiTokens;
}

/** Userinfo with exactly these headers. */
export async function userinfoWith(world: TestServer, headers: Record<string, string>) {
  const response = await fetch(`${world.issuer}/userinfo`, { headers });
  const text = await response.text();
  const json = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {};
  return { status: response.status, json, headers: response.headers };
}

/** Userinfo as the holder of the key asks. */
export async function userinfoAs(world: TestServer, token: string, key: ProofKey) {
  const dpop = await proofFor(world, key, ['GET', '/userinfo'], { accessToken: token });
  return userinfoWith(world, { authorization: `DPoP ${token}`, dpop });
}

/** What an API is told about a token. */
export async function introspectAs(world: TestServer, client: Pick<FapiClient, 'id' | 'key'>, token: string) {
  return (await sendAs(world, client, '/token_info', { token })).json;
}

/** The claims of a JWT, unverified. */
export function claimsOf(jwt: string, part: 0 | 1 = 1): Record<string, unknown> {
  return JSON.parse(Buffer.from(jwt.split('.')[part] ?? '', 'base64url').toString()) as Record<string, unknown>;
}
