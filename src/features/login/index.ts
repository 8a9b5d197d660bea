/**
 * Sign-in with user name or e-mail and password. RFC 9700 §4.7 (CSRF), OWASP ASVS 2.2 (brute force).
 *
 * Every attempt is counted before the password is looked at, by source and by account, in the database that all nodes
 * share, so parallel guessing on many nodes meets the same limit; a success takes its count back. A browser that has
 * signed in with this name before counts on an account of its own (the `device` cookie): a stranger who fails on
 * purpose cannot lock its owner out. Known and unknown names cost one statement and one hash each.
 *
 * A person goes by two names, user name and e-mail, and guesses at both add up. That they do is told to nobody, or it
 * would tell which names are somebody's: over that limit even the right password is answered, and costs, like a wrong one.
 */
import { askedAgain } from '../../protocol/account-choice.ts';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import { nameKey, type User } from '../../protocol/claims.ts';
import type { Feature } from '../../protocol/feature.ts';
import {
  browserOf,
  cancelInteraction,
  checkForm,
  clientCard,
  findPending,
  formToken,
  type Interaction,
  interactionOf,
} from '../../protocol/interaction.ts';
import type { BrowserRequest, BrowserResponse, CookieChange } from '../../protocol/message.ts';
import type { LoginPage } from '../../protocol/page.ts';
import { formTarget } from '../../protocol/redirect-uri.ts';
import {
  equals,
  hmac,
  mintCredential,
  mintId,
  PASSWORD_MAX_BYTES,
  type Passwords,
  parseCredential,
  sha256,
} from '../../protocol/secrets.ts';
import { PASSWORD_AUTHENTICATION, sessionOf } from '../../protocol/session.ts';

/** Failures allowed in one window. */
const LIMITS = { source: 100, account: 10, person: 10 } as const;
export const ATTEMPT_WINDOW = 15 * 60 * 1000;

export interface AttemptKeys {
  /** Digests: the table tells nobody who tried what. */
  readonly source: Buffer;
  /** By the name that was typed. */
  readonly account: Buffer;
  /** What the person's id, or an unknown name, is digested with: by whoever the name leads to. */
  readonly person: Buffer;
}

export interface Attempt {
  readonly failures: { readonly source: number; readonly account: number; readonly person: number };
  /** When the window of each count began. */
  readonly since: { readonly source: Date; readonly account: Date };
  readonly person: { readonly user: User; readonly epoch: number; readonly passwordHash: string } | undefined;
}

export interface Attempts {
  /** Counts an attempt and finds the person, in one statement, whether there is one or not. */
  begin(name: string, keys: AttemptKeys, now: Date): Promise<Attempt>;
  /**
   * Takes the attempt back, clears the counts of account and person, and stores a hash with today's parameters if one is given and
   * the password is still the same.
   */
  succeeded(keys: AttemptKeys, person: { userId: string; epoch: number; rehash: string | undefined }): Promise<void>;
  /** Forgets windows that are over. */
  forget(before: Date): Promise<void>;
}

export interface LoginOptions {
  readonly attempts: Attempts;
  readonly passwords: Passwords;
  /** GATEHOUSE_COOKIE_KEY: the first signs the device cookie, all are accepted. */
  readonly cookieKeys: readonly Buffer[];
}

const PATH = '/login';
const CANCEL_PATH = '/login/cancel';

export function login(options: LoginOptions): Feature {
  return {
    name: 'login',
    endpoints: [
      {
        caller: 'browser',
        path: PATH,
        get: (request, server) => showForm(request, server),
        post: (request, server) => signIn(request, server, options),
      },
      {
        caller: 'browser',
        path: CANCEL_PATH,
        post: (request, server) => cancelInteraction(request, server, PATH),
      },
    ],
    jobs: [
      {
        name: 'forget sign-in attempts',
        every: 3600,
        run: (now) => options.attempts.forget(new Date(now.getTime() - ATTEMPT_WINDOW)),
      },
    ],
  };
}

interface Shown {
  readonly username?: string;
  readonly error?: LoginPage['error'];
  readonly status?: number;
}

async function showForm(
  request: BrowserRequest,
  server: AuthorizationServer,
  shown: Shown = {},
): Promise<BrowserResponse> {
  const interaction =
    request.parameters.get('pending') === undefined ? undefined : await interactionOf(request, server);
  const browser = interaction?.browser ?? browserOf(request, server);
  const pending = interaction?.pending.id;
  const again = interaction && (await whoAgain(interaction, request, server));
  const username = shown.username ?? (interaction && prefilled(interaction, again)) ?? '';
  const page: LoginPage = {
    view: 'login',
    action: PATH,
    csrf: formToken(browser, server, PATH, pending ?? ''),
    username,
    usernameKnown: username !== '',
    ...(interaction &&
      pending !== undefined && {
        pending,
        cancelAction: CANCEL_PATH,
        client: clientCard(interaction.client, interaction.address.redirectUri),
        ...(again && { notice: 'To go on, confirm that it is you.' }),
      }),
    ...(shown.error && { error: shown.error }),
  };
  return {
    kind: 'page',
    page,
    status: shown.status ?? 200,
    cookies: browser.cookies,
    ...(interaction && { formTarget: formTarget(interaction.address) }),
  };
}

async function whoAgain(
  { request: asked, pending, client }: Interaction,
  request: BrowserRequest,
  server: AuthorizationServer,
): Promise<User | undefined> {
  const session = await sessionOf(request, server.sessions, client.id);
  return askedAgain(asked, session, pending, request.now)?.user;
}

/** Who was chosen on the page before is meant more than a `login_hint`; who only happens to be signed in, less. */
function prefilled({ request, pending }: Interaction, again: User | undefined): string | undefined {
  const chosen = pending.signIn && again?.username;
  return chosen ?? request.loginHint?.slice(0, 254) ?? again?.username;
}

async function signIn(
  request: BrowserRequest,
  server: AuthorizationServer,
  options: LoginOptions,
): Promise<BrowserResponse> {
  const { parameters, now } = request;
  const pendingId = parameters.get('pending');
  const browser = checkForm(request, server, PATH, pendingId ?? '');
  // Before any work: one that is over or another browser's gets its page.
  const pending = pendingId === undefined ? undefined : await findPending(pendingId, browser, now, server);
  const username = parameters.get('username')?.trim() ?? '';
  const password = parameters.get('password') ?? '';
  const refuse = (status: number, message: string, invalid: boolean, throttled = status === 429) => {
    request.trace.event = throttled ? 'sign_in_throttled' : 'sign_in_failed';
    return showForm(request, server, {
      username: username.slice(0, 254),
      error: { message, usernameInvalid: invalid, passwordInvalid: invalid },
      status,
    });
  };
  if (username === '' || password === '')
    return refuse(400, 'Enter your user name or e-mail, and your password.', true);
  if (username.length > 254 || Buffer.byteLength(password) > PASSWORD_MAX_BYTES) return refuse(400, WRONG, true);

  // Before it is counted: strangers who fill the queue must not use up the attempts of somebody with the right password.
  options.passwords.assertRoom();
  const name = nameKey(username);
  const keys = attemptKeys(request, name, options.cookieKeys);
  const attempt = await options.attempts.begin(name, keys, now);
  if (attempt.person) request.trace.userId = attempt.person.user.id;
  if (overLimits(attempt).length > 0) {
    const seconds = waitOf(attempt, now);
    const minutes = Math.ceil(seconds / 60);
    const message = `There were too many attempts. Try again in ${minutes === 1 ? 'a minute' : `${minutes} minutes`}.`;
    return { ...(await refuse(429, message, false)), retryAfter: seconds };
  }
  const { person } = attempt;
  const right = await options.passwords.verify(person?.passwordHash, password);
  const guessedAt = attempt.failures.person > LIMITS.person;
  if (!right || !person || guessedAt) return refuse(400, WRONG, true, guessedAt);

  const rehash = options.passwords.isOutdated(person.passwordHash) ? await options.passwords.hash(password) : undefined;
  await options.attempts.succeeded(keys, { userId: person.user.id, epoch: person.epoch, rehash });
  const session = mintCredential('session', now, server.context.random);
  const outcome = await server.sessions.signIn(
    {
      session,
      previous: parseCredential('session', request.cookie('session')),
      signInId: mintId(now, server.context.random),
      userId: person.user.id,
      userEpoch: person.epoch,
      authentication: { time: now, ...PASSWORD_AUTHENTICATION },
      pendingId: pending?.id,
      expiresAt: new Date(now.getTime() + server.profile.lifetimes.signIn * 1000),
    },
    now,
  );
  if (outcome === 'gone') return refuse(400, WRONG, true);
  request.trace.userId = person.user.id;
  request.trace.event = 'signed_in';
  return {
    kind: 'redirect',
    location: pending ? `/authorize?pending=${pending.id}` : '/account',
    cookies: [{ name: 'session', value: session.value }, deviceCookie(name, options.cookieKeys, server)],
  };
}

const COUNTS = ['source', 'account'] as const;

function overLimits({ failures }: Attempt) {
  return COUNTS.filter((count) => failures[count] > LIMITS[count]);
}

/** Seconds until every count that is over its limit begins anew. */
function waitOf(attempt: Attempt, now: Date): number {
  const ends = overLimits(attempt).map((count) => attempt.since[count].getTime() + ATTEMPT_WINDOW);
  return Math.max(1, Math.ceil((Math.max(...ends) - now.getTime()) / 1000));
}

const WRONG = 'The user name or the password is not right.';

const DEVICE_MAX_AGE = 180 * 86_400;

/** `nonce.tag`: the tag binds the nonce to the name that signed in; worth nothing but an attempt count of its own. */
function deviceCookie(name: string, [key]: readonly Buffer[], server: AuthorizationServer): CookieChange {
  const nonce = server.context.random(16).toString('base64url');
  return {
    name: 'device',
    value: `${nonce}.${deviceTag(key ?? Buffer.alloc(0), nonce, name)}`,
    maxAge: DEVICE_MAX_AGE,
  };
}

function deviceTag(key: Buffer, nonce: string, name: string): string {
  return hmac(key, 'device', nonce, name).toString('base64url');
}

function attemptKeys(request: BrowserRequest, name: string, cookieKeys: readonly Buffer[]): AttemptKeys {
  const [nonce = '', tag = ''] = (request.cookie('device') ?? '').split('.');
  const known = nonce !== '' && cookieKeys.some((key) => equals(deviceTag(key, nonce, name), tag));
  // A browser its owner has used is held to its own count only: neither a stranger who guesses at the account nor one who
  // guesses from the same network can shut the owner out.
  if (known) return keysOf(`device source ${nonce}`, `device ${nonce} ${name}`, `device person ${nonce}`);
  return keysOf(`source ${network(request.source)}`, `account ${name}`, 'person');
}

function keysOf(source: string, account: string, person: string): AttemptKeys {
  return { source: sha256(source), account: sha256(account), person: sha256(person) };
}

/** Whoever has one IPv6 address has 2^64 of them: a source is the /64. */
function network(address: string): string {
  const [, mapped] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? [];
  if (mapped !== undefined) return mapped;
  if (!address.includes(':')) return address;
  const [head = [], tail = []] = address.split('::').map((half) => half.split(':').filter((group) => group !== ''));
  const zeros = address.includes('::') ? Array(8 - head.length - tail.length).fill('0') : [];
  return [...head, ...zeros, ...tail]
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}
