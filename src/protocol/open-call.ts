/**
 * What of a call is open still: scope follows the call from its first token on, through every step, by the policies as they are now.
 * Whatever an operator takes away at one point is gone at all later ones, as it would be if the call were made again. In memory.
 */
import type { AllowedHop } from './call.ts';
import { type ExchangePolicies, type ExchangePolicy, mappedScope } from './exchange-policy.ts';

export interface OpenCall {
  /** What the last step could give still. */
  readonly scope: readonly string[];
  /** Where nothing was left, if anywhere: a step whose policy is gone or gives nothing of it any more, or the first token. */
  readonly lost:
    | { readonly why: 'gone' | 'narrowed'; readonly hop: AllowedHop }
    | { readonly why: 'first' }
    | undefined;
}

/** A step as it is kept: by this policy, with this scope. */
export function allowedHop(
  { name, clientId, target, createdAt }: ExchangePolicy,
  scope: readonly string[],
  from: AllowedHop['from'],
): AllowedHop {
  return {
    client: clientId,
    target,
    policy: name,
    policyCreatedAt: createdAt.getTime(),
    scope,
    ...(from && { from }),
  };
}

/**
 * @param hops at least one
 * @param openAtFirst what of the first token's scope is open still
 * @param isOffered whether the target of a step knows a scope still
 */
export function openCall(
  hops: readonly AllowedHop[],
  openAtFirst: (from: NonNullable<AllowedHop['from']>) => readonly string[],
  policies: ExchangePolicies,
  isOffered: (token: string, hop: AllowedHop) => boolean,
): OpenCall {
  const from = hops[0]?.from;
  if (!from) return { scope: [], lost: { why: 'first' } };
  let scope = openAtFirst(from);
  // A token without any scope may have been good for a step: policies for other domains' JWTs ask for none.
  if (scope.length === 0 && from.scope.length > 0) return { scope, lost: { why: 'first' } };
  for (const hop of hops) {
    const policy = policies.get(hop.policy);
    // Another policy of the same name revives nothing that ended with the one before.
    if (policy?.createdAt.getTime() !== hop.policyCreatedAt) return { scope: [], lost: { why: 'gone', hop } };
    const given = mappedScope(policy, scope);
    scope = hop.scope.filter((token) => given.includes(token) && isOffered(token, hop));
    if (scope.length === 0) return { scope, lost: { why: 'narrowed', hop } };
  }
  return { scope, lost: undefined };
}
