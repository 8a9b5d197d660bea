/**
 * Exchange policies: who may act on tokens for which API towards which other one, as data (RFC 8693 §2.1, §5; RFC 8707 §3). What no policy
 * allows is refused. A policy maps scopes: what the subject token carries decides what can be had at the target, so what a person
 * consented to stays the outer bound, however long the chain.
 */
import { z } from 'zod';
import { DEEPEST } from './call.ts';
import { isScopeToken } from './scope.ts';

/** In `scopes`: whatever the subject token carries. Only for sources whose tokens have no scopes: ID tokens, other domains' JWTs. */
export const ANY_SCOPE = '*';

export const exchangePolicyMetadata = z.strictObject({
  /** Its name in logs and stories. */
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,99}$/, 'must be up to 100 lower-case letters, digits and hyphens'),
  /** Who asks. */
  client: z.string().min(1).max(100),
  /** What the subject token is addressed to: an API; our issuer, for ID tokens; a trust domain's issuer, for its JWTs. */
  source: z.string().min(1).max(1000),
  /** An API, or the issuer of a trust domain, which then gets a JWT authorization grant. */
  target: z.string().min(1).max(1000),
  /** Scope at the source → scopes that it gives at the target. */
  scopes: z
    .record(z.string(), z.array(z.string().refine(isScopeToken, 'has characters outside RFC 6749 §3.3')).min(1).max(50))
    .refine((scopes) => Object.keys(scopes).length > 0, 'must not be empty')
    .refine(
      (scopes) => Object.keys(scopes).every((name) => name === ANY_SCOPE || isScopeToken(name)),
      'has characters outside RFC 6749 §3.3',
    ),
  /** RFC 8693 §1.1. Under impersonation the target does not see who acts; the story of the call does. */
  mode: z.enum(['delegation', 'impersonation']).default('delegation'),
  /** Steps a call may have had, this one included. */
  max_depth: z.number().int().min(1).max(DEEPEST).default(DEEPEST),
  /** Seconds at most; never longer than the subject token lives. */
  lifetime: z.number().int().min(10).max(300).default(300),
});

export type ExchangePolicyMetadata = z.infer<typeof exchangePolicyMetadata>;

export interface ExchangePolicy {
  readonly name: string;
  readonly clientId: string;
  readonly source: string;
  readonly target: string;
  readonly scopes: Readonly<Record<string, readonly string[]>>;
  readonly mode: 'delegation' | 'impersonation';
  readonly maxDepth: number;
  /** Seconds. */
  readonly lifetime: number;
  /** Changes leave it: with its name it says which policy this is. */
  readonly createdAt: Date;
}

export function toExchangePolicy(
  { client, max_depth, ...rest }: ExchangePolicyMetadata,
  createdAt: Date,
): ExchangePolicy {
  return { ...rest, clientId: client, maxDepth: max_depth, createdAt };
}

/** All policies of the deployment, by name and by client. */
export class ExchangePolicies {
  readonly #byName: ReadonlyMap<string, ExchangePolicy>;
  readonly #byClient = new Map<string, ExchangePolicy[]>();

  constructor(all: readonly ExchangePolicy[]) {
    this.#byName = new Map(all.map((policy) => [policy.name, policy]));
    for (const policy of all) this.#byClient.set(policy.clientId, [...this.of(policy.clientId), policy]);
  }

  get(name: string): ExchangePolicy | undefined {
    return this.#byName.get(name);
  }

  /** Those of one client, in the order of their names. */
  of(clientId: string): readonly ExchangePolicy[] {
    return this.#byClient.get(clientId) ?? [];
  }
}

/** What a policy gives at its target to a token that carries `scope` at its source, each once, in the policy's order. */
export function mappedScope(policy: ExchangePolicy, scope: readonly string[]): string[] {
  return [
    ...new Set(
      Object.entries(policy.scopes).flatMap(([from, to]) => (from === ANY_SCOPE || scope.includes(from) ? to : [])),
    ),
  ];
}
