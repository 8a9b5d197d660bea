/**
 * Whether an exchange is to be, all tokens read: RFC 8693 §2.2.2, §4.4, §5.
 *
 *   subject_token ─▶ actor_token ─▶ authentication ─▶ possession ─▶ policy … scope (exchange-decision.ts) ─▶ target
 *
 * The first rule that does not hold refuses, and is named in the log and in the record. The caller is told only what it could know:
 * of a token that is not its own, nothing.
 */
import type { Actor, Hop } from '../../protocol/call.ts';
import { type Client, hasSecret } from '../../protocol/client.ts';
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

  constructor(rule: Rule, code: ErrorCode = 'invalid_request', source?: string | undefined) {
    super(code, TOLD[rule]);
    this.rule = rule;
    this.source = source;
  }
}

/** What cannot be known without the request itself, or of a token that is only supposed. */
type NotAsked = 'not asked';

/** One rule that was asked, in words for an operator. */
export interface Finding {
  readonly rule: Rule;
  readonly holds: boolean | NotAsked;
  readonly why: string;
}

/** A token as it was read, or supposed. */
type Judged<Token, Unknown extends keyof Token> = {
  readonly [Field in keyof Token]: Field extends Unknown ? Token[Field] | NotAsked : Token[Field];
};
export type JudgedSubject = Judged<
  Pick<SubjectToken, 'sources' | 'held' | 'scope' | 'mayAct' | 'cnf' | 'limitedTo'> & {
    readonly story: { readonly hops: readonly Hop[] };
  },
  'cnf' | 'limitedTo'
>;
type JudgedActor = Judged<{ readonly actor: Actor } & Pick<ActorToken, 'cnf'>, 'cnf'>;

export interface Asked extends Pick<ExchangeRequest, 'target' | 'scope' | 'requestedType'> {
  readonly subjectToken: JudgedSubject;
  readonly actorToken: JudgedActor | 'not good' | undefined;
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

type Judgement = { readonly findings: readonly Finding[] } & (
  | ({ readonly allowed: true } & Allowed)
  | {
      readonly allowed: false;
      /** The first that does not hold, and what its caller is told. */
      readonly rule: Rule;
      readonly error: ErrorCode;
      /** The policy that counted, where it came to that. */
      readonly policy: ExchangePolicy | undefined;
    }
);

/**
 * Asks every rule in its order, up to the first that does not hold. Pure: `/token` throws what comes of it as {@link Refused}, and
 * `gatehouse exchange-policies test` shows it.
 * @param caller its `possession` is the key that the request proves, where there is a request
 */
export function judge(
  asked: Asked,
  destination: Destination,
  caller: { readonly client: Client; readonly possession: TokenRequest['possession'] | NotAsked },
  policies: ExchangePolicies,
  issuer: string,
): Judgement {
  const { subjectToken, actorToken, target, scope } = asked;
  const { client } = caller;
  const findings: Finding[] = [];
  const refuse = (rule: Rule, error: ErrorCode, why: string, policy?: ExchangePolicy): Judgement => {
    findings.push({ rule, holds: false, why });
    return { findings, allowed: false, rule, error, policy };
  };

  const { story, sources, held, mayAct, limitedTo } = subjectToken;
  if (!held && sources.length === 0)
    return refuse(
      'subject_token',
      'invalid_request',
      `the token is neither ${client.id}'s own nor for an API that has it among its introspection_clients`,
    );
  const forWhat = sources.length > 0 ? `as one for ${sources.join(' and ')}` : 'as its own';
  findings.push({ rule: 'subject_token', holds: true, why: `${client.id} may exchange the token ${forWhat}` });
  if (actorToken === 'not good')
    return refuse('actor_token', 'invalid_request', `the actor token is not good, or not ${client.id}'s own`);
  if (actorToken) {
    const holds = actorToken.cnf === 'not asked' ? actorToken.cnf : true;
    findings.push({
      rule: 'actor_token',
      holds,
      why: `an actor token of ${client.id} says that ${actorToken.actor.sub} acts`,
    });
  }

  for (const finding of ofKeys(subjectToken, actorToken, caller)) {
    if (finding.holds === false) return refuse(finding.rule, 'invalid_request', finding.why);
    findings.push(finding);
  }

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
  findings.push(...decision.findings);
  if (!decision.allowed) {
    const { rule, error, policy } = decision;
    return { findings, allowed: false, rule, error, policy };
  }

  const { policy } = decision;
  if (!isThere(destination)) return refuse('target', 'invalid_target', `${target} is not registered any more`, policy);
  if (limitedTo === 'not asked')
    findings.push({ rule: 'target', holds: limitedTo, why: 'whether the token names what alone it is good for' });
  else if (limitedTo?.includes(target) === false)
    return refuse('target', 'invalid_target', `the token is good for ${limitedTo.join(' and ')} only`, policy);
  if (!takes(destination, asked.requestedType))
    return refuse('target', 'invalid_request', `${target} takes no such token`, policy);
  findings.push({ rule: 'target', holds: true, why: `${target} is registered` });
  return { findings, allowed: true, policy, scope: decision.scope, actor };
}

/** Bound stays bound, to the caller's own key; a key it shares with us would prove nothing (FAPI 2.0 SP §5.3.2.1-6). */
function ofKeys(
  { cnf, held }: JudgedSubject,
  actorToken: JudgedActor | undefined,
  { client, possession }: Parameters<typeof judge>[2],
): Finding[] {
  const tokens = [
    // Whoever does not hold the token has another key than it: any of its own will do.
    { what: 'the token', cnf, sameKey: held },
    { what: 'the actor token', cnf: actorToken?.cnf, sameKey: true },
  ];
  const bound = tokens.flatMap((token) =>
    token.cnf && token.cnf !== 'not asked' ? [{ ...token, cnf: token.cnf }] : [],
  );
  const unknown = tokens.filter((token) => token.cnf === 'not asked');
  const keyless = hasSecret(client);
  return [
    ...bound.slice(0, 1).map(
      ({ what }): Finding => ({
        rule: 'authentication',
        holds: !keyless,
        why: `${what} is bound to a key, and ${client.id} authenticates ${keyless ? 'without one' : 'with one'}`,
      }),
    ),
    ...bound.map(({ what, cnf: key, sameKey }): Finding => {
      if (possession === 'not asked')
        return {
          rule: 'possession',
          holds: possession,
          why: `${what} is bound to a key: the request has to prove one`,
        };
      const proven = sameKey ? confirms(possession, key) : possession !== undefined;
      return { rule: 'possession', holds: proven, why: `the request proves ${proven ? 'the' : 'no'} key for ${what}` };
    }),
    ...unknown.map(
      ({ what }): Finding => ({
        rule: keyless ? 'authentication' : 'possession',
        holds: 'not asked',
        why: `whether ${what} is bound to a key${keyless ? `, which ${client.id} could not exchange` : ''}`,
      }),
    ),
  ];
}

/** A policy may name what an operator has removed since. */
function isThere({ resource, domain }: Destination): boolean {
  return resource !== undefined || domain !== undefined;
}

/** What is given is the target's to say (RFC 8693 §2.1): another domain takes a JWT, an API what it is registered for. */
function takes({ resource }: Destination, type: ExchangeRequest['requestedType']): boolean {
  if (type === undefined) return true;
  return type === 'jwt' ? resource?.accessTokenFormat !== 'opaque' : resource !== undefined;
}
