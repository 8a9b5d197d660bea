import { describe, expect, it } from 'vitest';
import type { AuthorizationRequest, Prompt } from '../../src/protocol/authorization-request.ts';
import { nextStep } from '../../src/protocol/authorize.ts';
import type { User } from '../../src/protocol/claims.ts';
import { NO_CLAIMS, parseClaimsRequest } from '../../src/protocol/claims-request.ts';
import type { PendingAuthorization } from '../../src/protocol/interaction.ts';
import { Parameters } from '../../src/protocol/message.ts';
import { resolveReturnAddress } from '../../src/protocol/redirect-uri.ts';
import type { Session, SignIn } from '../../src/protocol/session.ts';
import { clientOf } from './samples.ts';

const NOW = new Date('2026-03-01T12:00:00Z');
const ago = (seconds: number) => new Date(NOW.getTime() - seconds * 1000);

function signIn(id: string, changes: Partial<SignIn> & { at?: Date } = {}): SignIn {
  return {
    id,
    user: { id: `user of ${id}`, username: id, claims: { email: `${id}@people.example` } },
    authentication: { time: changes.at ?? ago(60), acr: 'urn:gatehouse:acr:password', amr: ['pwd'] },
    consentedScope: changes.consentedScope ?? ['openid', 'photos.read'],
    consentedClaims: changes.consentedClaims ?? [],
  };
}

interface Case {
  readonly client?: Record<string, unknown>;
  readonly redirectUri?: string;
  readonly scope?: string[];
  readonly prompt?: Prompt[];
  readonly maxAge?: number;
  readonly loginHint?: string;
  /** The one the request names (`id_token_hint`, the claim `sub`). */
  readonly about?: SignIn;
  readonly acrCanBeMet?: boolean;
  readonly claims?: object;
  readonly authorizationDetails?: AuthorizationRequest['authorizationDetails'];
  readonly signIns?: SignIn[];
  readonly pending?: Partial<PendingAuthorization>;
}

function step({ client = {}, redirectUri = 'https://app.example/callback', ...given }: Case) {
  const registered = clientOf({ redirect_uris: [redirectUri], ...client });
  const request: AuthorizationRequest = {
    client: registered,
    responseType: { name: 'code', respond: async () => ({}) },
    scope: given.scope ?? ['openid', 'photos.read'],
    resources: [],
    authorizationDetails: given.authorizationDetails ?? [],
    codeChallenge: '',
    dpopJkt: undefined,
    nonce: undefined,
    prompt: new Set(given.prompt ?? []),
    maxAge: given.maxAge,
    loginHint: given.loginHint,
    claims: given.claims
      ? parseClaimsRequest(JSON.stringify(given.claims), ['profile', 'email', 'address', 'phone'])
      : NO_CLAIMS,
    namesPerson: given.about !== undefined,
    concerns: (user: User) => given.about === undefined || user.id === given.about.user.id,
    acrCanBeMet: given.acrCanBeMet ?? true,
  };
  const session: Session | undefined = given.signIns && { id: 'session', signIns: given.signIns };
  const pending: PendingAuthorization | undefined = given.pending && {
    id: 'pending',
    parameters: new Parameters([]),
    registration: undefined,
    bound: true,
    pushedRequestId: undefined,
    signIn: undefined,
    consented: undefined,
    denied: false,
    closed: false,
    ...given.pending,
  };
  const address = resolveReturnAddress(registered, new Parameters([['redirect_uri', redirectUri]]));
  const next = nextStep(request, address, session, pending, NOW);
  if (next.kind === 'refuse') return next.error.code;
  return next.kind === 'proceed' ? `proceed as ${next.signIn.id}` : next.kind;
}

const alice = signIn('alice');
const bob = signIn('bob', { at: ago(600) });
const stranger = signIn('stranger', { consentedScope: [] });
const consentedBy = (who: SignIn, scope = ['openid', 'photos.read'], claims: string[] = []) => ({
  userId: who.user.id,
  scope,
  claims,
});
/** Signed in for the request. */
const signedIn = (who: SignIn) => ({ id: who.id, fresh: true });
/** Chosen for the request, of those signed in before. */
const chosen = (who: SignIn) => ({ id: who.id, fresh: false });
const NONE = { prompt: ['none'] as Prompt[] };
/** Signed in for this very request, so many seconds ago. */
const freshly = (seconds: number, maxAge: number): Case => {
  const late = signIn('late', { at: ago(seconds) });
  return { maxAge, signIns: [late], pending: { signIn: signedIn(late) } };
};
const PUBLIC = { token_endpoint_auth_method: 'none' };

describe('the next step of an authorization (OpenID Connect Core §3.1.2.3, §3.1.2.4)', () => {
  it.each<[string, Case, string]>([
    ['nobody signed in', {}, 'login'],
    ['a session without sign-ins', { signIns: [] }, 'login'],
    ['signed in and consented before', { signIns: [alice] }, 'proceed as alice'],
    ['several signed in, nobody chosen', { signIns: [alice, bob] }, 'select-account'],
    [
      'several signed in: the one who was chosen for this request',
      { signIns: [alice, bob], pending: { signIn: chosen(bob) } },
      'proceed as bob',
    ],
    [
      'the one who was chosen has signed out since, several are left',
      { signIns: [alice, stranger], pending: { signIn: chosen(bob) } },
      'select-account',
    ],
    ['everybody who was chosen from has signed out since', { signIns: [], pending: { signIn: chosen(bob) } }, 'login'],
    ['chosen, never asked', { signIns: [alice, stranger], pending: { signIn: chosen(stranger) } }, 'consent'],
    [
      'several signed in, one is hinted at',
      { signIns: [alice, bob], loginHint: 'BOB@people.example' },
      'proceed as bob',
    ],
    ['several signed in, the hint is at nobody', { signIns: [alice, bob], loginHint: 'carol' }, 'select-account'],
    ['one signed in, the hint is at somebody else', { signIns: [alice], loginHint: 'bob' }, 'select-account'],
    [
      'one signed in, the hint is at somebody else, chosen all the same',
      { signIns: [alice], loginHint: 'bob', pending: { signIn: chosen(alice) } },
      'proceed as alice',
    ],
    ['one signed in, the hint is at them', { signIns: [alice], loginHint: 'Alice' }, 'proceed as alice'],
    ['nobody signed in, a hint', { loginHint: 'bob' }, 'login'],
    [
      'hinted at one, chosen another',
      { signIns: [alice, bob], loginHint: 'bob', pending: { signIn: chosen(alice) } },
      'proceed as alice',
    ],
    [
      'several signed in: the one who answered for this request',
      { signIns: [alice, bob], pending: { signIn: signedIn(bob) } },
      'proceed as bob',
    ],
    [
      'the one who answered has signed out since',
      { signIns: [alice], pending: { signIn: signedIn(bob) } },
      'proceed as alice',
    ],
    ['never asked', { signIns: [stranger] }, 'consent'],
    ['asked for less before', { signIns: [alice], scope: ['openid', 'photos.read', 'photos.write'] }, 'consent'],
    ['asked for more before', { signIns: [alice], scope: ['photos.read'] }, 'proceed as alice'],
    [
      'a yes for this request',
      { signIns: [stranger], pending: { consented: consentedBy(stranger) } },
      'proceed as stranger',
    ],
    ['somebody else’s yes', { signIns: [stranger], pending: { consented: consentedBy(alice) } }, 'consent'],
    [
      'a yes to a shorter list',
      { signIns: [stranger], pending: { consented: consentedBy(stranger, ['openid']) } },
      'consent',
    ],
    ['a no', { signIns: [alice], pending: { denied: true } }, 'access_denied'],
    ['a no before signing in', { pending: { denied: true } }, 'access_denied'],
    ['a no instead of a choice', { signIns: [alice, bob], pending: { denied: true } }, 'access_denied'],
    [
      'a no after a yes',
      { signIns: [alice], pending: { denied: true, consented: consentedBy(alice) } },
      'access_denied',
    ],
  ])('%s', (_what, given, expected) => {
    expect(step(given)).toBe(expected);
  });

  it.each<[string, Case, string]>([
    ['none, nobody signed in', { prompt: ['none'] }, 'login_required'],
    ['none, never asked', { prompt: ['none'], signIns: [stranger] }, 'consent_required'],
    ['none, all there', { prompt: ['none'], signIns: [alice] }, 'proceed as alice'],
    ['none, signed in too long ago', { prompt: ['none'], signIns: [alice], maxAge: 59 }, 'login_required'],
    [
      'none, a claimable address',
      { prompt: ['none'], signIns: [alice], client: PUBLIC, redirectUri: 'http://127.0.0.1/cb' },
      'consent_required',
    ],
    ['login', { prompt: ['login'], signIns: [alice] }, 'login'],
    [
      'login, signed in for this very request',
      { prompt: ['login'], signIns: [alice], pending: { signIn: signedIn(alice) } },
      'proceed as alice',
    ],
    [
      'login, another person signed in for this request',
      { prompt: ['login'], signIns: [alice, bob], pending: { signIn: signedIn(bob) } },
      'proceed as bob',
    ],
    [
      'login, that person has signed out since',
      { prompt: ['login'], signIns: [alice], pending: { signIn: signedIn(bob) } },
      'login',
    ],
    ['none, several signed in', { prompt: ['none'], signIns: [alice, bob] }, 'account_selection_required'],
    [
      'none, several signed in, one is hinted at',
      { prompt: ['none'], signIns: [alice, bob], loginHint: 'bob' },
      'proceed as bob',
    ],
    [
      'none, one signed in, the hint is at somebody else',
      { ...NONE, signIns: [alice], loginHint: 'bob' },
      'proceed as alice',
    ],
    [
      'none, several signed in, the hint is at one who never consented: no name makes a difference',
      { ...NONE, signIns: [alice, stranger], loginHint: 'stranger' },
      'account_selection_required',
    ],
    [
      'none, several signed in, the hint is at nobody',
      { ...NONE, signIns: [alice, stranger], loginHint: 'carol' },
      'account_selection_required',
    ],
    [
      'none, one signed in who never consented, hinted at',
      { ...NONE, signIns: [stranger], loginHint: 'stranger' },
      'consent_required',
    ],
    [
      'none, one signed in who never consented, the hint is at nobody',
      { ...NONE, signIns: [stranger], loginHint: 'carol' },
      'consent_required',
    ],
    [
      'none, first-party, several signed in, one is hinted at',
      { ...NONE, signIns: [alice, stranger], loginHint: 'stranger', client: { skip_consent: true } },
      'proceed as stranger',
    ],
    [
      'none, several signed in, one is named',
      { prompt: ['none'], signIns: [alice, bob], about: bob },
      'proceed as bob',
    ],
    ['none, another one is named', { prompt: ['none'], signIns: [alice], about: bob }, 'login_required'],
    [
      'none, named and signed in too long ago',
      { prompt: ['none'], signIns: [alice, bob], about: bob, maxAge: 599 },
      'login_required',
    ],
    ['none, denied', { prompt: ['none'], signIns: [alice], pending: { denied: true } }, 'access_denied'],
    ['none, an acr that cannot be had', { prompt: ['none'], acrCanBeMet: false }, 'unmet_authentication_requirements'],
    ['select_account, nobody signed in', { prompt: ['select_account'] }, 'login'],
    ['select_account, one signed in', { prompt: ['select_account'], signIns: [alice] }, 'select-account'],
    ['select_account, several signed in', { prompt: ['select_account'], signIns: [alice, bob] }, 'select-account'],
    [
      'select_account, chosen for this request',
      { prompt: ['select_account'], signIns: [alice, bob], pending: { signIn: chosen(bob) } },
      'proceed as bob',
    ],
    [
      'select_account, signed in for this request instead',
      { prompt: ['select_account'], signIns: [alice], pending: { signIn: signedIn(alice) } },
      'proceed as alice',
    ],
    [
      'select_account, the one named is not signed in',
      { prompt: ['select_account'], signIns: [alice], about: bob },
      'login',
    ],
    [
      'select_account and consent: the choice first',
      { prompt: ['select_account', 'consent'], signIns: [alice] },
      'select-account',
    ],
    [
      'select_account and consent: then consent',
      { prompt: ['select_account', 'consent'], signIns: [alice], pending: { signIn: chosen(alice) } },
      'consent',
    ],
    ['login, chosen only', { prompt: ['login'], signIns: [alice, bob], pending: { signIn: chosen(bob) } }, 'login'],
    [
      'login and select_account: who signs in has chosen',
      { prompt: ['login', 'select_account'], signIns: [alice] },
      'login',
    ],
    [
      'login and select_account: then nothing more',
      { prompt: ['login', 'select_account'], signIns: [alice, bob], pending: { signIn: signedIn(alice) } },
      'proceed as alice',
    ],
    ['consent', { prompt: ['consent'], signIns: [alice] }, 'consent'],
    [
      'consent, said yes for this request',
      { prompt: ['consent'], signIns: [alice], pending: { consented: consentedBy(alice) } },
      'proceed as alice',
    ],
    ['consent, first-party', { prompt: ['consent'], signIns: [alice], client: { skip_consent: true } }, 'consent'],
    ['login and consent: login first', { prompt: ['login', 'consent'], signIns: [alice] }, 'login'],
    [
      'login and consent: then consent',
      { prompt: ['login', 'consent'], signIns: [alice], pending: { signIn: signedIn(alice) } },
      'consent',
    ],
  ])('prompt %s', (_what, given, expected) => {
    expect(step(given)).toBe(expected);
  });

  it.each<[string, Case, string]>([
    ['younger', { maxAge: 61, signIns: [alice] }, 'proceed as alice'],
    ['just as old', { maxAge: 60, signIns: [alice] }, 'proceed as alice'],
    ['older', { maxAge: 59, signIns: [alice] }, 'login'],
    ['0', { maxAge: 0, signIns: [alice] }, 'login'],
    [
      '0, signed in for this very request',
      { maxAge: 0, signIns: [alice], pending: { signIn: signedIn(alice) } },
      'proceed as alice',
    ],
    ['0, signed in for it just now and a moment ago', freshly(60, 0), 'proceed as late'],
    ['0, signed in for it, and left lying', freshly(61, 0), 'login'],
    ['90, signed in for it that long ago', freshly(90, 90), 'proceed as late'],
    ['90, signed in for it longer ago', freshly(91, 90), 'login'],
    ['0, but signed in for another one', { maxAge: 0, signIns: [alice], pending: {} }, 'login'],
    ['0, but only chosen', { maxAge: 0, signIns: [alice], pending: { signIn: chosen(alice) } }, 'login'],
    ['several signed in: the choice first', { maxAge: 300, signIns: [alice, bob] }, 'select-account'],
    [
      'several signed in: then by the one who was chosen',
      { maxAge: 300, signIns: [alice, bob], pending: { signIn: chosen(bob) } },
      'login',
    ],
    [
      'several signed in: good enough for the other one',
      { maxAge: 300, signIns: [alice, bob], pending: { signIn: chosen(alice) } },
      'proceed as alice',
    ],
  ])('max_age: %s', (_what, given, expected) => {
    expect(step(given)).toBe(expected);
  });

  it.each<[string, Case, string]>([
    ['nobody signed in', { about: alice }, 'login'],
    ['that person signed in', { about: alice, signIns: [alice] }, 'proceed as alice'],
    ['that person among others', { about: bob, signIns: [alice, bob] }, 'proceed as bob'],
    ['somebody else signed in', { about: bob, signIns: [alice] }, 'login'],
    [
      'somebody else signed in for this request',
      { about: bob, signIns: [alice, bob], pending: { signIn: signedIn(alice) } },
      'login_required',
    ],
    [
      'that person signed in for it',
      { about: bob, signIns: [bob], pending: { signIn: signedIn(bob) } },
      'proceed as bob',
    ],
    ['the hint is at somebody else', { about: bob, loginHint: 'alice', signIns: [alice, bob] }, 'proceed as bob'],
  ])('a request that names a person (§3.1.2.1 id_token_hint, §5.5.1 sub): %s', (_what, given, expected) => {
    expect(step(given)).toBe(expected);
  });

  it.each<[string, Case, string]>([
    ['signed in', { signIns: [alice] }, 'unmet_authentication_requirements'],
    ['nobody signed in', {}, 'unmet_authentication_requirements'],
    [
      'signed in for this request',
      { signIns: [alice], pending: { signIn: signedIn(alice) } },
      'unmet_authentication_requirements',
    ],
    ['denied', { pending: { denied: true } }, 'access_denied'],
  ])('an essential acr that cannot be had is never passed over (§5.5.1.1): %s', (_what, given, expected) => {
    expect(step({ ...given, acrCanBeMet: false })).toBe(expected);
  });

  const BIRTHDATE = { userinfo: { birthdate: null } };
  const allowed = signIn('allowed', { consentedClaims: ['birthdate'] });
  it.each<[string, Case, string]>([
    ['never asked', { claims: BIRTHDATE, signIns: [alice] }, 'consent'],
    ['asked before', { claims: BIRTHDATE, signIns: [allowed] }, 'proceed as allowed'],
    ['asked for in the ID token', { claims: { id_token: { birthdate: null } }, signIns: [alice] }, 'consent'],
    [
      'asked for less before',
      { claims: { userinfo: { birthdate: null, email: null } }, signIns: [allowed] },
      'consent',
    ],
    [
      'covered by a scope that was allowed',
      {
        claims: BIRTHDATE,
        scope: ['openid', 'profile'],
        signIns: [signIn('profiled', { consentedScope: ['openid', 'profile'] })],
      },
      'proceed as profiled',
    ],
    [
      'a yes for this request',
      { claims: BIRTHDATE, signIns: [alice], pending: { consented: consentedBy(alice, undefined, ['birthdate']) } },
      'proceed as alice',
    ],
    [
      'a yes without them',
      { claims: BIRTHDATE, signIns: [alice], pending: { consented: consentedBy(alice) } },
      'consent',
    ],
    [
      'about the sign-in only',
      { claims: { id_token: { auth_time: null, acr: null } }, signIns: [alice] },
      'proceed as alice',
    ],
    [
      'unknown ones',
      { claims: { userinfo: { shoe_size: { essential: true } } }, signIns: [alice] },
      'proceed as alice',
    ],
    ['first-party', { claims: BIRTHDATE, signIns: [alice], client: { skip_consent: true } }, 'proceed as alice'],
    ['nobody may be asked', { claims: BIRTHDATE, signIns: [alice], prompt: ['none'] }, 'consent_required'],
  ])('consent to claims asked for by name (§5.5): %s', (_what, given, expected) => {
    expect(step(given)).toBe(expected);
  });

  it.each<[string, Case, string]>([
    ['first-party', { client: { skip_consent: true }, signIns: [stranger] }, 'proceed as stranger'],
    ['first-party still signs in', { client: { skip_consent: true } }, 'login'],
    ['public on https: remembered', { client: PUBLIC, signIns: [alice] }, 'proceed as alice'],
    [
      'public on loopback: asked again',
      { client: PUBLIC, redirectUri: 'http://127.0.0.1/cb', signIns: [alice] },
      'consent',
    ],
    [
      'public on localhost: asked again',
      { client: PUBLIC, redirectUri: 'http://localhost/cb', signIns: [alice] },
      'consent',
    ],
    [
      'public on a private-use scheme: asked again',
      { client: { ...PUBLIC, application_type: 'native' }, redirectUri: 'com.example.app:/cb', signIns: [alice] },
      'consent',
    ],
    [
      '… until the answer for this request',
      {
        client: PUBLIC,
        redirectUri: 'http://127.0.0.1/cb',
        signIns: [alice],
        pending: { consented: consentedBy(alice) },
      },
      'proceed as alice',
    ],
    [
      '… even if it once got in as first-party',
      { client: { ...PUBLIC, skip_consent: true }, redirectUri: 'http://127.0.0.1/cb', signIns: [alice] },
      'consent',
    ],
    [
      'confidential on loopback: remembered',
      { redirectUri: 'http://127.0.0.1/cb', signIns: [alice] },
      'proceed as alice',
    ],
  ])('consent of a client (RFC 8252 §8.6): %s', (_what, given, expected) => {
    expect(step(given)).toBe(expected);
  });
});
