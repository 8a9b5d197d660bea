/** How and when the user signed in (RFC 9470), and what was granted in detail (RFC 9396), for both forms of token. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Api, RESOURCE, startApi } from './api.ts';
import { ForeignIssuer } from './foreign-issuer.ts';
import { makeProofKey, prove } from './proof-key.ts';

let issuer: ForeignIssuer;
let jwtApi: Api;
let opaqueApi: Api;

beforeAll(async () => {
  issuer = await ForeignIssuer.start();
  jwtApi = await startApi({ issuer: issuer.issuer, token: { kind: 'jwt' } });
  opaqueApi = await startApi({ issuer: issuer.issuer, token: { kind: 'introspection', ...issuer.client } });
});
afterAll(async () => {
  await jwtApi.close();
  await opaqueApi.close();
  await issuer.close();
});

const seconds = () => Math.floor(Date.now() / 1000);

/** What each form of API answers to a token with these claims. */
async function answers(path: string, changes: Record<string, unknown>) {
  const claims = { ...issuer.claims(RESOURCE), ...changes };
  issuer.introspected.set('opaque', { active: true, ...claims });
  return [await jwtApi.get(path, `Bearer ${await issuer.sign(claims)}`), await opaqueApi.get(path, 'Bearer opaque')];
}

describe('RFC 9470: /vault wants a sign-in with gold or silver, at most 300 seconds ago', () => {
  test.each(['urn:gold', 'urn:silver'])('lets acr %s in, and tells the route', async (acr) => {
    const auth_time = seconds() - 200;
    for (const answer of await answers('/vault', { acr, auth_time })) {
      expect(answer.status).toBe(200);
      expect(answer.json).toEqual({ acr, authTime: auth_time });
    }
  });

  test.each([
    ['another acr', () => ({ acr: 'urn:bronze', auth_time: seconds() })],
    ['an acr that only begins like one', () => ({ acr: 'urn:gold2', auth_time: seconds() })],
    ['no acr', () => ({ auth_time: seconds() })],
    ['a sign-in too long ago', () => ({ acr: 'urn:gold', auth_time: seconds() - 302 })],
    ['a sign-in of unknown time', () => ({ acr: 'urn:gold' })],
    ['a sign-in that is still to come', () => ({ acr: 'urn:gold', auth_time: seconds() + 60 })],
    ['no sign-in and too little scope: one trip mends both', () => ({ scope: 'other' })],
  ])('RFC9470-3: challenges %s', async (_, changes) => {
    for (const answer of await answers('/vault', changes())) {
      expect(answer.status).toBe(401);
      expect(answer.headers['www-authenticate']).toMatch(
        /^Bearer realm="[^"]+", error="insufficient_user_authentication", error_description="[^"]+", acr_values="urn:gold urn:silver", max_age="300", scope="photos\.read", resource_metadata="[^"]+"$/,
      );
      expect(answer.json?.error).toBe('insufficient_user_authentication');
    }
  });

  test('too little scope alone is 403', async () => {
    for (const answer of await answers('/vault', { acr: 'urn:gold', auth_time: seconds(), scope: 'other' })) {
      expect(answer.status).toBe(403);
    }
  });

  test.each([{ acr: 1 }, { acr: '' }, { auth_time: '1' }, { auth_time: null }])(
    'refuses %j as no token',
    async (bad) => {
      for (const answer of await answers('/vault', { acr: 'urn:gold', auth_time: seconds(), ...bad })) {
        expect(answer.json?.error).toBe('invalid_token');
      }
    },
  );

  test('challenges in the scheme that the client speaks', async () => {
    const key = await makeProofKey();
    const token = await issuer.sign({ ...issuer.claims(RESOURCE), cnf: { jkt: key.jkt } });
    const dpop = await prove(key, 'GET', `${RESOURCE}/vault`, token);
    const answer = await jwtApi.ask('GET', '/vault', { authorization: `DPoP ${token}`, dpop });
    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).toMatch(/^DPoP .*error="insufficient_user_authentication".*acr_values=/);
  });
});

describe('RFC 9396: /prints wants authorization details of type photo_print', () => {
  const print = { type: 'photo_print', photos: ['1'], copies: 2 };

  test.each([
    ['no location', print],
    ['this API as its location', { ...print, locations: ['https://other.example', RESOURCE] }],
    ['a place in this API as its location', { ...print, locations: [`${RESOURCE}/prints`] }],
  ])('RFC9396-9: hands a detail with %s to the route', async (_, detail) => {
    for (const answer of await answers('/prints', { authorization_details: [{ type: 'other' }, detail] })) {
      expect(answer.status).toBe(200);
      expect(answer.json).toEqual([{ type: 'other' }, detail]);
    }
  });

  test.each([
    ['no details', undefined],
    ['an empty list', []],
    ['another type', [{ type: 'photo_prints' }]],
    ['a detail that is located elsewhere', [{ ...print, locations: ['https://other.example'] }]],
    ['a location that only begins like this API', [{ ...print, locations: [`${RESOURCE}.evil.example`] }]],
    ['no location at all', [{ ...print, locations: [] }]],
    ['locations that are no list', [{ ...print, locations: RESOURCE }]],
  ])('refuses %s with insufficient_scope', async (_, authorization_details) => {
    for (const answer of await answers('/prints', { authorization_details })) {
      expect(answer.status).toBe(403);
      expect(answer.json?.error).toBe('insufficient_scope');
    }
  });

  test.each([[null], ['photo_print'], [{ type: 'photo_print' }], [[print, 'x']], [[{ type: 1 }]], [[{}]]])(
    'refuses %j as no token',
    async (authorization_details) => {
      for (const answer of await answers('/prints', { authorization_details })) {
        expect(answer.status).toBe(401);
        expect(answer.json?.error).toBe('invalid_token');
      }
    },
  );
});
