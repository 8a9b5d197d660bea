/**
 * Why an exchange would be allowed or refused, rule by rule, and no token made: `gatehouse exchange-policies test`. What a policy decides
 * is decided by the same code as at `/token` (exchange-decision.ts). What is proven by a request alone, the possession of a
 * key, is not asked here.
 */
import type { SubjectToken } from '../features/token-exchange/subject-token.ts';
import { type Client, hasSecret } from '../protocol/client.ts';
import { decide, type Finding, type Question } from '../protocol/exchange-decision.ts';
import type { ExchangePolicies } from '../protocol/exchange-policy.ts';
import { TOKEN_EXCHANGE } from '../protocol/exchanges.ts';
import { JWT_BEARER } from './exchange-policies.ts';

/** As `--format json` prints it. */
export interface Explanation {
  readonly outcome: 'allowed' | 'refused';
  /** The first rule that does not hold, and the error its caller would get. */
  readonly rule?: string;
  readonly error?: string;
  readonly policy?: string;
  readonly mode?: 'delegation' | 'impersonation';
  readonly scope?: readonly string[];
  /** Seconds at most: never more than the subject token has left. */
  readonly lifetime?: number;
  readonly findings: readonly (Omit<Finding, 'rule'> & { readonly rule: string })[];
}

const ERRORS: Readonly<Record<string, string>> = { client: 'unauthorized_client', target: 'invalid_target' };

type Told = Explanation['findings'][number];

/**
 * @param token a real subject token, as it was read; `undefined` where it is not good, `null` where there is none to be asked about
 * @param foreign whether the subject is a JWT of a trust domain, which is good as a grant of its own too
 */
export function explain(
  question: Question,
  client: Client,
  token: SubjectToken | null | undefined,
  policies: ExchangePolicies,
  foreign: boolean,
): Explanation {
  const before = [aboutClient(client, foreign), ...(token === null ? [] : aboutToken(token, client, question.target))];
  const wrong = before.find(({ holds }) => !holds);
  if (wrong) {
    return { outcome: 'refused', rule: wrong.rule, error: ERRORS[wrong.rule] ?? 'invalid_request', findings: before };
  }
  const decision = decide(question, policies);
  const findings = [...before, ...decision.findings];
  if (!decision.allowed) {
    const { rule, error, policy } = decision;
    return { outcome: 'refused', rule, error, ...(policy && { policy: policy.name }), findings };
  }
  const { policy, scope } = decision;
  return { outcome: 'allowed', policy: policy.name, mode: policy.mode, scope, lifetime: policy.lifetime, findings };
}

function aboutClient({ id, disabled, grantTypes }: Client, foreign: boolean): Told {
  if (disabled) return { rule: 'client', holds: false, why: `${id} is disabled` };
  const grants = foreign ? [TOKEN_EXCHANGE, JWT_BEARER] : [TOKEN_EXCHANGE];
  const grant = grants.find((name) => grantTypes.includes(name));
  return grant === undefined
    ? { rule: 'client', holds: false, why: `${id} is not registered for ${grants.join(' or ')}` }
    : { rule: 'client', holds: true, why: `${id} is registered for ${grant}` };
}

function aboutToken(token: SubjectToken | undefined, client: Client, target: string): Told[] {
  const rule = 'subject_token';
  if (!token) return [{ rule, holds: false, why: 'the token is expired, ended, unknown, or of another type' }];
  const { sources, held, cnf, limitedTo } = token;
  if (!held && sources.length === 0)
    return [
      {
        rule,
        holds: false,
        why: `the token is neither ${client.id}'s own nor for an API that has it among its introspection_clients`,
      },
    ];
  const why = `the token stands${sources.length > 0 ? `, as one for ${sources.join(' and ')}` : ''}`;
  const limits: Told[] =
    limitedTo?.includes(target) === false
      ? [{ rule: 'target', holds: false, why: `the token is good for ${limitedTo.join(' and ')} only` }]
      : [];
  return [{ rule, holds: true, why }, ...(cnf ? [aboutBinding(client)] : []), ...limits];
}

function aboutBinding(client: Client): Told {
  return hasSecret(client)
    ? {
        rule: 'authentication',
        holds: false,
        why: `the token is bound to a key, and ${client.id} authenticates without one`,
      }
    : {
        rule: 'possession',
        holds: true,
        why: 'the token is bound to a key: the request has to prove one, which is not asked here',
      };
}
