/**
 * May this client have a token for that API, on the strength of this one? RFC 8693 §2.2.2, §5; RFC 8707 §2. Pure: the same question
 * gets the same answer at `/token` and from `gatehouse exchange-policies test`, which shows every rule that was asked.
 *
 *   policy ─▶ depth ─▶ loop ─▶ may_act ─▶ scope       the first rule that does not hold refuses
 *
 * What comes before is about the tokens themselves (do they stand, are they this client's to exchange) and after about the
 * request (is it bound to a key): those need more than data.
 */
import type { Hop, MayAct } from './call.ts';
import { DEEPEST } from './call.ts';
import type { ErrorCode } from './errors.ts';
import { type ExchangePolicies, type ExchangePolicy, mappedScope } from './exchange-policy.ts';

export interface Question {
  readonly clientId: string;
  /** Who would act: the client itself, or whom its actor token names. */
  readonly actor: MayAct;
  /** What the subject token is addressed to (for an ID token our issuer, for a JWT of a trust domain that one's issuer). */
  readonly audience: readonly string[];
  /** What it carries, as far as it is open still. */
  readonly subjectScope: readonly string[];
  /** Whom it lets act; `undefined` where it does not say. */
  readonly mayAct: MayAct | undefined;
  /** The one API, or domain, that is asked for. */
  readonly target: string;
  /** `undefined`: all that can be had. */
  readonly scope: readonly string[] | undefined;
  /** What the target has to give; `undefined` where that is not ours to know: another domain's scopes. */
  readonly offered?: readonly string[] | undefined;
  /** Steps of the call so far. */
  readonly hops: readonly Hop[];
  readonly issuer: string;
}

export type Rule = 'policy' | 'depth' | 'loop' | 'may_act' | 'scope';

/** One rule that was asked, in words for an operator. */
export interface Finding {
  readonly rule: Rule;
  readonly holds: boolean;
  readonly why: string;
}

export type Decision = { readonly findings: readonly Finding[] } & (
  | { readonly allowed: true; readonly policy: ExchangePolicy; readonly scope: readonly string[] }
  | {
      readonly allowed: false;
      readonly rule: Rule;
      readonly error: ErrorCode;
      /** The one that was asked, where one leads there. */
      readonly policy: ExchangePolicy | undefined;
    }
);

export function decide(question: Question, policies: ExchangePolicies): Decision {
  const { clientId, audience, target, hops, scope } = question;
  const findings: Finding[] = [];
  const refuse = (rule: Rule, error: ErrorCode, why: string, policy?: ExchangePolicy): Decision => {
    findings.push({ rule, holds: false, why });
    return { findings, allowed: false, rule, error, policy };
  };
  const hold = (rule: Rule, why: string) => findings.push({ rule, holds: true, why });

  const own = policies.of(clientId);
  if (own.length === 0) return refuse('policy', 'unauthorized_client', `no policy names the client ${clientId}`);
  const policy = own.find((one) => one.target === target && audience.includes(one.source));
  if (!policy)
    return refuse(
      'policy',
      'invalid_target',
      `no policy of ${clientId} leads from ${audience.join(' or ')} to ${target}`,
    );
  hold('policy', `${policy.name} leads from ${policy.source} to ${target}`);

  const most = Math.min(policy.maxDepth, DEEPEST);
  const depth = hops.length + 1;
  if (depth > most) return refuse('depth', 'invalid_request', `this would be step ${depth} of at most ${most}`, policy);
  hold('depth', `step ${depth} of at most ${most}`);

  if (hops.some((hop) => hop.client === clientId && hop.target === target))
    return refuse('loop', 'invalid_request', `${clientId} went to ${target} before in this call`, policy);
  hold('loop', 'the call was not here before');

  const { mayAct } = question;
  if (mayAct && !isNamed(mayAct, question))
    return refuse('may_act', 'invalid_request', `the token lets only ${mayAct.sub} act with it`, policy);
  hold('may_act', mayAct ? `the token lets ${mayAct.sub} act with it` : 'the token names nobody who alone may act');

  const { offered } = question;
  // An operator may have taken a scope from the API since the policy was written.
  const given = mappedScope(policy, question.subjectScope).filter((token) => offered?.includes(token) ?? true);
  if (given.length === 0)
    return refuse(
      'scope',
      'invalid_scope',
      `${policy.name} gives nothing to a token with ${words(question.subjectScope)}`,
      policy,
    );
  const beyond = scope?.filter((token) => !given.includes(token)) ?? [];
  if (beyond.length > 0)
    return refuse('scope', 'invalid_scope', `${policy.name} gives ${words(given)}, not ${words(beyond)}`, policy);
  const asked = scope?.length ? scope : given;
  hold('scope', `${policy.name} gives ${words(asked)}`);
  return { findings, allowed: true, policy, scope: asked };
}

/** RFC 8693 §4.4: the token's word binds; the acting party or the client that asks for it must be the one it names. */
function isNamed(mayAct: MayAct, { actor, clientId, issuer }: Question): boolean {
  const from = mayAct.iss ?? issuer;
  return (from === (actor.iss ?? issuer) && mayAct.sub === actor.sub) || (from === issuer && mayAct.sub === clientId);
}

function words(scope: readonly string[]): string {
  return scope.length > 0 ? scope.join(' ') : 'no scope';
}
