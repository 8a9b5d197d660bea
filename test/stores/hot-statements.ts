/**
 * The hot statements: everything that a request can send to the database, in one list, each with the endpoints it serves and the
 * tables it may scan. plans.test.ts holds their plans to that, tools/statements.ts writes them down (docs/statements.md).
 *
 * A new statement on a request's path is a line here.
 */
import { randomBytes } from 'node:crypto';
import { type RawBuilder, sql } from 'kysely';
import { postgresAccess } from '../../src/features/account/access.pg.ts';
import { postgresCodes } from '../../src/features/authorization-code/codes.pg.ts';
import { postgresConsents } from '../../src/features/consent/consents.pg.ts';
import { postgresKeys } from '../../src/features/key-rotation/keys.pg.ts';
import { postgresAttempts } from '../../src/features/login/attempts.pg.ts';
import { postgresPushedRequests } from '../../src/features/par/pushed-requests.pg.ts';
import { postgresRefreshTokens } from '../../src/features/refresh-token/refresh-tokens.pg.ts';
import { PostgresCatalogue } from '../../src/postgres/catalogue.ts';
import { findClientLogo, findClientRecord, isClientOrigin } from '../../src/postgres/clients.pg.ts';
import type { Sql } from '../../src/postgres/database.ts';
import { readExchangePolicies } from '../../src/postgres/exchange-policies.pg.ts';
import { postgresExchanges } from '../../src/postgres/exchanges.pg.ts';
import { postgresLedger } from '../../src/postgres/ledger.pg.ts';
import { keepPartitions, PARTITIONED } from '../../src/postgres/partitions.ts';
import { postgresPendingAuthorizations } from '../../src/postgres/pending-authorizations.pg.ts';
import { postgresReplayMarks } from '../../src/postgres/replay-marks.pg.ts';
import { listResources } from '../../src/postgres/resources.pg.ts';
import { postgresSessions } from '../../src/postgres/sessions.pg.ts';
import { listTrustDomains } from '../../src/postgres/trust-domains.pg.ts';
import { OAuthError } from '../../src/protocol/errors.ts';
import type { AllowedStep, RefusedStep } from '../../src/protocol/exchanges.ts';
import type { Minted } from '../../src/protocol/feature.ts';
import type { NewPendingAuthorization } from '../../src/protocol/interaction.ts';
import { Parameters } from '../../src/protocol/message.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { type ReplayMark, replayMark } from '../../src/protocol/replay.ts';
import { type Credential, mintCredential, mintId, sha256 } from '../../src/protocol/secrets.ts';
import { PASSWORD_AUTHENTICATION } from '../../src/protocol/session.ts';
import { aCode, consented, DAY, type Filled, HOUR, IDLE, issueCode, minted, someTokens, type Tokens } from './store.ts';

/** Whose request it is, and when: everything it names has its time in its id. */
export interface Caller extends Tokens {
  readonly at: Date;
  /** Neither is used up. */
  readonly code: Credential;
  readonly pendingId: string;
  readonly browserHash: Buffer;
  readonly pushedRequest: Credential;
  /** A token that was exchanged for `accessToken`. */
  readonly exchanged: Credential;
}

export interface HotStatement {
  readonly name: string;
  readonly endpoints: readonly string[];
  /** All that it may scan, by index. What it only inserts into is not among them. */
  readonly tables: readonly string[];
  /** Those of which it scans more partitions than the ones its ids name, and why. */
  readonly several?: Readonly<Record<string, string>>;
  /** Those that it reads whole, and why they stay small. */
  readonly whole?: Readonly<Record<string, string>>;
  /** What it asks for is not there, so not all of its tables are read. */
  readonly inVain?: boolean;
  /** The store over a database; calls of it that come at once may travel together. */
  of(database: Sql): (caller: Caller) => Promise<unknown>;
}

const TOKEN = {
  code: '/token: authorization_code',
  refresh: '/token: refresh_token',
  client: '/token: client_credentials',
  exchange: '/token: token exchange',
  assertion: '/token: JWT bearer',
} as const;
const READING = ['/token_info', '/userinfo'];
const WITH_SESSION = ['/authorize', '/login', '/select-account', '/consent', '/account', '/logout'];
const CATALOGUE = ['all, when the catalogue has changed'];

const GRANT = ['grants', 'users', 'consents', 'sign_ins'];
const CHAIN = ['exchanges', 'revocation_marks', 'clients', ...GRANT];

const BUCKETS = 'a proof that is used again with another time is in the bucket before or after its own';
const SESSION = "a session's sign-ins may be of two days: their partitions stand no longer";
const NO_FLOOR = 'sign-ins are found by whose they are, not by their own ids: by index in each of the two days';
const TOLD = 'grants of a sign-in are of its last three days: one partition, two around the border';
const LIVING = 'what a person has allowed is found by who it is, by index in each partition: a page, not a token';
const SMALL = "an operator's table, read into memory when it has changed";

function mintedBy({ clientId, at }: Caller, { opaque, refreshToken, marks }: Given): Minted {
  const { forStore } = minted(clientId, at);
  return {
    ...forStore,
    marks: marks ? marksAt(at) : [],
    accessToken: opaque ? forStore.accessToken : undefined,
    refreshToken: refreshToken ? forStore.refreshToken : undefined,
  };
}

const opaqueToken = (marks: boolean): Given => ({ opaque: true, refreshToken: false, marks });

/** Of an assertion and of a proof. */
function marksAt(at: Date): ReplayMark[] {
  const refusal = new OAuthError('invalid_client', 'The assertion was used before.');
  return ['client assertion', 'DPoP proof'].map((kind) =>
    replayMark(kind, 'client', randomBytes(8).toString('hex'), at, refusal),
  );
}

interface Given {
  readonly opaque: boolean;
  readonly refreshToken: boolean;
  readonly marks: boolean;
}

const WHETHER = [false, true] as const;
/** A statement has a part for each thing that is given, and for proofs. */
const anything: readonly Given[] = WHETHER.flatMap((marks) =>
  WHETHER.flatMap((opaque) => WHETHER.map((refreshToken) => ({ opaque, refreshToken, marks }))),
);

function nameOf(what: string, { opaque, refreshToken, marks }: Given): string {
  const given = `${opaque ? 'an opaque token' : 'a JWT'}${refreshToken ? ' and a refresh token' : ''}`;
  return `${what} for ${given}${marks ? ', with a proof or an assertion' : ''}`;
}

const redeemed = (given: Given) =>
  ({
    name: nameOf('a code is redeemed', given),
    endpoints: [TOKEN.code],
    tables: ['authorization_codes', 'grants', 'sign_ins', ...(given.marks ? ['replay_marks'] : [])],
    ...(given.marks && { several: { replay_marks: BUCKETS } }),
    of: (database) => {
      const codes = postgresCodes(database);
      return (caller) => codes.redeem(caller.code, caller.clientId, mintedBy(caller, given), caller.at);
    },
  }) satisfies HotStatement;

/** One that is replaced gives another one, one that stays gives none. */
const refreshed = (given: Given) =>
  ({
    name: nameOf(given.refreshToken ? 'a refresh token is rotated' : 'a refresh token that stays is used', given),
    endpoints: [TOKEN.refresh],
    tables: ['refresh_tokens', ...(given.marks ? ['replay_marks'] : [])],
    ...(given.marks && { several: { replay_marks: BUCKETS } }),
    of: (database) => {
      const tokens = postgresRefreshTokens(database);
      return (caller) => {
        const { refreshToken, at } = caller;
        const mint = mintedBy(caller, given);
        return given.refreshToken
          ? tokens.rotate(refreshToken, randomBytes(32), mint, at)
          : tokens.use(refreshToken, mint, new Date(at.getTime() + DAY), at);
      };
    },
  }) satisfies HotStatement;

const issued = (name: string, by: { pending: boolean; pushed: boolean }) =>
  ({
    name,
    endpoints: ['/authorize'],
    tables: [
      'sign_ins',
      'users',
      'consents',
      ...(by.pending ? ['pending_authorizations'] : []),
      ...(by.pushed ? ['pushed_requests'] : []),
    ],
    of: (database) => {
      const codes = postgresCodes(database);
      return (caller) =>
        issueCode(codes, caller.clientId, caller.signIn, {
          now: caller.at,
          ...(by.pending && { pendingId: caller.pendingId }),
          ...(by.pushed && { pushedRequestId: caller.pushedRequest.id }),
        });
    },
  }) satisfies HotStatement;

const FULL: Given = { opaque: true, refreshToken: true, marks: false };

/** What cannot be done together with others' is tried alone. */
const alone: readonly HotStatement[] = [
  ...[false, true].map((pushed) => ({
    ...issued(`a code is issued${pushed ? ' for a pushed request' : ''}, but not with those of others`, {
      pending: false,
      pushed,
    }),
    inVain: true,
    of: (database: Sql) => {
      const codes = postgresCodes(database);
      return ({ clientId, signIn, pushedRequest, at }: Caller) =>
        issueCode(
          codes,
          clientId,
          { ...signIn, id: mintId(at, randomBytes) },
          { now: at, ...(pushed && { pushedRequestId: pushedRequest.id }) },
        );
    },
  })),
  {
    ...redeemed(FULL),
    name: 'a code is redeemed, but not with those of others',
    inVain: true,
    of: (database) => {
      const codes = postgresCodes(database);
      return (caller) => codes.redeem(caller.code, 'another client', mintedBy(caller, FULL), caller.at);
    },
  },
  {
    ...refreshed(FULL),
    name: 'a refresh token is rotated, but not with those of others',
    inVain: true,
    of: (database) => {
      const tokens = postgresRefreshTokens(database);
      return (caller) => {
        const unknown = { ...caller.refreshToken, hash: randomBytes(32) };
        return tokens.rotate(unknown, randomBytes(32), mintedBy(caller, FULL), caller.at);
      };
    },
  },
];

const pushed = (name: string, marks: boolean) =>
  ({
    name,
    endpoints: ['/par'],
    tables: marks ? ['replay_marks'] : [],
    ...(marks && { several: { replay_marks: BUCKETS } }),
    of: (database) => {
      const requests = postgresPushedRequests(database);
      return ({ at, clientId }) =>
        requests.push(
          mintCredential('pushed_request', at, randomBytes),
          clientId,
          aPushedRequest(at),
          marks ? marksAt(at) : [],
        );
    },
  }) satisfies HotStatement;

const exchanged = (name: string, marks: boolean) =>
  ({
    name,
    endpoints: [TOKEN.exchange, TOKEN.assertion],
    tables: marks ? ['replay_marks'] : [],
    ...(marks && { several: { replay_marks: BUCKETS } }),
    of: (database) => {
      const exchanges = postgresExchanges(database);
      return (caller) => exchanges.record(aStep(caller), mintedBy(caller, opaqueToken(marks)), caller.at);
    },
  }) satisfies HotStatement;

const onPending = (
  name: string,
  endpoints: readonly string[],
  call: (pendings: ReturnType<typeof postgresPendingAuthorizations>, caller: Caller) => Promise<unknown>,
) =>
  ({
    name,
    endpoints,
    tables: ['pending_authorizations'],
    of: (database) => {
      const pendings = postgresPendingAuthorizations(database);
      return (caller) => call(pendings, caller);
    },
  }) satisfies HotStatement;

const onLedger = (
  name: string,
  endpoints: readonly string[],
  tables: readonly string[],
  call: (ledger: ReturnType<typeof postgresLedger>, caller: Caller) => Promise<unknown>,
  several?: Readonly<Record<string, string>>,
) =>
  ({
    name,
    endpoints,
    tables,
    ...(several && { several }),
    of: (database) => {
      const ledger = postgresLedger(database);
      return (caller) => call(ledger, caller);
    },
  }) satisfies HotStatement;

const inSession = (
  name: string,
  endpoints: readonly string[],
  tables: readonly string[],
  several: Readonly<Record<string, string>>,
  call: (sessions: ReturnType<typeof postgresSessions>, caller: Caller) => Promise<unknown>,
) =>
  ({
    name,
    endpoints,
    tables,
    several,
    of: (database) => {
      const sessions = postgresSessions(database, IDLE);
      return (caller) => call(sessions, caller);
    },
  }) satisfies HotStatement;

/** What belongs to the catalogue has no partitions; nothing of it is asked while nothing changes. */
const ofCatalogue = (
  name: string,
  tables: readonly string[],
  whole: boolean,
  call: (database: Sql, caller: Caller) => Promise<unknown>,
  endpoints: readonly string[] = CATALOGUE,
) =>
  ({
    name,
    endpoints,
    tables,
    ...(whole && { whole: Object.fromEntries(tables.map((table) => [table, SMALL])) }),
    of: (database) => (caller) => call(database, caller),
  }) satisfies HotStatement;

export const hotStatements: readonly HotStatement[] = [
  inSession(
    'a session is found',
    WITH_SESSION,
    ['sessions', 'sign_ins', 'users', 'consents'],
    { sign_ins: SESSION },
    (sessions, { session, at, clientId }) => sessions.find(session, at, clientId),
  ),
  inSession(
    'a session is found and, once an hour, touched',
    WITH_SESSION,
    ['sessions', 'sign_ins', 'users', 'consents'],
    { sign_ins: SESSION },
    (sessions, { session, at, clientId }) => sessions.find(session, new Date(at.getTime() + 1.5 * HOUR), clientId),
  ),
  {
    name: 'an authorization begins to wait for a person',
    endpoints: ['/authorize'],
    tables: [],
    of: (database) => (caller) =>
      postgresPendingAuthorizations(database).open(aPendingAuthorization(caller, mintId(caller.at, randomBytes))),
  },
  onPending('a pending authorization is found', ['/authorize', '/login', '/consent'], (pendings, caller) =>
    pendings.find(caller.pendingId, caller.browserHash, caller.at),
  ),
  onPending('a pending authorization is bound to a browser', ['/authorize'], (pendings, caller) =>
    pendings.bind(caller.pendingId, caller.browserHash, caller.at),
  ),
  onPending('a pending authorization is closed', ['/authorize'], (pendings, { pendingId, at }) =>
    pendings.close(pendingId, at),
  ),
  onPending('somebody who is signed in is chosen', ['/select-account'], (pendings, { pendingId, signIn, at }) =>
    pendings.choose(pendingId, signIn.id, at),
  ),
  onPending('a person says no', ['/login', '/consent'], (pendings, { pendingId, at }) => pendings.deny(pendingId, at)),
  {
    name: 'a person says yes',
    endpoints: ['/consent'],
    tables: ['pending_authorizations'],
    of: (database) => {
      const consents = postgresConsents(database);
      return ({ userId, clientId, pendingId, at }) =>
        consents.allow({ userId, clientId, scope: ['photos.read'], claims: ['email'], pendingId }, at);
    },
  },
  {
    name: 'a pushed request is found',
    endpoints: ['/authorize'],
    tables: ['pushed_requests'],
    of: (database) => {
      const requests = postgresPushedRequests(database);
      return ({ pushedRequest, clientId, at }) => requests.find(pushedRequest, clientId, at);
    },
  },
  issued('a code is issued at once', { pending: false, pushed: false }),
  issued('a code is issued to who was asked', { pending: true, pushed: false }),
  issued('a code is issued for a pushed request', { pending: false, pushed: true }),
  issued('a code is issued for a pushed request to who was asked', { pending: true, pushed: true }),
  pushed('a request is pushed', false),
  pushed('a request is pushed with a proof or an assertion', true),
  {
    name: 'an attempt to sign in is counted, and its person found',
    endpoints: ['/login'],
    tables: ['users'],
    of: (database) => {
      const attempts = postgresAttempts(database);
      return (caller) => attempts.begin(`u ${caller.userId}`, attemptKeys(caller), caller.at);
    },
  },
  {
    name: 'a right password clears the counts',
    endpoints: ['/login'],
    tables: ['users', 'sign_in_attempts'],
    of: (database) => {
      const attempts = postgresAttempts(database);
      return (caller) =>
        attempts.succeeded(attemptKeys(caller), { userId: caller.userId, epoch: 0, rehash: 'another hash' });
    },
  },
  inSession(
    'a person is signed in',
    ['/login'],
    ['users', 'sessions', 'sign_ins', 'pending_authorizations'],
    { sign_ins: SESSION },
    (sessions, caller) =>
      sessions.signIn(
        {
          session: mintCredential('session', caller.at, randomBytes),
          previous: caller.session,
          signInId: mintId(caller.at, randomBytes),
          userId: caller.userId,
          userEpoch: 0,
          authentication: { time: caller.at, ...PASSWORD_AUTHENTICATION },
          pendingId: caller.pendingId,
          expiresAt: new Date(caller.at.getTime() + 12 * HOUR),
        },
        caller.at,
      ),
  ),
  inSession(
    'a session is ended, and its applications named',
    ['/logout'],
    ['sessions', 'sign_ins', 'grants'],
    { sign_ins: NO_FLOOR, grants: TOLD },
    (sessions, { session, at }) => sessions.end(session, at),
  ),
  {
    name: 'a code is found',
    endpoints: [TOKEN.code],
    tables: ['authorization_codes', ...GRANT],
    of: (database) => {
      const codes = postgresCodes(database);
      return ({ code, at }) => codes.find(code, at);
    },
  },
  ...anything.map(redeemed),
  onLedger(
    'a grant is revoked: its code or refresh token came again',
    [TOKEN.code, TOKEN.refresh],
    ['grants'],
    (ledger, caller) => ledger.revokeGrant(caller.grantId, 'authorization code replayed', caller.at),
  ),
  {
    name: 'a refresh token is found',
    endpoints: [TOKEN.refresh],
    tables: ['refresh_tokens', ...GRANT],
    of: (database) => {
      const tokens = postgresRefreshTokens(database);
      return ({ refreshToken, at }) => tokens.find(refreshToken, at);
    },
  },
  ...anything.map(refreshed),
  ...alone,
  onLedger('an opaque access token is stored', [TOKEN.client, TOKEN.refresh], [], (ledger, caller) =>
    ledger.record(mintedBy(caller, opaqueToken(false)).accessToken, []),
  ),
  onLedger(
    'an opaque access token is stored, with a proof or an assertion',
    [TOKEN.client],
    ['replay_marks'],
    (ledger, caller) => ledger.record(mintedBy(caller, opaqueToken(false)).accessToken, marksAt(caller.at)),
    { replay_marks: BUCKETS },
  ),
  {
    name: 'a proof or an assertion is used up, where nothing else is written',
    endpoints: [...Object.values(TOKEN), ...READING, '/revoke'],
    tables: ['replay_marks'],
    several: { replay_marks: BUCKETS },
    of: (database) => {
      const marks = postgresReplayMarks(database);
      return ({ at }) => marks.claim(marksAt(at));
    },
  },
  exchanged('an exchange is recorded', false),
  exchanged('an exchange is recorded, with a proof or an assertion', true),
  {
    name: 'a refused exchange is recorded',
    endpoints: [TOKEN.exchange, TOKEN.assertion],
    tables: [],
    of: (database) => {
      const exchanges = postgresExchanges(database);
      return (caller) => exchanges.refuse(aRefusal(caller), caller.at);
    },
  },
  onLedger(
    'an opaque access token is found',
    [...READING, TOKEN.exchange],
    ['access_tokens', 'clients', ...GRANT],
    (ledger, { accessToken, at }) => ledger.findAccessToken(accessToken, at),
  ),
  onLedger(
    'a JWT is confirmed',
    [...READING, TOKEN.exchange],
    ['clients', 'revocation_marks', ...GRANT],
    (ledger, caller) => ledger.confirm(signedToken(caller), caller.at),
  ),
  onLedger(
    'an exchanged token is found',
    [...READING, TOKEN.exchange],
    CHAIN,
    (ledger, { exchanged: { id, hash }, at }) => ledger.findExchanged(id, hash, at),
  ),
  onLedger(
    'a refresh token is introspected',
    ['/token_info'],
    ['refresh_tokens', 'clients', ...GRANT],
    (ledger, { refreshToken, at }) => ledger.findRefreshToken(refreshToken, at),
  ),
  onLedger('an opaque access token is revoked', ['/revoke'], ['access_tokens'], (ledger, caller) =>
    ledger.revokeAccessToken(caller.accessToken, caller.clientId, caller.at),
  ),
  onLedger('a JWT is revoked', ['/revoke'], [], (ledger, caller) =>
    ledger.revokeSigned(signedToken(caller), caller.clientId, caller.at),
  ),
  onLedger('an exchanged token is revoked', ['/revoke'], ['exchanges'], (ledger, caller) =>
    ledger.revokeExchanged(caller.exchanged, caller.clientId, caller.at),
  ),
  onLedger('a refresh token is revoked, with its grant', ['/revoke'], ['refresh_tokens', 'grants'], (ledger, caller) =>
    ledger.revokeRefreshToken(caller.refreshToken, caller.clientId, caller.at),
  ),
  {
    name: "a person's consents are listed",
    endpoints: ['/account'],
    tables: ['consents'],
    of: (database) => {
      const access = postgresAccess(database);
      return ({ userId }) => access.list(userId);
    },
  },
  {
    name: "a person's authorization details are listed",
    endpoints: ['/account'],
    tables: GRANT,
    several: { grants: LIVING },
    of: (database) => {
      const access = postgresAccess(database);
      return ({ userId, at }) => access.details(userId, at);
    },
  },
  {
    name: 'an application is removed, and told',
    endpoints: ['/account'],
    tables: ['consents', 'sign_ins', 'grants', 'clients'],
    several: { sign_ins: NO_FLOOR, grants: TOLD },
    of: (database) => {
      const access = postgresAccess(database);
      return ({ userId, clientId, at }) => access.remove(userId, clientId, at);
    },
  },
  {
    name: "the catalogue's version is confirmed",
    endpoints: ['all, where a second has passed without it'],
    tables: ['catalogue'],
    whole: { catalogue: 'it has one row' },
    of: (database) => () =>
      new PostgresCatalogue({ database, directUrl: '', profile: oauth21 }).confirmed(async () => undefined),
  },
  ofCatalogue('a client is read', ['clients', 'client_secrets', 'client_logos'], false, (database, { clientId }) =>
    findClientRecord(database, clientId),
  ),
  ofCatalogue('an origin is looked up', ['client_origins', 'clients'], false, (database) =>
    isClientOrigin(database, 'https://c7.example'),
  ),
  ofCatalogue('resources are read', ['resources'], true, listResources),
  ofCatalogue('exchange policies are read', ['exchange_policies'], true, readExchangePolicies),
  ofCatalogue('trust domains are read', ['trust_domains'], true, listTrustDomains),
  ofCatalogue('keys are read', ['signing_keys'], true, (database) => postgresKeys(database).list()),
  ofCatalogue(
    'a logo is read',
    ['client_logos'],
    false,
    (database, { clientId }) => findClientLogo(database, clientId),
    ['/client-logos'],
  ),
];

function attemptKeys({ userId }: Caller) {
  return { source: sha256(`source ${userId}`), account: sha256(`account ${userId}`), person: sha256('person') };
}

function signedToken({ accessToken, grantId, clientId }: Caller) {
  return { jti: accessToken.id, grantId, clientId };
}

function aPendingAuthorization({ at, clientId }: Pick<Caller, 'at' | 'clientId'>, id: string): NewPendingAuthorization {
  return {
    id,
    browserHash: undefined,
    pushedRequestId: undefined,
    clientId,
    parameters: new Parameters([['client_id', clientId]]),
    registration: sha256('registration'),
    expiresAt: new Date(at.getTime() + HOUR),
  };
}

function aPushedRequest(at: Date) {
  return {
    parameters: new Parameters([]),
    registration: sha256('registration'),
    expiresAt: new Date(at.getTime() + HOUR),
  };
}

function aStep({ at, clientId, userId, grantId, accessToken, signIn }: Omit<Caller, 'exchanged'>): AllowedStep {
  const seconds = Math.floor(at.getTime() / 1000);
  return {
    call: {
      txn: accessToken.id,
      origin: { client_id: clientId, sub: userId, jti: accessToken.id, iat: seconds, grant_type: 'authorization_code' },
      subject: userId,
      act: { sub: clientId },
      hops: [
        {
          client: clientId,
          target: 'https://storage.example',
          policy: 'p',
          policyCreatedAt: 0,
          scope: ['storage.read'],
        },
      ],
      lineage: [accessToken.id],
      clients: [clientId],
      actorGrants: [grantId],
    },
    parent: accessToken.id,
    clientId,
    userId,
    grantId,
    source: 'https://photos.example',
    target: 'https://storage.example',
    requestId: 'request',
    scope: ['storage.read'],
    audience: ['https://storage.example'],
    cnf: undefined,
    authentication: signIn.authentication,
    issuedTokenType: 'urn:ietf:params:oauth:token-type:access_token',
  };
}

function aRefusal(caller: Caller): RefusedStep {
  const {
    call,
    audience: _audience,
    cnf: _cnf,
    authentication: _authentication,
    issuedTokenType: _type,
    ...step
  } = aStep(caller);
  const { txn, origin, subject, hops } = call;
  return { ...step, txn, origin, subject, hops, rule: 'policy' };
}

/** Far enough from the present for other partitions of what lives for months. */
const EARLIER = -9 * DAY;

/** A schema in the middle of its life, with rows in it, and callers of two moments. */
export async function fill(store: Filled): Promise<readonly Caller[]> {
  // Months of what is kept for months, then two days of the rest.
  for (let day = -96; day < 0; day += 8) await keepPartitions(store.sql, store.at(day * DAY));
  for (let hour = -48; hour <= 0; hour += 0.75) await keepPartitions(store.sql, store.at(hour * HOUR));
  await keepPartitions(store.sql, store.at(EARLIER));
  await addRows(store);
  const callers: Caller[] = [];
  for (const moment of [0, EARLIER, 0, EARLIER]) callers.push(await aCaller(store, store.at(moment)));
  await analyze(store);
  return callers;
}

/** As autovacuum does: what is empty was never looked at. */
async function analyze(store: Filled): Promise<void> {
  const tables = await store.rows(sql<{ name: string }>`
    SELECT relname AS name FROM pg_class
    WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace AND pg_relation_size(oid) > 0`);
  for (const { name } of tables) await store.rows(sql`ANALYZE ${sql.table(name)}`);
}

async function aCaller(store: Filled, at: Date): Promise<Caller> {
  const tokens = await someTokens(store, { now: at, sessionBound: true, scope: ['openid', 'photos.read'] });
  const { userId, clientId, signIn } = tokens;
  const details = JSON.stringify([{ type: 'photos' }]);
  await store.rows(sql`UPDATE grants SET authorization_details = ${details}::jsonb WHERE id = ${tokens.grantId}`);
  await consented(store, userId, clientId, ['photos.read'], { now: at });
  const { code } = await aCode(store, clientId, signIn, { now: at, sessionBound: true, scope: ['openid'] });
  const pendingId = mintId(at, randomBytes);
  await postgresPendingAuthorizations(store.sql).open(aPendingAuthorization({ at, clientId }, pendingId));
  const pushedRequest = mintCredential('pushed_request', at, randomBytes);
  await postgresPushedRequests(store.sql).push(pushedRequest, clientId, aPushedRequest(at), []);
  const caller = { ...tokens, at, code, pendingId, browserHash: randomBytes(32), pushedRequest };
  const { accessToken, forStore } = minted(clientId, at);
  await postgresExchanges(store.sql).record(aStep(caller), { ...forStore, refreshToken: undefined }, at);
  return { ...caller, exchanged: accessToken };
}

/** Some thousand in each table, of both moments. */
async function addRows(store: Filled): Promise<void> {
  const [now, earlier] = [0, EARLIER].map((moment) => store.at(moment));
  const rows = sql`
    FROM generate_series(1, 4000) AS n, LATERAL (
      SELECT CASE WHEN n % 2 = 0 THEN ${now}::timestamptz ELSE ${earlier}::timestamptz END AS at
    ) AS t, LATERAL (
      SELECT (lpad(to_hex((extract(epoch FROM t.at) * 1000)::bigint), 12, '0') || '7' || left(md5(n::text), 3) || '8'
              || right(md5(n::text), 15))::uuid AS id, ''::bytea AS hash
    ) AS r`;
  const statements: RawBuilder<unknown>[] = [
    sql`INSERT INTO users (id, username, username_key, email_key, password_hash, claims, created_at, updated_at)
        SELECT id, 'u' || n, 'u' || n, n || '@people.example', '', '{}', at, at ${rows}`,
    sql`INSERT INTO clients (id, metadata, created_at, updated_at) SELECT 'c' || n, '{}', at, at ${rows}`,
    sql`INSERT INTO client_secrets (id, client_id, hash, created_at) SELECT id, 'c' || n, hash, at ${rows}`,
    sql`INSERT INTO client_origins (origin, client_id) SELECT 'https://c' || n || '.example', 'c' || n ${rows}`,
    sql`INSERT INTO client_logos (client_id, media_type, bytes, digest) SELECT 'c' || n, '', hash, '' ${rows}`,
    sql`INSERT INTO sign_in_attempts (key, window_start, failures) SELECT sha256(n::text::bytea), at, 1 ${rows}`,
    sql`INSERT INTO consents (user_id, client_id, scope, granted_at) SELECT id, 'c' || n, '{}', at ${rows}`,
    sql`INSERT INTO sessions (id, secret_hash, created_at, last_used_at) SELECT id, hash, at, at ${rows}`,
    sql`INSERT INTO sign_ins (id, session_id, user_id, user_epoch, auth_time, acr, amr, expires_at)
        SELECT id, id, id, 0, at, '', '{}', at ${rows}`,
    sql`INSERT INTO grants (id, client_id, user_id, user_epoch, consent_epoch, sign_in_id, session_bound, scope, resources,
                            auth_time, acr, amr, created_at, expires_at)
        SELECT id, 'c' || n, id, 0, 0, id, true, '{}', '{}', at, '', '{}', at, at ${rows}`,
    sql`INSERT INTO authorization_codes (id, secret_hash, grant_id, client_id, redirect_uri, code_challenge, expires_at)
        SELECT id, hash, id, 'c' || n, '', '', at ${rows}`,
    sql`INSERT INTO refresh_tokens (id, secret_hash, grant_id, client_id, scope, issued_at, expires_at)
        SELECT id, hash, id, 'c' || n, '{}', at, at ${rows}`,
    sql`INSERT INTO access_tokens (id, secret_hash, grant_id, client_id, scope, audience, issued_at, expires_at)
        SELECT id, hash, id, 'c' || n, '{}', '{}', at, at ${rows}`,
    sql`INSERT INTO pending_authorizations (id, client_id, parameters, expires_at) SELECT id, 'c' || n, '[]', at ${rows}`,
    sql`INSERT INTO pushed_requests (id, secret_hash, client_id, parameters, registration, expires_at)
        SELECT id, hash, 'c' || n, '[]', hash, at ${rows}`,
    sql`INSERT INTO revocation_marks (id, revoked_at) SELECT id, at ${rows}`,
    sql`INSERT INTO replay_marks (id) SELECT id ${rows}`,
    sql`INSERT INTO exchanges (id, secret_hash, txn, parent, client_id, subject, hops, origin, target, issued_at, expires_at)
        SELECT id, hash, n, n, 'c' || n, n, '[]', '{}', '', at, at ${rows}`,
    sql`INSERT INTO logout_deliveries (grant_id, client_id, user_id, sign_in_id, queued_at, next_attempt_at)
        SELECT id, 'c' || n, id, id, at, at ${rows}`,
  ];
  for (const statement of statements) await store.rows(statement);
}

/** The partitions that hold what the callers name. */
export function partitionsOf(table: string, callers: readonly Caller[]): Set<string> | undefined {
  if (!Object.hasOwn(PARTITIONED, table)) return undefined;
  const { span } = PARTITIONED[table as keyof typeof PARTITIONED];
  return new Set(callers.map(({ at }) => `${table}_${Math.floor(at.getTime() / 1000 / span) * span}`));
}
