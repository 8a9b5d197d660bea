/** What operators do with resources (APIs): the verbs behind `gatehouse resources` and the demo data. */
import type { Sql } from '../postgres/database.ts';
import { createResource, deleteResource, updateResource } from '../postgres/resources.pg.ts';
import { findTrustDomain } from '../postgres/trust-domains.pg.ts';
import type { Profile } from '../protocol/profile.ts';
import { type ResourceMetadata, resourceMetadata } from '../protocol/resource.ts';
import { OperatorError, parse } from './input.ts';
import { type DomainRules, refuseWhileNamed } from './trust-domains.ts';

const TAKEN = {
  scope_taken: 'scopes: a scope name belongs to another resource already',
  type_taken: 'authorization_details_types: a type belongs to another resource already',
};

/** @throws OperatorError naming the field that is wrong */
export function checkResource(input: unknown, profile: Profile): ResourceMetadata {
  const metadata = parse(resourceMetadata, input);
  if (metadata.signing_alg !== undefined && !profile.signingAlgs.includes(metadata.signing_alg)) {
    throw new OperatorError('signing_alg: is not in the profile');
  }
  return metadata;
}

/** @throws OperatorError naming the field that is wrong */
export async function registerResource(
  database: Sql,
  input: unknown,
  { profile, issuer }: DomainRules,
  now: Date,
): Promise<ResourceMetadata> {
  const metadata = checkResource(input, profile);
  // Policies mean our ID tokens by it, and every token with `openid` is addressed to it.
  if (metadata.resource === issuer) throw new OperatorError('resource: is the issuer');
  // A policy says by one name where a token comes from: a JWT that names its issuer must not pass for a token for an API.
  if (await findTrustDomain(database, metadata.resource)) throw new OperatorError('resource: is a trust domain');
  const outcome = await createResource(database, metadata, now);
  if (outcome === 'taken') throw new OperatorError('resource: is registered already');
  if (outcome !== 'created') throw new OperatorError(TAKEN[outcome]);
  return metadata;
}

/** @throws OperatorError naming the field that is wrong */
export async function changeResource(
  database: Sql,
  before: ResourceMetadata,
  changes: object,
  profile: Profile,
  now: Date,
): Promise<ResourceMetadata> {
  const merged = Object.entries({ ...before, ...changes }).filter(([, value]) => value !== null);
  const metadata = checkResource(Object.fromEntries(merged), profile);
  if (metadata.resource !== before.resource) throw new OperatorError('resource: cannot be changed');
  const outcome = await updateResource(database, metadata, now);
  if (outcome === 'scope_taken' || outcome === 'type_taken') throw new OperatorError(TAKEN[outcome]);
  return metadata;
}

/**
 * @returns `unknown` when there is none
 * @throws OperatorError naming the exchange policies that lead from or to it
 */
export async function removeResource(database: Sql, resource: string): Promise<'deleted' | 'unknown'> {
  await refuseWhileNamed(database, resource, 'resource');
  return deleteResource(database, resource);
}
