/** Opaque access tokens: RFC 7662. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Api, RESOURCE, startApi } from './api.ts';
import { ForeignIssuer } from './foreign-issuer.ts';

let issuer: ForeignIssuer;
let api: Api;

beforeEach(async () => {
  issuer = await ForeignIssuer.start();
  api = await startWith(issuer.client);
});
afterEach(async () => {
  await api.close();
  await issuer.close();
});

const startWith = (client: { clientId: string; clientSecret: string }) =>
  startApi({ issuer: issuer.issuer, token: { kind: 'introspection', ...client }, timeoutSeconds: 0.3 });
const present = (token: string, to = api) => to.get('/photos', `Bearer ${token}`);
const seconds = () => Math.floor(Date.now() / 1000);

/** Makes the issuer vouch for `token`. */
function vouch(token: string, changes: Record<string, unknown> = {}): void {
  issuer.introspected.set(token, { active: true, token_type: 'Bearer', ...issuer.claims(RESOURCE), ...changes });
}

describe('accepts', () => {
  test('RFC7662-2.1: an active token, asked for by POST with the API’s own credentials', async () => {
    vouch('gold');
    const answer = await present('gold');
    expect(answer.status).toBe(200);
    expect(answer.json).toMatchObject({ sub: 'alice', clientId: 'photos-web', scope: ['photos.read', 'other'] });
    expect([...(issuer.lastIntrospection ?? [])]).toEqual([
      ['token', 'gold'],
      ['token_type_hint', 'access_token'],
    ]);
  });

  test('an answer with only what an API needs', async () => {
    issuer.introspected.set('plain', {
      active: true,
      aud: [RESOURCE],
      sub: 'alice',
      client_id: 'c',
      scope: 'photos.read',
    });
    expect((await present('plain')).status).toBe(200);
  });
});

describe('refuses', () => {
  test('RFC7662-2.2: a token that is not active', async () => {
    const answer = await present('unknown');
    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).toContain('error="invalid_token"');
  });

  test('a token that is not active, whatever else is said of it', async () => {
    vouch('gold', { active: false });
    expect((await present('gold')).status).toBe(401);
  });

  test('a token from the moment it was revoked: no answer is kept', async () => {
    vouch('gold');
    expect((await present('gold')).status).toBe(200);
    issuer.introspected.delete('gold');
    expect((await present('gold')).status).toBe(401);
    vouch('gold');
    expect((await present('gold')).status).toBe(200);
    expect(issuer.times('/introspection')).toBe(3);
    expect(issuer.times('/.well-known/oauth-authorization-server')).toBe(1);
  });

  const spoiled: Record<string, () => Record<string, unknown>> = {
    'another audience': () => ({ aud: 'https://storage.example' }),
    'no audience': () => ({ aud: undefined }),
    'another issuer': () => ({ iss: 'https://other.example' }),
    'no subject': () => ({ sub: undefined }),
    'no client': () => ({ client_id: undefined }),
    'a time that has passed': () => ({ exp: seconds() }),
    'a time not reached (nbf)': () => ({ nbf: seconds() + 60 }),
    'a bound token presented as Bearer': () => ({ cnf: { jkt: 'x' }, token_type: 'DPoP' }),
  };
  test.each(Object.keys(spoiled))('%s, though the server calls it active', async (name) => {
    vouch('gold');
    expect((await present('gold')).status).toBe(200);
    vouch('gold', spoiled[name]?.());
    const answer = await present('gold');
    expect(answer.status).toBe(401);
    expect(answer.json?.error).toBe('invalid_token');
  });

  test('too little scope with 403', async () => {
    vouch('gold', { scope: 'other' });
    expect((await present('gold')).status).toBe(403);
  });

  test('what cannot be a token without asking anyone', async () => {
    expect((await present('a b')).status).toBe(400);
    expect((await present('x'.repeat(9000))).status).toBe(401);
    expect(issuer.asked.size).toBe(0);
  });
});

describe('503 and never 401 when the authorization server gives no verdict', () => {
  async function expectUnavailable(to = api): Promise<void> {
    vouch('gold');
    const answer = await present('gold', to);
    expect(answer.status).toBe(503);
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
    expect(answer.headers['www-authenticate']).toBeUndefined();
  }

  test.each(['failing', 'silent'] as const)('%s from the first request on', async (mood) => {
    issuer.mood = mood;
    await expectUnavailable();
  });

  test.each(['failing', 'silent'] as const)('%s after it had answered', async (mood) => {
    vouch('gold');
    expect((await present('gold')).status).toBe(200);
    issuer.mood = mood;
    await expectUnavailable();
    issuer.mood = 'well';
    expect((await present('gold')).status).toBe(200);
  });

  test('unreachable', async () => {
    await issuer.close();
    await expectUnavailable();
  });

  test.each([
    ['no introspection endpoint', { introspection_endpoint: undefined }],
    ['one over plain http elsewhere', { introspection_endpoint: 'http://elsewhere.example/introspection' }],
    ['the metadata of another issuer', { issuer: 'https://other.example' }],
  ])('it names %s', async (_, metadata) => {
    issuer.metadata = metadata;
    await expectUnavailable();
  });

  test.each([
    ['redirects, which would carry the secret along', '/moved'],
    ['answers without end', '/huge'],
    ['does not say "active"', '/mute'],
    ['answers 404', '/nowhere'],
    ['says yes with a status that says no', '/torn'],
  ])('it %s', async (_, path) => {
    issuer.metadata = { introspection_endpoint: `${issuer.issuer}${path}` };
    await expectUnavailable();
    expect(issuer.times('/introspection')).toBe(0);
  });

  test('it does not know the API: a wrong secret is the API’s fault, not the caller’s', async () => {
    const stranger = await startWith({ ...issuer.client, clientSecret: 'wrong' });
    await expectUnavailable(stranger);
    await stranger.close();
  });
});
