/** What operators do with trust domains: the verbs behind `gatehouse trust-domains`. */
import type { Sql } from '../postgres/database.ts';
import { policiesNaming } from '../postgres/exchange-policies.pg.ts';
import { findResource } from '../postgres/resources.pg.ts';
import { createTrustDomain, deleteTrustDomain, updateTrustDomain } from '../postgres/trust-domains.pg.ts';
import { isWebUri } from '../protocol/client.ts';
import { checkClientKeys } from '../protocol/client-keys.ts';
import type { Profile } from '../protocol/profile.ts';
import { isLoopback } from '../protocol/redirect-uri.ts';
import { type TrustDomainMetadata, trustDomainMetadata } from '../protocol/trust-domain.ts';
import { OperatorError, parse } from './input.ts';

export interface DomainRules {
  readonly profile: Profile;
  readonly issuer: string;
}

export interface TrustRules extends DomainRules {
  /** Tests only: keys may be fetched from this machine. */
  readonly allowLoopbackFetch: boolean;
}

/** @throws OperatorError naming the field that is wrong */
export async function addTrustDomain(
  database: Sql,
  input: unknown,
  rules: TrustRules,
  now: Date,
): Promise<TrustDomainMetadata> {
  const metadata = await checkTrustDomain(database, input, rules);
  if ((await createTrustDomain(database, metadata, now)) === 'taken')
    throw new OperatorError('issuer: is registered already');
  return metadata;
}

/**
 * Replaces a domain's metadata by what it was with `changes` laid over it (`null` removes a field).
 * @throws OperatorError naming the field that is wrong
 */
export async function changeTrustDomain(
  database: Sql,
  before: TrustDomainMetadata,
  changes: object,
  rules: TrustRules,
  now: Date,
): Promise<TrustDomainMetadata> {
  const merged = Object.entries({ ...before, ...changes }).filter(([, value]) => value !== null);
  const metadata = await checkTrustDomain(database, Object.fromEntries(merged), rules);
  if (metadata.issuer !== before.issuer) throw new OperatorError('issuer: cannot be changed');
  if ((await updateTrustDomain(database, metadata, now)) === 'unknown')
    throw new OperatorError('issuer: the domain was deleted meanwhile');
  return metadata;
}

/**
 * @returns `unknown` when there is none
 * @throws OperatorError naming the policies that lead from or to it
 */
export async function removeTrustDomain(database: Sql, issuer: string): Promise<'deleted' | 'unknown'> {
  await refuseWhileNamed(database, issuer, 'trust domain');
  return deleteTrustDomain(database, issuer);
}

/** What policies lead from or to stays while they do: what they allow must not end, or change its meaning, by the way. */
export async function refuseWhileNamed(database: Sql, name: string, what: string): Promise<void> {
  const policies = await policiesNaming(database, name);
  if (policies.length === 0) return;
  throw new OperatorError(
    `The ${what} is named by exchange policies (${policies.join(', ')}): delete them first, \`gatehouse exchange-policies delete\`.`,
  );
}

async function checkTrustDomain(database: Sql, input: unknown, rules: TrustRules): Promise<TrustDomainMetadata> {
  const { profile } = rules;
  const { signing_algs: chosen, ...metadata } = parse(trustDomainMetadata, input);
  const { issuer, jwks, jwks_uri } = metadata;
  if (issuer === rules.issuer) throw new OperatorError('issuer: is our own');
  // A policy says by one name where a token comes from: a JWT that names itself must not pass for a token for an API.
  if (await findResource(database, issuer)) throw new OperatorError('issuer: is registered as a resource');
  const problem = checkClientKeys({ jwks, jwks_uri });
  if (problem) throw new OperatorError(`${problem.field}: ${problem.why}`);
  if (jwks_uri !== undefined && !(isWebUri(jwks_uri) && isFetched(new URL(jwks_uri), rules.allowLoopbackFetch)))
    throw new OperatorError('jwks_uri: must be https on port 443 of a public host; give jwks instead');
  const asked = (input as { signing_algs?: unknown }).signing_algs !== undefined;
  const algs = chosen.filter((alg) => profile.clientSigningAlgs.includes(alg));
  if ((asked && algs.length < chosen.length) || algs.length === 0)
    throw new OperatorError(
      `signing_algs: holds one that is not in the profile (it has ${profile.clientSigningAlgs.join(', ')})`,
    );
  return { ...metadata, signing_algs: algs };
}

/** Whether it could be: what is refused when keys are needed is better told now (guarded-fetch.ts). */
function isFetched(url: URL, allowLoopback: boolean): boolean {
  return isLoopback(url) ? allowLoopback : url.protocol === 'https:' && url.port === '';
}
