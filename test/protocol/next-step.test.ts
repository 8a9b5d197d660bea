import { describe, expect, it } from 'vitest';
import type { AuthorizationRequest, Prompt } from '../../src/protocol/authorization-request.ts';
import { nextStep } from '../../src/protocol/authorize.ts';
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
    user: { id: `user of ${id}`, username: id, claims: {} },
    authentication: { time: changes.at ?? ago(60), acr: 'urn:gatehouse:acr:password', amr: ['pwd'] },
    consentedScope: changes.consentedScope ?? ['openid', 'photos.read'],
  };
}

interface Case {
  readonly client?: Record<string, unknown>;
  readonly redirectUri?: string;
  readonly scope?: string[];
  readonly prompt?: Prompt[];
  readonly maxAge?: number;
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
    codeChallenge: '',
    nonce: undefined,
    prompt: new Set(given.prompt ?? []),
    maxAge: given.maxAge,
    loginHint: undefined,
  };
  const session: Session | undefined = given.signIns && { id: 'session', signIns: given.signIns };
  const pending: PendingAuthorization | undefined = given.pending && {
    id: 'pending',
    parameters: new Parameters([]),
    bound: true,
    signedIn: undefined,
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
const consentedBy = (who: SignIn, scope = ['openid', 'photos.read']) => ({ userId: who.user.id, scope });
const signedIn = (who: SignIn) => ({ signInId: who.id, at: ago(5) });
const PUBLIC = { token_endpoint_auth_method: 'none' };

describe('the next step of an authorization (OpenID Connect Core §3.1.2.3, §3.1.2.4)', () => {
  it.each<[string, Case, string]>([
    ['nobody signed in', {}, 'login'],
    ['a session without sign-ins', { signIns: [] }, 'login'],
    ['signed in and consented before', { signIns: [alice] }, 'proceed as alice'],
    ['several signed in: the latest', { signIns: [alice, bob] }, 'proceed as alice'],
    [
      'several signed in: the one who answered for this request',
      { signIns: [alice, bob], pending: { signedIn: signedIn(bob) } },
      'proceed as bob',
    ],
    [
      'the one who answered has signed out since',
      { signIns: [alice], pending: { signedIn: signedIn(bob) } },
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
      { prompt: ['login'], signIns: [alice], pending: { signedIn: signedIn(alice) } },
      'proceed as alice',
    ],
    [
      'login, another person signed in for this request',
      { prompt: ['login'], signIns: [alice, bob], pending: { signedIn: signedIn(bob) } },
      'proceed as bob',
    ],
    [
      'login, that person has signed out since',
      { prompt: ['login'], signIns: [alice], pending: { signedIn: signedIn(bob) } },
      'login',
    ],
    ['select_account', { prompt: ['select_account'], signIns: [alice] }, 'login'],
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
      { prompt: ['login', 'consent'], signIns: [alice], pending: { signedIn: signedIn(alice) } },
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
      { maxAge: 0, signIns: [alice], pending: { signedIn: signedIn(alice) } },
      'proceed as alice',
    ],
    ['0, but signed in for another one', { maxAge: 0, signIns: [alice], pending: {} }, 'login'],
  ])('max_age: %s', (_what, given, expected) => {
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
