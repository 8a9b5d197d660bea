/**
 * A server that trusts another domain: `partner.example`, whose key is here, so that its assertions can be right, wrong or odd. The
 * client `courier` may bring them to the storage API (opaque tokens) and the photos API (JWTs), by a policy each.
 */
import { randomUUID } from 'node:crypto';
import { addExchangePolicy } from '../../src/operator/exchange-policies.ts';
import { addTrustDomain } from '../../src/operator/trust-domains.ts';
import { JWT_BEARER } from '../../src/protocol/exchanges.ts';
import { query } from './attack-aftermath.ts';
import { post } from './browser.ts';
import { type ClientKey, clientKey } from './client-key.ts';
import { heardOf, startTestServer, type TestServer, type TestServerOptions } from './server.ts';
import { PHOTOS, STORAGE, startWorld, type World } from './world.ts';

export const PARTNER = 'https://partner.example';
/** Trusted as well: what it signs is its own. */
export const RIVAL = 'https://rival.example';

export interface TrustWorld extends World {
  readonly partner: ClientKey;
  readonly rival: ClientKey;
  readonly courier: { id: string; secret: string };
  /** Another node with the same issuer. */
  secondNode(): Promise<TestServer>;
}

const rulesOf = ({ issuer, running }: TestServer) => ({
  issuer,
  profile: running.server.profile,
  allowLoopbackFetch: true,
});

export async function trustDomain(world: TestServer, domain: Record<string, unknown>): Promise<void> {
  const { issuer } = await addTrustDomain(world.running.database.sql, domain, rulesOf(world), world.clock.now());
  await heardOf(async () => (await world.running.server.catalogue.trustDomains()).has(issuer));
}

export async function exchangePolicy(world: TestServer, policy: Record<string, unknown>): Promise<void> {
  const { name } = await addExchangePolicy(world.running.database.sql, policy, rulesOf(world), world.clock.now());
  await heardOf(async () => (await world.running.server.catalogue.exchangePolicies()).get(name) !== undefined);
}

export async function startTrustWorld(options: TestServerOptions = {}): Promise<TrustWorld> {
  const world = await startWorld(options);
  const [partner, rival] = [await clientKey('ES256', 'partner-key'), await clientKey('ES256', 'rival-key')];
  await trustDomain(world, { issuer: PARTNER, name: 'Partner', jwks: { keys: [partner.jwk] } });
  await trustDomain(world, { issuer: RIVAL, name: 'Rival', jwks: { keys: [rival.jwk] } });
  const courier = await world.client({ client_id: 'courier', client_name: 'Courier', grant_types: [JWT_BEARER] });
  await exchangePolicy(world, {
    name: 'partner-storage',
    client: courier.id,
    source: PARTNER,
    target: STORAGE,
    scopes: { 'files.read': ['storage.read'] },
  });
  await exchangePolicy(world, {
    name: 'partner-photos',
    client: courier.id,
    source: PARTNER,
    target: PHOTOS,
    scopes: { 'pictures.read': ['photos.read'], 'pictures.write': ['photos.write'] },
    lifetime: 120,
  });
  const { issuer, databaseUrl, clock } = world;
  const env = { ...options.env, GATEHOUSE_ISSUER: issuer };
  const secondNode = () => startTestServer({ ...options, databaseUrl, clock, env });
  return { ...world, partner, rival, courier, secondNode };
}

export const now = (world: Pick<TestServer, 'clock'>) => Math.floor(world.clock.now().getTime() / 1000);

/** The claims of an assertion as they should be; `undefined` takes one away. */
export function grantClaims(
  world: Pick<TestServer, 'issuer' | 'clock'>,
  changes: Record<string, unknown> = {},
): Record<string, unknown> {
  const claims = {
    iss: PARTNER,
    sub: 'carol',
    aud: world.issuer,
    jti: randomUUID(),
    iat: now(world),
    exp: now(world) + 60,
    scope: 'files.read pictures.read',
  };
  return Object.fromEntries(Object.entries({ ...claims, ...changes }).filter(([, value]) => value !== undefined));
}

/** An assertion of the partner. */
export function grantOf(
  world: TrustWorld,
  changes: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
): Promise<string> {
  return world.partner.sign(grantClaims(world, changes), { typ: 'authorization-grant+jwt', ...header });
}

/** Presents an assertion, for the storage API where nothing else is said. */
export function present(
  world: TrustWorld,
  assertion: string,
  fields: Record<string, string> = {},
  { as = world.courier, at = world.issuer }: { as?: { id: string; secret: string }; at?: string } = {},
) {
  const form = { grant_type: JWT_BEARER, assertion, resource: STORAGE, ...fields };
  const given = Object.entries(form).filter(([, value]) => value !== '');
  return post(`${at}/token`, Object.fromEntries(given), { basic: as });
}

export interface StepRow {
  readonly id: string;
  readonly txn: string;
  readonly parent: string;
  readonly client_id: string;
  readonly subject: string;
  readonly hops: unknown;
  readonly act: unknown;
  readonly origin: unknown;
  readonly authentication: unknown;
  readonly policy: string | null;
  readonly source: string | null;
  readonly target: string;
  readonly scope: string[];
  readonly refused: string | null;
  readonly times: number;
}

/** What was recorded of a call, the first step first. */
export function stepsOf(world: { readonly databaseUrl: string }, txn: string): Promise<StepRow[]> {
  return query<StepRow>(
    world,
    `SELECT id, txn, parent, client_id, subject, hops, act, origin, authentication, policy, source, target, scope, refused, times
     FROM exchanges WHERE txn = $1 ORDER BY id`,
    [txn],
  );
}
