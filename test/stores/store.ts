/** A database of its own for a store test, and what stores work on: people, clients, sign-ins, grants. */

import { randomBytes, randomUUID } from 'node:crypto';
import { type RawBuilder, sql } from 'kysely';
import { postgresCodes } from '../../src/features/authorization-code/codes.pg.ts';
import { postgresConsents } from '../../src/features/consent/consents.pg.ts';
import { createClient } from '../../src/postgres/clients.pg.ts';
import { type Database, openDatabase, type Sql } from '../../src/postgres/database.ts';
import { postgresPendingAuthorizations } from '../../src/postgres/pending-authorizations.pg.ts';
import { createUser } from '../../src/postgres/people.pg.ts';
import { postgresSessions } from '../../src/postgres/sessions.pg.ts';
import { type ClaimsRequest, NO_CLAIMS } from '../../src/protocol/claims-request.ts';
import { OAuthError } from '../../src/protocol/errors.ts';
import type { ApprovedRequest, Minted } from '../../src/protocol/feature.ts';
import { Parameters } from '../../src/protocol/message.ts';
import { resolveReturnAddress } from '../../src/protocol/redirect-uri.ts';
import { type ReplayMark, replayMark } from '../../src/protocol/replay.ts';
import { type Credential, mintCredential, mintId, sha256 } from '../../src/protocol/secrets.ts';
import { PASSWORD_AUTHENTICATION, type SignIn } from '../../src/protocol/session.ts';
import { clientOf } from '../protocol/samples.ts';
import { createDatabase } from '../support/database.ts';

export const HOUR = 3600_000;
export const DAY = 24 * HOUR;
export const IDLE = 8 * HOUR;

/** What is needed to put things in. */
export interface Filled {
  readonly sql: Sql;
  /** The moment the test began; statements take it, or one around it. */
  readonly now: Date;
  /** The moment `milliseconds` later (or earlier). */
  at(milliseconds: number): Date;
  rows<Row = Record<string, unknown>>(query: RawBuilder<Row>): Promise<Row[]>;
}

export interface Store extends Filled {
  readonly url: string;
  /** Another process's connections to the same database. */
  another(options?: { poolMax?: number; prepared?: boolean }): Database;
  close(): Promise<void>;
}

export async function openStore({ migrated = true, poolMax = 20 } = {}): Promise<Store> {
  const { url, drop } = await createDatabase({ migrated });
  const now = new Date();
  const opened: Database[] = [];
  const open = (options: { poolMax?: number; prepared?: boolean } = {}) => {
    const database = openDatabase({ url, poolMax, prepared: true, ...options });
    opened.push(database);
    return database;
  };
  const { sql: database } = open();
  return {
    url,
    ...storeOver(database, now),
    another: open,
    async close() {
      for (const one of opened) await one.close();
      await drop();
    },
  };
}

export function storeOver(database: Sql, now: Date): Filled {
  return {
    sql: database,
    now,
    at: (milliseconds) => new Date(now.getTime() + milliseconds),
    rows: async (query) => (await query.execute(database)).rows,
  };
}

/** Runs `work` this many times at once and counts the outcomes. */
export async function race(
  times: number,
  work: (index: number) => Promise<string | ReplayMark>,
): Promise<Record<string, number>> {
  const outcomes = await Promise.all(Array.from({ length: times }, (_, index) => work(index)));
  const counts: Record<string, number> = {};
  for (const outcome of outcomes) {
    const name = typeof outcome === 'string' ? outcome : 'a mark was used';
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

let names = 0;
function fresh(what: string): string {
  names += 1;
  return `${what}${names}`;
}

export async function aUser(store: Filled, username = fresh('user'), claims = {}): Promise<string> {
  const id = randomUUID();
  await createUser(store.sql, { id, username, claims }, 'no hash', store.now);
  return id;
}

export async function aClient(store: Filled, id = fresh('client')): Promise<string> {
  const { metadata, origins } = clientOf();
  await createClient(store.sql, { id, metadata, origins, secret: undefined }, store.now);
  return id;
}

export interface SignedIn {
  readonly session: Credential;
  readonly signIn: SignIn;
}

/** Signs a person in: a new session, or one that replaces `previous`. */
export async function aSignIn(
  store: Filled,
  userId: string,
  options: { previous?: Credential; now?: Date; pendingId?: string; expiresIn?: number } = {},
): Promise<SignedIn> {
  const { now = store.now, previous, pendingId, expiresIn = 12 * HOUR } = options;
  const session = mintCredential('session', now, randomBytes);
  const authentication = { time: now, ...PASSWORD_AUTHENTICATION };
  const sessions = postgresSessions(store.sql, IDLE);
  const [user] = await store.rows(sql<{ epoch: number }>`SELECT epoch FROM users WHERE id = ${userId}`);
  await sessions.signIn(
    {
      session,
      previous,
      signInId: mintId(now, randomBytes),
      userId,
      userEpoch: user?.epoch ?? -1,
      authentication,
      pendingId,
      expiresAt: new Date(now.getTime() + expiresIn),
    },
    now,
  );
  const signIn = (await sessions.find(session, now))?.signIns.find(({ user }) => user.id === userId);
  if (!signIn) throw new Error('the sign-in was not recorded');
  return { session, signIn };
}

export interface GrantOptions {
  readonly now?: Date;
  readonly sessionBound?: boolean;
  /** Nobody has to have consented. */
  readonly firstParty?: boolean;
  readonly pendingId?: string;
  readonly grantExpiresIn?: number;
  readonly scope?: string[];
  readonly claims?: ClaimsRequest;
  /** `null`: none, as of a client that needs none. */
  readonly codeChallenge?: string | null;
}

interface IssueOptions extends GrantOptions {
  readonly pushedRequestId?: string;
}

/** Issues a code, and with it a grant. */
export function aCode(store: Filled, clientId: string, signIn: SignIn, options: IssueOptions = {}) {
  return issueCode(postgresCodes(store.sql), clientId, signIn, { now: store.now, ...options });
}

/** The same by a store of the caller's: calls on one store can go together. */
export async function issueCode(
  codes: ReturnType<typeof postgresCodes>,
  clientId: string,
  signIn: SignIn,
  options: IssueOptions & { now: Date },
) {
  const { now, pushedRequestId, sessionBound = false, pendingId, scope = ['photos.read'], firstParty = true } = options;
  const { claims = NO_CLAIMS, codeChallenge = 'challenge' } = options;
  const client = { ...clientOf({ skip_consent: firstParty }), id: clientId };
  const approved: ApprovedRequest = {
    request: {
      client,
      responseType: { name: 'code', respond: async () => ({}) },
      scope,
      resources: [],
      authorizationDetails: [],
      codeChallenge: codeChallenge ?? undefined,
      dpopJkt: undefined,
      nonce: 'nonce',
      prompt: new Set(),
      maxAge: undefined,
      loginHint: undefined,
      claims,
      namesPerson: false,
      concerns: () => true,
      acrCanBeMet: true,
    },
    address: resolveReturnAddress(client, new Parameters([['redirect_uri', 'https://app.example/callback']])),
    signIn,
    session: { id: mintId(now, randomBytes), signIns: [signIn] },
    pushedRequestId,
    pendingId,
    now,
  };
  const code = mintCredential('authorization_code', now, randomBytes);
  const grantId = mintId(now, randomBytes);
  const outcome = await codes.issue(
    {
      code,
      expiresAt: new Date(now.getTime() + 60_000),
      grantId,
      grantExpiresAt: new Date(now.getTime() + (options.grantExpiresIn ?? 90 * DAY)),
      sessionBound,
      approved,
    },
    now,
  );
  return { outcome, code, grantId };
}

export interface Tokens {
  readonly grantId: string;
  readonly clientId: string;
  readonly userId: string;
  readonly session: Credential;
  readonly signIn: SignIn;
  readonly accessToken: Credential;
  readonly refreshToken: Credential & { value: string };
}

/** Minted tokens as `spend` gets them, and their credentials. */
export function minted(clientId: string, now: Date, grantId?: string) {
  const accessToken = mintCredential('access_token', now, randomBytes);
  const refreshToken = mintCredential('refresh_token', now, randomBytes);
  const forStore: Minted = {
    marks: [],
    jti: accessToken.id,
    expiresAt: new Date(now.getTime() + 300_000),
    accessToken: {
      id: accessToken.id,
      hash: accessToken.hash,
      grantId,
      clientId,
      scope: ['photos.read'],
      authorizationDetails: [],
      audience: ['https://photos.example'],
      cnf: undefined,
      issuedAt: now,
      expiresAt: new Date(now.getTime() + 300_000),
    },
    refreshToken: {
      ...refreshToken,
      scope: ['photos.read'],
      cnf: undefined,
      issuedAt: now,
      expiresAt: new Date(now.getTime() + 14 * DAY),
    },
  };
  return { accessToken, refreshToken, forStore };
}

/** Marks of proofs with these ids, or new ones. */
export function proofs(now: Date, ...jtis: string[]): ReplayMark[] {
  return jtis.map((jti) =>
    replayMark('test', 'owner', jti, now, new OAuthError('invalid_dpop_proof', `${jti} was used before.`)),
  );
}

/** How often statements waited for each other until PostgreSQL ended one: it is sent again call by call, so nothing else tells. */
export async function deadlocksIn(store: Filled): Promise<number> {
  const [row] = await store.rows(sql<{ deadlocks: number }>`
    SELECT deadlocks::integer FROM pg_stat_database WHERE datname = current_database()`);
  return row?.deadlocks ?? Number.NaN;
}

/** A person's whole authorization of a client, down to the tokens. */
export async function someTokens(
  store: Filled,
  options: GrantOptions & { userId?: string; clientId?: string } = {},
): Promise<Tokens> {
  const { now = store.now, userId = await aUser(store), clientId = await aClient(store) } = options;
  const { session, signIn } = await aSignIn(store, userId, { now });
  const { code, grantId } = await aCode(store, clientId, signIn, options);
  const { accessToken, refreshToken, forStore } = minted(clientId, now);
  const outcome = await postgresCodes(store.sql).redeem(code, clientId, forStore, now);
  if (outcome !== 'redeemed') throw new Error('the code was not redeemed');
  return { grantId, clientId, userId, session, signIn, accessToken, refreshToken };
}

/** How many rows a table has. */
export async function countOf(store: Store, table: string): Promise<number> {
  const [row] = await store.rows(sql<{ count: number }>`SELECT count(*)::int AS count FROM ${sql.table(table)}`);
  return row?.count ?? -1;
}

/** A person says yes to a client, as on the consent page of a pending authorization. */
export async function consented(
  store: Filled,
  userId: string,
  clientId: string,
  scope: readonly string[],
  { now = store.now, claims = [] }: { now?: Date; claims?: readonly string[] } = {},
) {
  const pendingId = mintId(store.now, randomBytes);
  await postgresPendingAuthorizations(store.sql).open({
    id: pendingId,
    browserHash: randomBytes(32),
    pushedRequestId: undefined,
    clientId,
    parameters: new Parameters([]),
    registration: sha256('registration'),
    expiresAt: new Date(store.now.getTime() + HOUR),
  });
  await postgresConsents(store.sql).allow({ userId, clientId, scope, claims, pendingId }, now);
}
