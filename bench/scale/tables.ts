/** What each table is filled with, as a function of the row's number `n`; the numbers between tables follow from each other. */
import { ISSUER } from '../harness/request.ts';
import { PHOTOS, STORAGE } from '../servers/cast.ts';

export interface Series {
  readonly name: string;
  readonly rows: number;
  /** The first row that is not over. */
  readonly firstLive: number;
  /** Milliseconds that its rows lie back at most. */
  readonly back: number;
  /** SQL of the id of row `n`. */
  readonly id: string;
  /** SQL with the first and the last `n` of a chunk as its parameters. */
  readonly insert: string;
}

export interface Fill {
  readonly tokens: number;
  /** Milliseconds. */
  readonly now: number;
  readonly history: 'years' | 'recent';
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Spreads what refers over what is referred to: prime, so that neighbours refer to rows far apart. */
const STRIDE = 7_919;

/** Milliseconds that the rows of a table lie back at most; less than its partitions are kept. */
const BACK = { people: 700 * DAY, events: 390 * DAY, grants: 118 * DAY, signIns: 11 * HOUR, accessTokens: 30 * MINUTE };
/** Of the same, where everything is recent: within partitions that a new database has. */
const RECENT = 5 * MINUTE;
/** One consent of so many was withdrawn and given again; one grant of so many ends with its sign-in. */
const WITHDRAWN = 20;
const SESSION_BOUND = 4;
/** Grants end after 90 days, and their rows stay for 120. */
const GRANT_LIFETIME = 90 * DAY;

export function tables({ tokens, now, history }: Fill): Series[] {
  const back = (span: number) => (history === 'years' ? span : RECENT);
  const users = Math.max(10, Math.ceil(tokens / 50));
  const sessions = Math.max(10, Math.ceil(tokens / 20));
  const grants = Math.max(10, Math.ceil(tokens / 2));
  const events = Math.ceil(tokens / 10);
  const firstLiveGrant = history === 'years' ? Math.ceil(grants * (1 - (GRANT_LIFETIME - 2 * DAY) / BACK.grants)) : 0;
  const liveGrants = grants - firstLiveGrant;

  /** SQL of the time of row `number` of so many. */
  const time = (number: string, rows: number, span: number) =>
    `(${now - back(span)} + ${back(span)}::bigint * ${number} / ${rows})`;
  const id = (kind: string, number: string, rows: number, span: number) =>
    `pg_temp.row_id(${time(number, rows, span)}, '${kind}', ${number})`;
  const userId = (number: string) => id('users', number, users, BACK.people);
  const signInId = (number: string) => id('sign_ins', number, sessions, BACK.signIns);
  const sessionId = (number: string) => id('sessions', number, sessions, BACK.signIns);
  const grantId = (number: string) => id('grants', number, grants, BACK.grants);
  const userOf = (number: string) => `(${number} * ${STRIDE} % ${users})`;
  const epochOf = (user: string) => `CASE WHEN ${user} % ${WITHDRAWN} = 0 THEN 1 ELSE 0 END`;
  const at = (milliseconds: string | number) => `pg_temp.at(${milliseconds})`;
  const numbers = 'FROM generate_series($1::bigint, $2::bigint) AS n';
  const inFourHours = at(now + 4 * HOUR);

  return [
    {
      name: 'users',
      rows: users,
      firstLive: 0,
      back: back(BACK.people),
      id: userId('n'),
      insert: `
        INSERT INTO users (id, username, username_key, email_key, password_hash, claims, created_at, updated_at)
        SELECT ${userId('n')}, 'filled' || n, 'filled' || n, 'filled' || n || '@filled.example', '$argon2id$none',
               jsonb_build_object('name', 'Filled ' || n, 'email', 'filled' || n || '@filled.example'), at, at
        FROM (SELECT n, ${at(time('n', users, BACK.people))} AS at ${numbers}) AS person`,
    },
    {
      name: 'consents',
      rows: users,
      firstLive: 0,
      back: back(BACK.people),
      id: userId('n'),
      insert: `
        INSERT INTO consents (user_id, client_id, scope, granted_at, epoch)
        SELECT ${userId('n')}, 'web', '{openid,photos.read}', ${at(now)}, ${epochOf('n')} ${numbers}`,
    },
    {
      name: 'sessions',
      rows: sessions,
      firstLive: 0,
      back: back(BACK.signIns),
      id: sessionId('n'),
      insert: `
        INSERT INTO sessions (id, secret_hash, created_at, last_used_at)
        SELECT ${sessionId('n')}, pg_temp.secret_hash('sessions', n), at, at
        FROM (SELECT n, ${at(time('n', sessions, BACK.signIns))} AS at ${numbers}) AS session`,
    },
    {
      name: 'sign_ins',
      rows: sessions,
      firstLive: 0,
      back: back(BACK.signIns),
      id: signInId('n'),
      insert: `
        INSERT INTO sign_ins (id, session_id, user_id, user_epoch, auth_time, acr, amr, expires_at)
        SELECT ${signInId('n')}, ${sessionId('n')}, ${userId(userOf('n'))}, 0, ${at(time('n', sessions, BACK.signIns))},
               'pwd', '{pwd}', ${at(now + 12 * HOUR)} ${numbers}`,
    },
    {
      name: 'grants',
      rows: grants,
      firstLive: firstLiveGrant,
      back: back(BACK.grants),
      id: grantId('n'),
      insert: `
        INSERT INTO grants (id, client_id, user_id, user_epoch, consent_epoch, sign_in_id, session_bound, scope, resources,
                            auth_time, acr, amr, created_at, expires_at)
        SELECT ${grantId('n')}, 'web', ${userId(userOf('n'))}, 0, ${epochOf(userOf('n'))},
               ${signInId(`(n % ${sessions})`)}, n % ${SESSION_BOUND} = 0,
               '{openid,photos.read}', '{${PHOTOS}}', at, 'pwd', '{pwd}', at, at + interval '90 days'
        FROM (SELECT n, ${at(time('n', grants, BACK.grants))} AS at ${numbers}) AS granted`,
    },
    {
      name: 'refresh_tokens',
      rows: grants,
      firstLive: firstLiveGrant,
      back: back(BACK.grants),
      id: id('refresh_tokens', 'n', grants, BACK.grants),
      insert: `
        INSERT INTO refresh_tokens (id, secret_hash, grant_id, client_id, scope, issued_at, expires_at)
        SELECT ${id('refresh_tokens', 'n', grants, BACK.grants)}, pg_temp.secret_hash('refresh_tokens', n), ${grantId('n')},
               'web', '{openid,photos.read}', at, least(at + interval '90 days', ${at(now + 14 * DAY)})
        FROM (SELECT n, ${at(time('n', grants, BACK.grants))} AS at ${numbers}) AS issued`,
    },
    {
      name: 'access_tokens',
      rows: tokens,
      firstLive: 0,
      back: back(BACK.accessTokens),
      id: id('access_tokens', 'n', tokens, BACK.accessTokens),
      insert: `
        INSERT INTO access_tokens (id, secret_hash, grant_id, client_id, scope, audience, issued_at, expires_at)
        SELECT ${id('access_tokens', 'n', tokens, BACK.accessTokens)}, pg_temp.secret_hash('access_tokens', n),
               ${grantId(`(${firstLiveGrant} + n * ${STRIDE} % ${liveGrants})`)}, 'web', '{openid,storage.read}',
               '{${STORAGE},${ISSUER}}', ${at(time('n', tokens, BACK.accessTokens))}, ${inFourHours} ${numbers}`,
    },
    {
      name: 'audit',
      rows: events,
      firstLive: 0,
      back: back(BACK.events),
      id: id('audit', 'n', events, BACK.events),
      insert: `
        INSERT INTO audit (id, at, event, client_id, user_id)
        SELECT ${id('audit', 'n', events, BACK.events)}, ${at(time('n', events, BACK.events))}, 'authorization_granted', 'web',
               ${userId(userOf('n'))} ${numbers}`,
    },
  ];
}
