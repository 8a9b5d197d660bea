/** `gatehouse exchange-policies test`: the question that its options ask, with what there is of the names in them, and the answer. */
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { readSubjectToken } from '../features/token-exchange/subject-token.ts';
import {
  type Explanation,
  explain,
  type Source,
  type Subject,
  type Supposed,
  whatIsSaid,
} from '../operator/exchange-explanation.ts';
import { OperatorError } from '../operator/input.ts';
import { findClientRecord } from '../postgres/clients.pg.ts';
import type { Sql } from '../postgres/database.ts';
import { readExchangePolicies } from '../postgres/exchange-policies.pg.ts';
import { listResources } from '../postgres/resources.pg.ts';
import { listTrustDomains } from '../postgres/trust-domains.pg.ts';
import type { Hop, MayAct } from '../protocol/call.ts';
import { type Client, toClient } from '../protocol/client.ts';
import { OAuthError } from '../protocol/errors.ts';
import { JwtRefused } from '../protocol/jose-client.ts';
import { Resources, toResource } from '../protocol/resource.ts';
import { parseScope } from '../protocol/scope.ts';
import { type TrustDomain, toTrustDomain } from '../protocol/trust-domain.ts';
import { doorlessServer } from './doorless-server.ts';
import { found } from './output.ts';
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

/** @throws OperatorError when there is no such client, or neither a source nor a token */
export async function explainExchange(asked: AskedExchange, place: Workplace): Promise<Explanation> {
  const { database, issuer } = place;
  const { actor, target, hops = [] } = asked;
  const client = toClient(found(await findClientRecord(database, asked.client), 'client'));
  const parties = await partiesOf(database);
  for (const hop of hops) {
    if (!(await findClientRecord(database, hop.client))) throw new OperatorError(`--hops: ${hop.client} is no client.`);
    if (!parties.resources.get(hop.target) && !parties.domains.has(hop.target))
      throw new OperatorError(`--hops: ${hop.target} is no resource and no trust domain.`);
  }
  const scope = scopeOf(asked.scope, '--scope');
  const destination = { resource: parties.resources.get(target), domain: parties.domains.get(target) };
  const subject: Subject =
    asked.subjectToken === undefined
      ? { kind: 'supposed', supposed: suppose(asked, parties, issuer) }
      : await readToken(asked.subjectToken, client, parties, place);
  const policies = await readExchangePolicies(database);
  return explain({ client, actor, subject, destination, target, scope }, policies, issuer);
}

interface Parties {
  readonly resources: Resources;
  readonly domains: ReadonlyMap<string, TrustDomain>;
}

async function partiesOf(database: Sql): Promise<Parties> {
  return {
    resources: new Resources((await listResources(database)).map(toResource)),
    domains: new Map((await listTrustDomains(database)).map((domain) => [domain.issuer, toTrustDomain(domain)])),
  };
}

function suppose(
  { source = [], subjectScope, mayAct, hops = [] }: AskedExchange,
  { resources, domains }: Parties,
  issuer: string,
): Supposed {
  if (source.length === 0)
    throw new OperatorError('--source: is needed, or --subject-token with a token that says what it is for.');
  const sources = source.map((name): Source => {
    const resource = resources.get(name);
    if (resource) return { name, kind: 'resource', resource };
    if (name === issuer) return { name, kind: 'issuer' };
    return { name, kind: domains.has(name) ? 'domain' : 'nothing' };
  });
  return { sources, scope: scopeOf(subjectScope, '--subject-scope') ?? [], mayAct, hops };
}

function scopeOf(value: string | undefined, option: string): string[] | undefined {
  try {
    return value === undefined ? undefined : parseScope(value);
  } catch (error) {
    throw error instanceof OAuthError ? new OperatorError(`${option}: ${error.message}`) : error;
  }
}

async function readToken(file: string, client: Client, { domains }: Parties, place: Workplace): Promise<Subject> {
  const content = await (file === '-' ? text(process.stdin) : readFile(file, 'utf8')).catch(() => {
    throw new OperatorError(`--subject-token: ${file} cannot be read.`);
  });
  const value = content.trim();
  const { type, from } = whatIsSaid(value, place.issuer);
  const foreign = type === 'jwt';
  const ours = `not a token of ${place.issuer}; set GATEHOUSE_ISSUER or PORT`;
  const notGood = (why: string): Subject => {
    const isOther = from !== undefined && from !== place.issuer && !domains.has(from);
    return { kind: 'not good', foreign, why: isOther ? `the token is ${ours}` : why };
  };
  const server = await doorlessServer(place);
  try {
    const token = await readSubjectToken({ value, type }, client, place.context.now(), server);
    if (token) return { kind: 'real', token, foreign };
    return notGood(`the token is expired, ended, unknown, of another type, or ${ours}`);
  } catch (error) {
    if (error instanceof JwtRefused) return notGood(error.message);
    throw error;
  }
}
