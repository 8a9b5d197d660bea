/**
 * What operators do with exchange policies: the verbs behind `gatehouse exchange-policies`.
 *
 * A policy that is taken is one that can work: everything it names exists. It is checked when it is made and changed, not when it is
 * used; what goes later (a scope of an API, a grant of the client) is refused there, because nothing gives it any more.
 */
import { findClientRecord } from '../postgres/clients.pg.ts';
import type { Sql } from '../postgres/database.ts';
import { createExchangePolicy, readExchangePolicies, updateExchangePolicy } from '../postgres/exchange-policies.pg.ts';
import { findResource } from '../postgres/resources.pg.ts';
import { findTrustDomain } from '../postgres/trust-domains.pg.ts';
import { isPublic, toClient } from '../protocol/client.ts';
import { ANY_SCOPE, type ExchangePolicyMetadata, exchangePolicyMetadata } from '../protocol/exchange-policy.ts';
import { JWT_BEARER, TOKEN_EXCHANGE } from '../protocol/exchanges.ts';
import { type Profile, profileOf } from '../protocol/profile.ts';
import { toResource } from '../protocol/resource.ts';
import { holdsTokensFor, isItsApi, nothingHere } from './exchange-explanation.ts';
import { OperatorError, parse } from './input.ts';

export interface PolicyRules {
  readonly profile: Profile;
  readonly issuer: string;
}

const REFUSALS = {
  taken: 'name: is taken',
  pair_taken: 'target: another policy leads this client from this source to this target',
  no_client: 'client: there is no such client',
};

/** @throws OperatorError naming the field that is wrong */
export async function addExchangePolicy(
  database: Sql,
  input: unknown,
  rules: PolicyRules,
  now: Date,
): Promise<ExchangePolicyMetadata> {
  const metadata = await checkExchangePolicy(database, input, rules);
  const outcome = await createExchangePolicy(database, metadata, now);
  if (outcome !== 'created') throw new OperatorError(REFUSALS[outcome]);
  return metadata;
}

/**
 * Replaces a policy by what it was with `changes` laid over it (`null` removes a field). Whom it is for, from where and to where
 * stay: tokens that were made by it say its name, and would belong to another policy.
 * @throws OperatorError naming the field that is wrong
 */
export async function changeExchangePolicy(
  database: Sql,
  before: ExchangePolicyMetadata,
  changes: object,
  rules: PolicyRules,
  now: Date,
): Promise<ExchangePolicyMetadata> {
  const merged = Object.entries({ ...before, ...changes }).filter(([, value]) => value !== null);
  const metadata = parse(exchangePolicyMetadata, Object.fromEntries(merged));
  for (const field of ['name', 'client', 'source', 'target'] as const)
    if (metadata[field] !== before[field]) throw new OperatorError(`${field}: cannot be changed: make another policy`);
  await checkExchangePolicy(database, metadata, rules);
  if ((await updateExchangePolicy(database, metadata, now)) === 'unknown')
    throw new OperatorError('name: the policy was deleted meanwhile');
  return metadata;
}

/** What a policy does not say, and keeps some of its exchanges from being allowed, or all. */
export async function notesOnPolicy(
  database: Sql,
  { client: id, source }: ExchangePolicyMetadata,
  issuer: string,
): Promise<string[]> {
  const [record, metadata] = [await findClientRecord(database, id), await findResource(database, source)];
  if (!record || !metadata) return [];
  const [client, resource] = [toClient(record), toResource(metadata)];
  const { mayAct } = resource;
  const own = holdsTokensFor(resource, client, await readExchangePolicies(database));
  const isNamed = mayAct?.sub === id && (mayAct.iss ?? issuer) === issuer;
  return [
    ...(isItsApi(resource, client)
      ? []
      : [
          `${id} is not among the introspection_clients of ${source}: ${own ? 'only tokens that were issued to itself' : 'none of its tokens'} can be exchanged.`,
        ]),
    ...(mayAct && !isNamed
      ? [
          `may_act of ${source} names ${mayAct.sub}: ${id} can exchange its tokens only with an actor token of that party.`,
        ]
      : []),
  ];
}

async function checkExchangePolicy(database: Sql, input: unknown, rules: PolicyRules): Promise<ExchangePolicyMetadata> {
  const metadata = parse(exchangePolicyMetadata, input);
  const source = await partyOf(database, metadata.source, rules.issuer);
  const target = await partyOf(database, metadata.target, rules.issuer);
  await checkClient(database, metadata, source?.kind, target?.kind, rules.profile);
  checkSource(metadata, source, rules.issuer);
  checkTarget(metadata, target);
  return metadata;
}

interface Party {
  readonly kind: 'resource' | 'issuer' | 'domain';
  /** Of a resource. */
  readonly scopes: readonly string[];
}

/** What a name stands for. An API first: with it, a name that is more than one thing allows least. */
async function partyOf(database: Sql, name: string, issuer: string): Promise<Party | undefined> {
  const resource = await findResource(database, name);
  if (resource) return { kind: 'resource', scopes: Object.keys(resource.scopes) };
  if (name === issuer) return { kind: 'issuer', scopes: [] };
  return (await findTrustDomain(database, name)) && { kind: 'domain', scopes: [] };
}

async function checkClient(
  database: Sql,
  { client: id }: ExchangePolicyMetadata,
  source: Party['kind'] | undefined,
  target: Party['kind'] | undefined,
  profile: Profile,
): Promise<void> {
  const record = await findClientRecord(database, id);
  if (!record) throw new OperatorError(REFUSALS.no_client);
  const client = toClient(record);
  // Whoever has the id of a public client is that client.
  if (isPublic(client)) throw new OperatorError('client: is public: only one that authenticates may exchange tokens');
  const { name, clientAuthenticationMethods: methods } = profileOf(client, profile);
  if (!methods.some((method) => method === client.authenticationMethod))
    throw new OperatorError(
      `client: cannot authenticate: ${client.authenticationMethod} is not in the profile ${name}`,
    );
  const grants = [TOKEN_EXCHANGE, ...(source === 'domain' && target === 'resource' ? [JWT_BEARER] : [])];
  if (!grants.some((grant) => client.grantTypes.includes(grant)))
    throw new OperatorError(`client: is not registered for the grant ${grants.join(' or ')}`);
}

function checkSource({ scopes }: ExchangePolicyMetadata, source: Party | undefined, issuer: string): void {
  if (!source) throw new OperatorError(`source: ${nothingHere(issuer)}`);
  for (const scope of Object.keys(scopes)) {
    if (source.kind === 'resource' && scope === ANY_SCOPE)
      throw new OperatorError(`scopes.${ANY_SCOPE}: is for sources without scopes: name the scopes of the resource`);
    if (source.kind === 'resource' && !source.scopes.includes(scope))
      throw new OperatorError(`scopes.${scope}: is no scope of the source`);
    // What there was consent for, for an ID token to be.
    if (source.kind === 'issuer' && scope !== ANY_SCOPE && scope !== 'openid')
      throw new OperatorError(`scopes.${scope}: ID tokens have no scope but openid: name that, or ${ANY_SCOPE}`);
  }
}

function checkTarget({ scopes }: ExchangePolicyMetadata, target: Party | undefined): void {
  if (!target) throw new OperatorError('target: is no resource and no trust domain');
  if (target.kind === 'issuer') throw new OperatorError('target: is our own issuer: it takes no exchanged tokens');
  // What another domain's scopes are is that domain's to say.
  if (target.kind === 'domain') return;
  for (const [from, given] of Object.entries(scopes)) {
    const unknown = given.find((scope) => !target.scopes.includes(scope));
    if (unknown !== undefined) throw new OperatorError(`scopes.${from}: ${unknown} is no scope of the target`);
  }
}
