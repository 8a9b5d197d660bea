/**
 * Why an exchange would be allowed or refused, rule by rule, and no token made: `gatehouse exchange-policies test`. The rules are those of
 * `/token`, asked by the same code in the same order (token-exchange/rules.ts). What only a request or a real token can show is
 * said to be not asked.
 */

import type { PresentedToken } from '../features/token-exchange/request.ts';
import {
  type Asked,
  type Destination,
  type Finding,
  type JudgedSubject,
  judge,
} from '../features/token-exchange/rules.ts';
import type { SubjectToken } from '../features/token-exchange/subject-token.ts';
import type { MayAct } from '../protocol/call.ts';
import type { Client } from '../protocol/client.ts';
import type { ExchangePolicies } from '../protocol/exchange-policy.ts';
import { JWT_BEARER, TOKEN_EXCHANGE } from '../protocol/exchanges.ts';
import { unverifiedPart } from '../protocol/jose.ts';
import type { Resource } from '../protocol/resource.ts';

type Told = Omit<Finding, 'rule'> & { readonly rule: string };

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
  readonly findings: readonly Told[];
}

/** What a name that a subject token is for stands for. */
export type Source =
  | { readonly name: string; readonly kind: 'issuer' | 'domain' | 'nothing' }
  | { readonly name: string; readonly kind: 'resource'; readonly resource: Resource };

/** A subject token that nobody has: what it would say. */
export interface Supposed {
  readonly sources: readonly Source[];
  readonly scope: readonly string[];
  /** Where it is not said, whom the resources let act. */
  readonly mayAct: MayAct | undefined;
  readonly hops: JudgedSubject['story']['hops'];
}

export type Subject =
  | { readonly kind: 'real'; readonly token: SubjectToken; readonly foreign: boolean }
  | { readonly kind: 'not good'; readonly why: string; readonly foreign: boolean }
  | { readonly kind: 'supposed'; readonly supposed: Supposed };

interface ExplainedExchange extends Pick<Asked, 'target' | 'scope'> {
  readonly client: Client;
  /** Who would act by an actor token; `undefined` for the client itself. */
  readonly actor: MayAct | undefined;
  readonly subject: Subject;
  readonly destination: Destination;
}

export function explain(
  { client, actor, subject, destination, target, scope }: ExplainedExchange,
  policies: ExchangePolicies,
  issuer: string,
): Explanation {
  const about = [aboutClient(client, isForeign(subject)), ...aboutSubject(subject, client, policies, issuer)];
  const wrong = about.find(({ holds }) => holds === false);
  if (wrong || subject.kind === 'not good') {
    const rule = wrong?.rule ?? SUBJECT;
    const error = rule === 'client' ? 'unauthorized_client' : 'invalid_request';
    return { outcome: 'refused', rule, error, findings: about };
  }
  const subjectToken =
    subject.kind === 'real' ? subject.token : suppose(subject.supposed, client, policies, isForeign(subject));
  const actorToken = actor && ({ actor, cnf: 'not asked' } as const);
  const judged = judge(
    { subjectToken, actorToken, target, scope, requestedType: undefined },
    destination,
    { client, possession: 'not asked' },
    policies,
    issuer,
  );
  const findings = [...about, ...judged.findings];
  if (!judged.allowed) {
    const { rule, error, policy } = judged;
    return { outcome: 'refused', rule, error, ...(policy && { policy: policy.name }), findings };
  }
  const { policy } = judged;
  return {
    outcome: 'allowed',
    policy: policy.name,
    mode: policy.mode,
    scope: judged.scope,
    lifetime: policy.lifetime,
    findings,
  };
}

const SUBJECT = 'subject_token';

/** A JWT of a trust domain is good as a grant of its own too. */
function isForeign(subject: Subject): boolean {
  return subject.kind === 'supposed' ? subject.supposed.sources.some(({ kind }) => kind === 'domain') : subject.foreign;
}

function aboutClient({ id, disabled, grantTypes }: Client, foreign: boolean): Told {
  if (disabled) return { rule: 'client', holds: false, why: `${id} is disabled` };
  const grants = foreign ? [TOKEN_EXCHANGE, JWT_BEARER] : [TOKEN_EXCHANGE];
  const grant = grants.find((name) => grantTypes.includes(name));
  return grant === undefined
    ? { rule: 'client', holds: false, why: `${id} is not registered for ${grants.join(' or ')}` }
    : { rule: 'client', holds: true, why: `${id} is registered for ${grant}` };
}

function aboutSubject(subject: Subject, client: Client, policies: ExchangePolicies, issuer: string): Told[] {
  if (subject.kind === 'not good') return [{ rule: SUBJECT, holds: false, why: subject.why }];
  if (subject.kind === 'real') return [{ rule: SUBJECT, holds: true, why: 'the token stands' }];
  const { sources } = subject.supposed;
  const usable = sources.some((source) => isOpen(source, client, policies));
  return [
    { rule: SUBJECT, holds: 'not asked', why: 'whether such a token stands' },
    ...sources.map((source): Told => {
      const { holds, why } = aboutSource(source, client, policies, issuer);
      // One that is open is enough; the others do not count.
      return { rule: SUBJECT, holds: holds || (usable && 'not asked'), why };
    }),
  ];
}

function aboutSource(
  source: Source,
  client: Client,
  policies: ExchangePolicies,
  issuer: string,
): Omit<Told, 'rule'> & { holds: boolean } {
  const { name } = source;
  if (source.kind === 'resource') return aboutApi(source.resource, client, policies);
  if (source.kind === 'issuer') return { holds: true, why: `${name} is our issuer: an ID token of ${client.id}` };
  if (source.kind === 'domain') return { holds: true, why: `${name} is a trust domain` };
  return { holds: false, why: `${name} ${nothingHere(issuer)}` };
}

function aboutApi(resource: Resource, client: Client, policies: ExchangePolicies): ReturnType<typeof aboutSource> {
  const clients = `among the introspection_clients of ${resource.resource}`;
  if (isItsApi(resource, client)) return { holds: true, why: `${client.id} is ${clients}` };
  return holdsTokensFor(resource, client, policies)
    ? { holds: true, why: `${client.id} is not ${clients}: only with a token that was issued to it` }
    : { holds: false, why: `${client.id} is not ${clients}, and is issued no token for it either` };
}

/** Of a name that stands for nothing; what our issuer is taken for is said, because it is the environment's word. */
export function nothingHere(issuer: string): string {
  return `is no resource, no trust domain and not our issuer (${issuer}; set GATEHOUSE_ISSUER or PORT)`;
}

function isOpen(source: Source, client: Client, policies: ExchangePolicies): boolean {
  if (source.kind !== 'resource') return source.kind !== 'nothing';
  return isItsApi(source.resource, client) || holdsTokensFor(source.resource, client, policies);
}

export function isItsApi({ introspectionClients }: Resource, { id }: Client): boolean {
  return introspectionClients.includes(id);
}

/** Whether a client may come by a token for an API that is issued to itself. */
export function holdsTokensFor(resource: Resource, client: Client, policies: ExchangePolicies): boolean {
  const { scope, authorizationDetailsTypes: types } = client;
  return (
    scope.some((token) => Object.hasOwn(resource.scopes, token)) ||
    resource.detailsTypes.some(({ name }) => types.includes(name)) ||
    policies.of(client.id).some(({ target }) => target === resource.resource)
  );
}

/** The token, as `/token` would have read it. */
function suppose(
  { sources, scope, mayAct, hops }: Supposed,
  client: Client,
  policies: ExchangePolicies,
  foreign: boolean,
): JudgedSubject {
  const open = sources.filter((source) => isOpen(source, client, policies));
  const resources = open.flatMap((source) => (source.kind === 'resource' ? [source.resource] : []));
  return {
    sources: open.map(({ name }) => name),
    held: !resources.some((resource) => isItsApi(resource, client)),
    scope,
    mayAct: mayAct ?? resources.find((resource) => resource.mayAct)?.mayAct,
    story: { hops },
    // ID tokens are bound to no key.
    cnf: resources.length > 0 || foreign ? 'not asked' : undefined,
    limitedTo: foreign ? 'not asked' : undefined,
  };
}

/** Whoever exchanges a token has to say what it is; here it is taken for what it looks like. */
export function whatIsSaid(token: string, issuer: string): { type: PresentedToken['type']; from: string | undefined } {
  const [header, claims] = [unverifiedPart(token, 'header'), unverifiedPart(token, 'claims')];
  const from = typeof claims?.iss === 'string' ? claims.iss : undefined;
  if (!claims || header?.typ === 'at+jwt') return { type: 'access_token', from };
  return { type: from === issuer ? 'id_token' : 'jwt', from };
}
