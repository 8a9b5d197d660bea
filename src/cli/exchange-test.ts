/** `gatehouse exchange-policies test`: from the words of the command line to the question, and from the answer to words. */
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { InvalidArgumentError } from 'commander';
import type { PresentedToken } from '../features/token-exchange/request.ts';
import { readSubjectToken, type SubjectToken } from '../features/token-exchange/subject-token.ts';
import { type Explanation, explain } from '../operator/exchange-explanation.ts';
import { OperatorError } from '../operator/users.ts';
import { findClientRecord } from '../postgres/clients.pg.ts';
import { listExchangePolicies } from '../postgres/exchange-policies.pg.ts';
import { findResource } from '../postgres/resources.pg.ts';
import { listTrustDomains } from '../postgres/trust-domains.pg.ts';
import type { Hop, MayAct } from '../protocol/call.ts';
import { type Client, toClient } from '../protocol/client.ts';
import { OAuthError } from '../protocol/errors.ts';
import { ExchangePolicies, toExchangePolicy } from '../protocol/exchange-policy.ts';
import { JwtRefused } from '../protocol/jose-client.ts';
import { parseScope } from '../protocol/scope.ts';
import { doorlessServer } from './doorless-server.ts';
import { found, table } from './output.ts';
import type { Workplace } from './workplace.ts';

/** The options of the command, as commander gives them. */
export interface AskedExchange {
  readonly client: string;
  readonly target: string;
  readonly scope?: string;
  readonly actor?: MayAct;
  readonly source?: readonly string[];
  readonly subjectScope?: string;
  readonly mayAct?: MayAct;
  readonly hops?: readonly Hop[];
  readonly subjectToken?: string;
}

/** `sub` or `sub,https://issuer`. */
export function readParty(value: string): MayAct {
  const [, sub = value, iss] = /^(.+?),(https?:\/\/\S+)$/.exec(value) ?? [];
  return { sub, ...(iss !== undefined && { iss }) };
}

/** `client>target,client>target`: addresses may hold commas, ids of clients and `>` neither. */
export function readHops(value: string): Hop[] {
  return value.split(/,(?=[^,>]+>)/).map((hop) => {
    const [, client, target] = /^([^,>]+)>([^>]+)$/.exec(hop) ?? [];
    if (client === undefined || target === undefined)
      throw new InvalidArgumentError('It must be client>target, and more of them after commas.');
    return { client, target };
  });
}

/** @throws OperatorError when there is no such client, or neither a source nor a token */
export async function explainExchange(asked: AskedExchange, place: Workplace): Promise<Explanation> {
  const { database, issuer } = place;
  const { actor = { sub: asked.client }, target } = asked;
  const client = toClient(found(await findClientRecord(database, asked.client), 'client'));
  const policies = new ExchangePolicies((await listExchangePolicies(database)).map(toExchangePolicy));
  const resource = await findResource(database, target);
  const read = asked.subjectToken === undefined ? null : await readToken(asked.subjectToken, client, place);
  if (typeof read === 'string') {
    const finding = { rule: 'subject_token', holds: false, why: read };
    return { outcome: 'refused', rule: finding.rule, error: 'invalid_request', findings: [finding] };
  }
  const subject = read === null ? supposed(asked) : said(read);
  const domains = (await listTrustDomains(database)).map(({ issuer: domain }) => domain);
  return explain(
    {
      clientId: client.id,
      actor,
      target,
      scope: scopeOf(asked.scope, '--scope'),
      offered: resource && Object.keys(resource.scopes),
      issuer,
      ...subject,
    },
    client,
    read,
    policies,
    subject.audience.some((source) => domains.includes(source)),
  );
}

type Said = Pick<Parameters<typeof explain>[0], 'audience' | 'subjectScope' | 'mayAct' | 'hops'>;

function supposed({ source = [], subjectScope, mayAct, hops = [] }: AskedExchange): Said {
  if (source.length === 0)
    throw new OperatorError('--source: is needed, or --subject-token with a token that says what it is for.');
  return { audience: source, subjectScope: scopeOf(subjectScope, '--subject-scope') ?? [], mayAct, hops };
}

function said(token: SubjectToken | undefined): Said {
  const { sources = [], scope = [], mayAct, story } = token ?? {};
  return { audience: sources, subjectScope: scope, mayAct, hops: story?.hops ?? [] };
}

function scopeOf(value: string | undefined, option: string): string[] | undefined {
  try {
    return value === undefined ? undefined : parseScope(value);
  } catch (error) {
    throw error instanceof OAuthError ? new OperatorError(`${option}: ${error.message}`) : error;
  }
}

/** @returns in words what is wrong with a token of another domain, whose own rules those are */
async function readToken(file: string, client: Client, place: Workplace): Promise<SubjectToken | undefined | string> {
  const content = await (file === '-' ? text(process.stdin) : readFile(file, 'utf8')).catch(() => {
    throw new OperatorError(`--subject-token: ${file} cannot be read.`);
  });
  const value = content.trim();
  const server = await doorlessServer(place);
  try {
    return await readSubjectToken({ value, type: typeOf(value, place.issuer) }, client, place.context.now(), server);
  } catch (error) {
    if (error instanceof JwtRefused) return error.message;
    throw error;
  }
}

/** Whoever exchanges it has to say; here it is taken for what it looks like. */
function typeOf(token: string, issuer: string): PresentedToken['type'] {
  const [header, claims] = token.split('.').map((part) => {
    try {
      return JSON.parse(Buffer.from(part, 'base64url').toString()) as { typ?: unknown; iss?: unknown } | null;
    } catch {
      return null;
    }
  });
  if (!claims || header?.typ === 'at+jwt') return 'access_token';
  return claims.iss === issuer ? 'id_token' : 'jwt';
}

/** Every rule that was asked, and the outcome. */
export function drawExplanation(explanation: Explanation): string {
  const { outcome, rule, error, policy, mode, scope = [], lifetime, findings } = explanation;
  const told =
    outcome === 'allowed'
      ? `${scope.join(' ')} by ${policy}, ${mode}, for ${lifetime} seconds at most`
      : `${error}, by the rule ${rule}`;
  return `${table(findings.map((finding) => ({ ...finding })))}\n\n${outcome}: ${told}`;
}
