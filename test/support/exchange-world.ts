/**
 * A call that goes on from API to API: alice (or a batch job) → web app → photos → storage → archive. Each API is a client with a secret,
 * and a twin that holds keys (private_key_jwt, DPoP). Every one of them may go on to every other API, so chains can be as long, and as
 * round, as a test wants them; narrower worlds are made by {@link ExchangeWorld.dropPolicy}.
 */
import { createExchangePolicy, deleteExchangePolicy } from '../../src/postgres/exchange-policies.pg.ts';
import { createTrustDomain } from '../../src/postgres/trust-domains.pg.ts';
import { exchangePolicyMetadata } from '../../src/protocol/exchange-policy.ts';
import { TOKEN_EXCHANGE } from '../../src/protocol/exchanges.ts';
import { trustDomainMetadata } from '../../src/protocol/trust-domain.ts';
import { query } from './attack-aftermath.ts';
import { post } from './browser.ts';
import { clientKey } from './client-key.ts';
import { codeFor, type FapiClient, redemption, type Sending, sendAs } from './fapi-world.ts';
import { type ProofKey, proofFor, proofKey } from './proof-key.ts';
import { heardOf, startTestServer, type TestServer, type TestServerOptions } from './server.ts';
import { type FlowOptions, getCode, PHOTOS, redeem, SPA_REDIRECT, STORAGE, WEB_REDIRECT, type World } from './world.ts';

export const ARCHIVE = 'https://archive.example';
export const APIS = { photos: PHOTOS, storage: STORAGE, archive: ARCHIVE } as const;
export type Api = keyof typeof APIS;
export type Format = 'jwt' | 'opaque';

const URN = 'urn:ietf:params:oauth:token-type:';
export const ACCESS_TOKEN = `${URN}access_token`;
export const ID_TOKEN = `${URN}id_token`;
export const JWT = `${URN}jwt`;

export interface SecretClient {
  readonly id: string;
  readonly secret: string;
}
/** Whoever asks: with a secret, or with a key and a proof of another one. */
export type Party = SecretClient | FapiClient;

export interface ExchangeWorld extends World {
  readonly archiveApi: SecretClient;
  /** The APIs by name: those with secrets, and those with keys. */
  readonly apis: Readonly<Record<Api, SecretClient>>;
  readonly keyed: Readonly<Record<Api, FapiClient>>;
  /** A web app that holds keys: its tokens are bound. */
  readonly app: FapiClient;
  /** One more policy; what it does not say is `read` to `read` at every depth. */
  policy(
    metadata: { name: string; client: string; source: string; target: string } & Record<string, unknown>,
  ): Promise<void>;
  dropPolicy(name: string): Promise<void>;
  trustDomain(metadata: { issuer: string } & Record<string, unknown>): Promise<void>;
  /** Another node with the same issuer. */
  secondNode(): Promise<TestServer>;
}

export interface ExchangeWorldOptions extends TestServerOptions {
  /** Of the tokens of each API; photos and archive take JWTs, storage opaque ones unless this says otherwise. */
  readonly formats?: Partial<Readonly<Record<Api, Format>>>;
  /** More members of the registration of each API. */
  readonly resources?: Partial<Readonly<Record<Api, Record<string, unknown>>>>;
}

const FORMATS: Readonly<Record<Api, Format>> = { photos: 'jwt', storage: 'opaque', archive: 'jwt' };
const NAMES = Object.keys(APIS) as Api[];
/** What APIs ask for as themselves. */
const NEXT: Readonly<Record<Api, Api>> = { photos: 'storage', storage: 'archive', archive: 'photos' };
const OWN = 'openid profile email offline_access';
const EVERYTHING = `${OWN} ${NAMES.flatMap((api) => [`${api}.read`, `${api}.write`]).join(' ')}`;

export async function startExchangeWorld(options: ExchangeWorldOptions = {}): Promise<ExchangeWorld> {
  const { formats = {}, resources = {}, ...server } = options;
  const started = await startTestServer(server);
  const { sql } = started.running.database;
  const { catalogue } = started.running.server;

  const keyedClient = async (id: string, metadata: Record<string, unknown>): Promise<FapiClient> => {
    const key = await clientKey('ES256', `${id}-key`);
    const redirectUri = `https://${id}.example/callback`;
    await started.client({
      client_id: id,
      client_name: id,
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [key.jwk] },
      ...metadata,
    });
    return { id, redirectUri, key, proof: await proofKey() };
  };
  const machine = (api: Api) => ({
    grant_types: ['client_credentials', TOKEN_EXCHANGE],
    scope: `${NEXT[api]}.read`,
  });
  const withSecret = (api: Api) =>
    started.client({ client_id: `${api}-api`, client_name: `${api} API`, ...machine(api) });
  const withKey = (api: Api) => keyedClient(`${api}-keyed`, { ...machine(api), dpop_bound_access_tokens: true });

  const apis = {
    photos: await withSecret('photos'),
    storage: await withSecret('storage'),
    archive: await withSecret('archive'),
  };
  const keyed = {
    photos: await withKey('photos'),
    storage: await withKey('storage'),
    archive: await withKey('archive'),
  };
  for (const api of NAMES)
    await started.resource({
      resource: APIS[api],
      name: api,
      scopes: { [`${api}.read`]: `Read your ${api}`, [`${api}.write`]: `Change your ${api}` },
      access_token_format: formats[api] ?? FORMATS[api],
      introspection_clients: [apis[api].id, keyed[api].id],
      ...resources[api],
    });

  const withCode = (redirectUri: string) => ({
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token', TOKEN_EXCHANGE],
    scope: EVERYTHING,
  });
  const web = await started.client({ client_id: 'web', client_name: 'Web', ...withCode(WEB_REDIRECT) });
  const spa = await started.client({
    client_id: 'spa',
    client_name: 'Spa',
    ...withCode(SPA_REDIRECT),
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'none',
  });
  const app = await keyedClient('app', { ...withCode('https://app.example/callback'), dpop_bound_access_tokens: true });
  const batch = await started.client({
    client_id: 'batch',
    client_name: 'Batch',
    grant_types: ['client_credentials'],
    scope: 'photos.read photos.write storage.read',
  });

  const world: ExchangeWorld = {
    ...started,
    web,
    spa,
    batch,
    app,
    apis,
    keyed,
    photosApi: apis.photos,
    storageApi: apis.storage,
    archiveApi: apis.archive,
    alice: await started.user({ username: 'alice', password: 'wonderland', claims: { name: 'Alice Liddell' } }),
    bob: await started.user({ username: 'bob', password: 'builder' }),
    async policy(metadata) {
      const scopes = mapping(metadata.source, metadata.target);
      const policy = exchangePolicyMetadata.parse({ scopes, ...metadata });
      const outcome = await createExchangePolicy(sql, policy, started.clock.now());
      if (outcome !== 'created') throw new Error(outcome);
      await heardOf(async () => (await catalogue.exchangePolicies()).get(policy.name) !== undefined);
    },
    async dropPolicy(name) {
      await deleteExchangePolicy(sql, name);
      await heardOf(async () => (await catalogue.exchangePolicies()).get(name) === undefined);
    },
    async trustDomain(metadata) {
      const domain = trustDomainMetadata.parse({ name: metadata.issuer, ...metadata });
      await createTrustDomain(sql, domain, started.clock.now());
      await heardOf(async () => (await catalogue.trustDomains()).has(domain.issuer));
    },
    secondNode: () =>
      startTestServer({
        ...server,
        databaseUrl: started.databaseUrl,
        clock: started.clock,
        env: { ...server.env, GATEHOUSE_ISSUER: started.issuer },
      }),
  };
  for (const from of NAMES) {
    for (const to of NAMES.filter((api) => api !== from)) {
      for (const { id } of [apis[from], keyed[from]])
        await world.policy({ name: `${id}-to-${to}`, client: id, source: APIS[from], target: APIS[to] });
    }
  }
  for (const { id } of [web, app]) {
    await world.policy({ name: `${id}-from-photos`, client: id, source: PHOTOS, target: STORAGE });
    const fromIdToken = { source: started.issuer, scopes: { openid: ['storage.read'] } };
    await world.policy({ name: `${id}-from-id-token`, client: id, target: STORAGE, ...fromIdToken });
  }
  return world;
}

/** `photos.read` gives `storage.read`, and so on; to and from anything else, reading. */
function mapping(source: string, target: string): Record<string, string[]> {
  const nameOf = (indicator: string) => NAMES.find((api) => APIS[api] === indicator);
  const [from, to] = [nameOf(source), nameOf(target)];
  if (!to) return { [from ? `${from}.read` : '*']: ['read'] };
  return from ? { [`${from}.read`]: [`${to}.read`], [`${from}.write`]: [`${to}.write`] } : { '*': [`${to}.read`] };
}

export interface Tokens {
  readonly access_token: string;
  readonly refresh_token: string;
  readonly id_token: string;
}

/** Alice's tokens at the web app, for the photos API unless the redemption says otherwise. */
export async function webTokens(
  world: ExchangeWorld,
  options: FlowOptions = {},
  extra: Record<string, string> = { resource: PHOTOS },
): Promise<Tokens & { readonly browser: Awaited<ReturnType<typeof getCode>>['browser'] }> {
  const flow = await getCode(world, { scope: 'openid photos.read photos.write', ...options });
  const { status, json, text } = await redeem(world, flow, 'web', extra);
  if (status !== 200) throw new Error(text);
  return { ...(json as unknown as Tokens), browser: flow.browser };
}

/** Alice's tokens at the app that holds keys: bound to its key. */
export async function appTokens(world: ExchangeWorld, scope = 'openid photos.read photos.write'): Promise<Tokens> {
  const flow = await codeFor(world, world.app, { fields: { scope } });
  const dpop = await proofFor(world, world.app.proof, TOKEN);
  const { status, json, text } = await sendAs(
    world,
    world.app,
    '/token',
    { ...redemption(world.app, flow), resource: PHOTOS },
    { dpop },
  );
  if (status !== 200) throw new Error(text);
  return json as unknown as Tokens;
}

/** A token of the batch job, which acts for nobody. */
export async function batchToken(world: ExchangeWorld, resource: string = PHOTOS): Promise<string> {
  const { json, text } = await post(
    `${world.issuer}/token`,
    { grant_type: 'client_credentials', resource },
    { basic: world.batch },
  );
  if (json.access_token === undefined) throw new Error(text);
  return String(json.access_token);
}

const TOKEN = ['POST', '/token'] as const;

export interface Asking extends Sending {
  /** Another key than the party's own; `null` for no proof. */
  readonly proof?: ProofKey | null;
}

/** Asks for a token for an API on the strength of another one; `undefined` removes a default, a list repeats a parameter. */
export async function exchange(
  world: TestServer,
  party: Party,
  subjectToken: string,
  fields: Record<string, string | readonly string[] | undefined>,
  { proof, at = world.issuer, ...sending }: Asking = {},
) {
  const given = Object.entries({
    grant_type: TOKEN_EXCHANGE,
    subject_token: subjectToken,
    subject_token_type: ACCESS_TOKEN,
    ...fields,
  }).flatMap(([name, value]) => [value ?? []].flat().map((one): [string, string] => [name, one]));
  if ('secret' in party) {
    const dpop = proof ? { dpop: await proofFor(world, proof, TOKEN) } : {};
    const body = new URLSearchParams(given).toString();
    return post(`${at}/token`, body, { basic: party, headers: { ...dpop, ...sending.headers } });
  }
  const dpop = proof === null ? undefined : await proofFor(world, proof ?? party.proof, TOKEN);
  return sendAs(world, party, '/token', Object.fromEntries(given), { dpop, at, ...sending });
}

/** One step that must succeed. */
export async function step(
  world: TestServer,
  party: Party,
  subjectToken: string,
  target: string,
  fields: Record<string, string> = {},
  asking: Asking = {},
): Promise<string> {
  const { status, json, text } = await exchange(world, party, subjectToken, { resource: target, ...fields }, asking);
  if (status !== 200) throw new Error(`${party.id} → ${target}: ${status} ${text}`);
  return String(json.access_token);
}

/** What an API is told about a token that is addressed to it. */
export async function introspected(world: TestServer, api: Party, token: string, at = world.issuer) {
  if ('secret' in api) return (await post(`${at}/token_info`, { token }, { basic: api })).json;
  return (await sendAs(world, api, '/token_info', { token }, { at })).json;
}

/** A step as it is kept. */
export interface StepRow {
  readonly id: string;
  readonly txn: string;
  readonly parent: string;
  readonly client_id: string;
  readonly subject: string;
  readonly user_id: string | null;
  readonly grant_id: string | null;
  readonly hops: readonly { client: string; target: string }[];
  readonly act: unknown;
  readonly origin: Record<string, unknown>;
  readonly policy: string | null;
  readonly source: string | null;
  readonly target: string;
  readonly scope: readonly string[];
  readonly issued_token_type: string | null;
  readonly refused: string | null;
  readonly times: number;
}

/** The steps of all calls so far, the oldest first. */
export function stepsOf(world: Pick<TestServer, 'databaseUrl'>): Promise<StepRow[]> {
  return query<StepRow>(
    world,
    `SELECT id, txn, parent, client_id, subject, user_id, grant_id, hops, act, origin, policy, source, target, scope, issued_token_type,
            refused, times
     FROM exchanges ORDER BY issued_at, id`,
  );
}
