/** For operators: calls in PostgreSQL, read from the record of their steps (exchanges.pg.ts). No hot path comes here. */
import { type RawBuilder, sql } from 'kysely';
import type { Actor, AllowedHop, Origin } from '../protocol/call.ts';
import type { Confirmation } from '../protocol/confirmation.ts';
import type { ExchangePolicies } from '../protocol/exchange-policy.ts';
import { type OpenCall, openCall } from '../protocol/open-call.ts';
import { Resources, toResource } from '../protocol/resource.ts';
import { parseScope } from '../protocol/scope.ts';
import { idFloor } from '../protocol/secrets.ts';
import type { Sql } from './database.ts';
import { readExchangePolicies } from './exchange-policies.pg.ts';
import { clientStands, grantStands, rootsOfGrant } from './ledger.pg.ts';
import { listResources } from './resources.pg.ts';
import { listTrustDomains } from './trust-domains.pg.ts';

/** A first token lives an hour at most, and everything that was made from it. */
const LONGEST = 2 * 3600_000;
/** By how much clocks of nodes may differ, generously. */
const SKEW = 60_000;

/** Whether a step is of a call that began at another domain, whose `txn` is that domain's word. */
const foreign = sql<boolean>`(origin ->> 'iss' IS NOT NULL)`;

/**
 * The calls that a token belongs to: by their `txn`, by the id of a token that was made on the way, or of one that went in (as the
 * subject, or to say who acts).
 * @returns their `txn`s, those that began here first: another domain can call its own what is the name of one of ours, and hides
 *   nothing by that; none for a call that never went on
 */
export async function findTxns(database: Sql, id: string, limit: number): Promise<string[]> {
  const at = timeOf(id);
  const { rows } = await sql<{ txn: string }>`
    SELECT txn FROM (
      SELECT txn, ${foreign} AS is_foreign FROM exchanges WHERE txn = ${id}
      ${at ? sql`UNION ALL SELECT txn, ${foreign} FROM exchanges WHERE id = ${id}::uuid ${inLineage(id, at)}` : sql``}) AS found
    GROUP BY txn ORDER BY bool_and(is_foreign), txn = ${id} DESC, txn LIMIT ${limit}`.execute(database);
  return rows.map(({ txn }) => txn);
}

/** Who acts comes from a call of its own, so nothing leads here from its id but the steps of the time it lived. */
function inLineage(id: string, at: Date): RawBuilder<unknown> {
  const from = idFloor(new Date(at.getTime() - SKEW));
  const to = idFloor(new Date(at.getTime() + LONGEST));
  return sql`
    UNION ALL SELECT txn, ${foreign} FROM exchanges
    WHERE id >= ${from}::uuid AND id < ${to}::uuid AND ${id}::uuid = ANY (lineage)`;
}

/** The time in a UUIDv7; `undefined` for anything else. */
function timeOf(id: string): Date | undefined {
  const [, high, low] = /^([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.exec(id) ?? [];
  return high === undefined || low === undefined ? undefined : new Date(Number.parseInt(high + low, 16));
}

/** What has become of a token: it stands until it is over, unless it, or something it came from, was ended before. */
export type TokenState = 'stands' | 'expired' | 'revoked' | 'ended';

/** A step of a call, allowed or refused, as it is now. */
export interface RecordedStep {
  /** The `jti` of its token; of a refused one nobody's. */
  readonly id: string;
  readonly parent: string;
  /** How many steps there are with it, from the first token on. */
  readonly depth: number;
  readonly origin: Origin;
  readonly clientId: string;
  /** Of the person on whose behalf; `undefined` for clients' own calls, and people of other domains. */
  readonly username: string | undefined;
  /** Of people who act. */
  readonly actors: readonly string[];
  readonly source: string | undefined;
  readonly target: string;
  readonly scope: readonly string[];
  readonly act: Actor | undefined;
  readonly policy: string | undefined;
  readonly cnf: Confirmation | undefined;
  readonly issuedTokenType: string | undefined;
  readonly at: Date;
  readonly expiresAt: Date | undefined;
  readonly requestId: string | undefined;
  /** The rule that refused it, and how often in that minute. */
  readonly refused: string | undefined;
  readonly times: number;
  /** Of an allowed one. */
  readonly state: TokenState | undefined;
  /** What ended it. */
  readonly because: string | undefined;
}

interface Row {
  id: string;
  parent: string;
  hops: AllowedHop[];
  depth: number;
  origin: Origin;
  client_id: string;
  username: string | null;
  actors: string[];
  source: string | null;
  target: string;
  scope: string[];
  act: Actor | null;
  policy: string | null;
  cnf: Confirmation | null;
  issued_token_type: string | null;
  issued_at: Date;
  expires_at: Date | null;
  request_id: string | null;
  refused: string | null;
  times: number;
  revoked_at: Date | null;
  ancestor_ended: boolean;
  lost_clients: string[];
  first_scope: string | null;
  grant_ended: boolean;
  actor_grant_ended: boolean;
}

/** The steps of a call: of the one that began here first, then of each other one as many, each from its first step on. */
export async function listSteps(database: Sql, txn: string, now: Date, limit: number): Promise<RecordedStep[]> {
  const { rows } = await sql<Row>`
    SELECT x.id, x.parent, x.hops, jsonb_array_length(x.hops) AS depth, x.origin, x.client_id, person.username, x.source, x.target, x.scope, x.act, x.policy,
           x.cnf, x.issued_token_type, x.issued_at, x.expires_at, x.request_id, x.refused, x.times,
           own.revoked_at,
           ARRAY (
             SELECT actor.username FROM grants acting JOIN users actor ON actor.id = acting.user_id
             WHERE acting.id = ANY (x.actor_grants)) AS actors,
           EXISTS (SELECT FROM revocation_marks m WHERE m.id = ANY (x.lineage)) AS ancestor_ended,
           ARRAY (
             SELECT through.id FROM unnest(x.clients) AS through (id)
             LEFT JOIN clients c ON c.id = through.id AND ${clientStands} WHERE c.id IS NULL) AS lost_clients,
           (SELECT c.metadata ->> 'scope' FROM clients c WHERE c.id = x.hops -> 0 -> 'from' ->> 'client') AS first_scope,
           x.grant_id IS NOT NULL AND ${grantStands(now)} IS NOT TRUE AS grant_ended,
           EXISTS (
             SELECT FROM unnest(x.actor_grants) AS acting (id) LEFT JOIN grants g ON g.id = acting.id ${rootsOfGrant}
             WHERE ${grantStands(now)} IS NOT TRUE) AS actor_grant_ended
    FROM exchanges x
    LEFT JOIN users person ON person.id = x.user_id
    LEFT JOIN revocation_marks own ON own.id = x.id
    LEFT JOIN grants g ON g.id = x.grant_id
    ${rootsOfGrant}
    WHERE x.txn = ${txn}
    ORDER BY ${foreign},
             row_number() OVER (
               PARTITION BY x.origin ->> 'iss', x.origin ->> 'jti' ORDER BY x.issued_at, jsonb_array_length(x.hops), x.id),
             x.issued_at, x.id
    LIMIT ${limit}`.execute(database);
  const rules = await readRules(database);
  return rows.map((row) => toStep(row, rules, now));
}

/** What the server decides by. */
interface Rules {
  readonly policies: ExchangePolicies;
  readonly resources: Resources;
  /** Their issuers. */
  readonly domains: readonly string[];
}

async function readRules(database: Sql): Promise<Rules> {
  return {
    policies: await readExchangePolicies(database),
    resources: new Resources((await listResources(database)).map(toResource)),
    domains: (await listTrustDomains(database)).map(({ issuer }) => issuer),
  };
}

function toStep(row: Row, rules: Rules, now: Date): RecordedStep {
  return {
    id: row.id,
    parent: row.parent,
    // Of a refused one the steps before it are recorded.
    depth: row.refused === null ? row.depth : row.depth + 1,
    origin: row.origin,
    clientId: row.client_id,
    username: row.username ?? undefined,
    actors: row.actors,
    source: row.source ?? undefined,
    target: row.target,
    scope: row.scope,
    act: row.act ?? undefined,
    policy: row.policy ?? undefined,
    cnf: row.cnf ?? undefined,
    issuedTokenType: row.issued_token_type ?? undefined,
    at: row.issued_at,
    expiresAt: row.expires_at ?? undefined,
    requestId: row.request_id ?? undefined,
    refused: row.refused ?? undefined,
    times: row.times,
    ...(row.refused === null ? whatBecameOf(row, rules, now) : { state: undefined, because: undefined }),
  };
}

function whatBecameOf(row: Row, rules: Rules, now: Date): Pick<RecordedStep, 'state' | 'because'> {
  if (row.revoked_at) return { state: 'revoked', because: undefined };
  // What ended it may be forgotten by then, and makes no difference any more.
  if (row.expires_at && row.expires_at <= now) return { state: 'expired', because: undefined };
  const because = whatEnded(row, rules);
  return { state: because === undefined ? 'stands' : 'ended', because };
}

/** As the ledger asks (chainStands), and what reads tokens after it (access-token.ts). */
function whatEnded(row: Row, rules: Rules): string | undefined {
  const [client] = row.lost_clients;
  if (row.ancestor_ended) return 'a token it came from was revoked';
  if (row.grant_ended) return 'its grant has ended';
  if (row.actor_grant_ended) return 'the grant of who acts has ended';
  if (client !== undefined) return `the client ${client} is disabled or deleted`;
  const { lost } = openNow(row, rules);
  if (!lost) return undefined;
  if (lost.why === 'first') return 'nothing of what its call began with is open any more';
  const policy = lost.hop === row.hops.at(-1) ? 'its policy' : `the policy ${lost.hop.policy} before it`;
  return lost.why === 'gone' ? `${policy} is gone` : `${policy} gives none of it any more`;
}

function openNow({ hops, first_scope }: Row, { policies, resources, domains }: Rules): OpenCall {
  const ofClient = parseScope(first_scope ?? '');
  return openCall(
    hops,
    ({ client, scope }) =>
      client === undefined ? scope : scope.filter((token) => ofClient.includes(token) && resources.isKnownScope(token)),
    policies,
    // What another domain offers is its own affair.
    (token, { target }) => domains.includes(target) || resources.isKnownScope(token),
  );
}

/** A token that was issued by a grant, as far as it is remembered: opaque ones, for some hours. */
export interface FirstToken {
  readonly id: string;
  readonly clientId: string;
  readonly username: string | undefined;
  readonly hasGrant: boolean;
  readonly scope: readonly string[];
  readonly audience: readonly string[];
  readonly at: Date;
  readonly expiresAt: Date;
}

export async function findFirstToken(database: Sql, id: string): Promise<FirstToken | undefined> {
  const { rows } = await sql<{
    client_id: string;
    username: string | null;
    has_grant: boolean;
    scope: string[];
    audience: string[];
    issued_at: Date;
    expires_at: Date;
  }>`
    SELECT t.client_id, u.username, t.grant_id IS NOT NULL AS has_grant, t.scope, t.audience, t.issued_at, t.expires_at
    FROM access_tokens t LEFT JOIN grants g ON g.id = t.grant_id LEFT JOIN users u ON u.id = g.user_id
    WHERE t.id = ${id}::uuid`.execute(database);
  const [row] = rows;
  return (
    row && {
      id,
      clientId: row.client_id,
      username: row.username ?? undefined,
      hasGrant: row.has_grant,
      scope: row.scope,
      audience: row.audience,
      at: row.issued_at,
      expiresAt: row.expires_at,
    }
  );
}

/** Whose grant it is. */
export async function usernameOfGrant(database: Sql, grantId: string): Promise<string | undefined> {
  const { rows } = await sql<{ username: string }>`
    SELECT u.username FROM grants g JOIN users u ON u.id = g.user_id WHERE g.id = ${grantId}::uuid`.execute(database);
  return rows[0]?.username;
}

/** Which of these tokens were revoked by themselves: for as long as any token could live, and a little longer. */
export async function listRevoked(database: Sql, ids: readonly string[]): Promise<ReadonlySet<string>> {
  const { rows } = await sql<{ id: string }>`
    SELECT id FROM revocation_marks WHERE id = ANY (${[...ids]}::uuid[])`.execute(database);
  return new Set(rows.map(({ id }) => id));
}
