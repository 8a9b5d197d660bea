/**
 * Whether an exchange is to be, all tokens read: RFC 8693 §2.2.2, §4.4, §5.
 *
 *   subject_token ─▶ actor_token ─▶ authentication ─▶ possession ─▶ policy … scope (exchange-decision.ts) ─▶ target
 *
 * The first rule that does not hold refuses, and is named in the log and in the record. The caller is told only what it could know:
 * of a token that is not its own, nothing.
 */
import type { Actor } from '../../protocol/call.ts';
import { hasSecret } from '../../protocol/client.ts';
import { confirms } from '../../protocol/confirmation.ts';
import { type ErrorCode, OAuthError } from '../../protocol/errors.ts';
import { decide, type Rule as PolicyRule } from '../../protocol/exchange-decision.ts';
import type { ExchangePolicies, ExchangePolicy } from '../../protocol/exchange-policy.ts';
import type { TokenRequest } from '../../protocol/feature.ts';
import type { Resource } from '../../protocol/resource.ts';
import type { TrustDomain } from '../../protocol/trust-domain.ts';
import type { ActorToken } from './actor-token.ts';
import type { ExchangeRequest } from './request.ts';
import type { SubjectToken } from './subject-token.ts';

type Rule = 'subject_token' | 'actor_token' | 'authentication' | 'possession' | 'target' | PolicyRule;

const TOLD: Readonly<Record<Rule, string>> = {
  subject_token: 'The subject token is not good, or not for this client to exchange.',
  actor_token: 'The actor token is not good, or not for this client to show.',
  authentication: 'A bound token is exchanged only by a client that authenticates with a key.',
  possession: 'A bound token is exchanged only with a proof of possession.',
  policy: 'No exchange towards this target is open to this client.',
  depth: 'The call has gone through too many hands.',
  loop: 'The call came this way before.',
  may_act: 'The subject token lets somebody else act.',
  scope: 'The scope goes beyond what this exchange gives.',
  target: 'The target does not take what is asked for.',
};

/** A rule that did not hold. */
export class Refused extends OAuthError {
  readonly rule: Rule;
  /** The audience of the subject token that counted, where it came to that. */
  readonly source: string | undefined;

  constructor(rule: Rule, code: ErrorCode = 'invalid_request', source?: string) {
    super(code, TOLD[rule]);
    this.rule = rule;
    this.source = source;
  }
}

export interface Asked extends ExchangeRequest {
  readonly subjectToken: SubjectToken;
  /** `null` where the one that was shown is not good. */
  readonly actorToken: ActorToken | null | undefined;
}

/** What is known of the target: at most one of the two. */
export interface Destination {
  readonly resource: Resource | undefined;
  readonly domain: TrustDomain | undefined;
}

export interface Allowed {
  readonly policy: ExchangePolicy;
  readonly scope: readonly string[];
  /** Who acts from now on. */
  readonly actor: Actor;
}

/** @throws Refused by the first rule that does not hold */
export function judge(
  asked: Asked,
  destination: Destination,
  { client, possession }: Pick<TokenRequest, 'client' | 'possession'>,
  policies: ExchangePolicies,
  issuer: string,
): Allowed {
  const { subjectToken, actorToken, target, scope } = asked;
  const { story, sources, held, mayAct, cnf, limitedTo } = subjectToken;
  if (!held && sources.length === 0) throw new Refused('subject_token');
  if (actorToken === null) throw new Refused('actor_token');
  // Bound stays bound, to the caller's own key; a key it shares with us would prove nothing (FAPI 2.0 SP §5.3.2.1-6).
  if ((cnf || actorToken?.cnf) && hasSecret(client)) throw new Refused('authentication');
  if (cnf && !(held ? confirms(possession, cnf) : possession)) throw new Refused('possession');
  if (actorToken?.cnf && !confirms(possession, actorToken.cnf)) throw new Refused('possession');

  const actor = actorToken?.actor ?? { sub: client.id };
  const decision = decide(
    {
      clientId: client.id,
      actor,
      audience: sources,
      subjectScope: subjectToken.scope,
      mayAct,
      target,
      scope,
      offered: destination.resource && Object.keys(destination.resource.scopes),
      hops: story.hops,
      issuer,
    },
    policies,
  );
  if (!decision.allowed) throw new Refused(decision.rule, decision.error, decision.policy?.source);
  const { policy } = decision;
  if (!isThere(destination) || limitedTo?.includes(target) === false)
    throw new Refused('target', 'invalid_target', policy.source);
  if (!takes(destination, asked.requestedType)) throw new Refused('target', 'invalid_request', policy.source);
  return { policy, scope: decision.scope, actor };
}

/** A policy may name what an operator has removed since. */
export function isThere({ resource, domain }: Destination): boolean {
  return resource !== undefined || domain !== undefined;
}

/** What is given is the target's to say (RFC 8693 §2.1): another domain takes a JWT, an API what it is registered for. */
function takes({ resource }: Destination, type: ExchangeRequest['requestedType']): boolean {
  if (type === undefined) return true;
  return type === 'jwt' ? resource?.accessTokenFormat !== 'opaque' : resource !== undefined;
}
