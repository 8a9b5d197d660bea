/** How a token is presented and how a refusal reads: RFC 6750. */
import Fastify from 'fastify';
import { resourceServer } from 'gatehouse/resource-server';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Api, ask, RESOURCE, startApi } from './api.ts';
import { ForeignIssuer } from './foreign-issuer.ts';

const CHALLENGE = `Bearer realm="${RESOURCE}"`;
const METADATA = `resource_metadata="${RESOURCE}/.well-known/oauth-protected-resource"`;
const BOTH = `${CHALLENGE}, ${METADATA}, DPoP realm="${RESOURCE}", algs="PS256 ES256 EdDSA Ed25519", ${METADATA}`;

let issuer: ForeignIssuer;
let api: Api;
let token: string;

beforeAll(async () => {
  issuer = await ForeignIssuer.start();
  api = await startApi({ issuer: issuer.issuer, token: { kind: 'jwt' } });
  token = await issuer.sign(issuer.claims(RESOURCE));
});
afterAll(async () => {
  await api.close();
  await issuer.close();
});

describe('the Authorization header (RFC 6750 §2.1)', () => {
  test.each(['Bearer', 'bearer', 'BEARER', 'bEaReR'])('accepts the scheme as %s (RFC 9110 §11.1)', async (scheme) => {
    expect((await api.get('/photos', `${scheme} ${token}`)).status).toBe(200);
  });

  test('RFC6750-3.1: without credentials, a challenge without an error', async () => {
    const answer = await api.get('/photos');
    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).toBe(BOTH);
    expect(answer.text).toBe('');
  });

  test.each(['Basic YTpi', 'DPoPabc', 'Bearertoken', ''])('treats "%s" as no credentials', async (value) => {
    const answer = await api.get('/photos', value);
    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).not.toContain('error');
  });

  test.each(['Bearer', 'Bearer ', 'Bearer a b', 'Bearer <script>', 'Bearer a, Bearer b', 'Bearer "a"', 'Bearer ='])(
    'RFC6750-3.1: refuses the malformed "%s" with invalid_request',
    async (value) => {
      const answer = await api.get('/photos', value);
      expect(answer.status).toBe(400);
      expect(answer.headers['www-authenticate']).toContain(`${CHALLENGE}, error="invalid_request"`);
      expect(answer.json?.error).toBe('invalid_request');
      expect(answer.text).not.toContain('<script>');
    },
  );

  test('refuses two Authorization headers, whichever of them is good', async () => {
    for (const pair of [
      [`Bearer ${token}`, 'Bearer other'],
      ['Bearer other', `Bearer ${token}`],
      [`Bearer ${token}`, `Bearer ${token}`],
      ['Basic YTpi', `Bearer ${token}`],
    ]) {
      const answer = await api.get('/photos', ...pair);
      expect(answer.status).toBe(400);
      expect(answer.json?.error).toBe('invalid_request');
    }
  });

  test('sees both headers under inject as well', async () => {
    const app = Fastify();
    await app.register(resourceServer, { issuer: issuer.issuer, resource: RESOURCE, token: { kind: 'jwt' } });
    app.get('/photos', { onRequest: app.requireScope('photos.read') }, async () => 'photos');
    const inject = (authorization: string | string[]) => {
      const headers: Record<string, string | string[]> = { authorization };
      return app.inject({ url: '/photos', headers });
    };
    expect((await inject(`Bearer ${token}`)).statusCode).toBe(200);
    expect((await inject([`Bearer ${token}`, `Bearer ${token}`])).statusCode).toBe(400);
    await app.close();
  });
});

describe('tokens anywhere else', () => {
  test.each(['?access_token=', '?size=2&access_token=', '?access%5Ftoken='])(
    'are refused in the query: %s',
    async (query) => {
      for (const authorization of [[], [`Bearer ${token}`]]) {
        const answer = await api.get(`/photos${query}${token}`, ...authorization);
        expect(answer.status).toBe(400);
        expect(answer.json?.error).toBe('invalid_request');
        expect(answer.text + JSON.stringify(answer.headers)).not.toContain(token);
      }
    },
  );

  test('are not looked for in a form', async () => {
    const body = new URLSearchParams({ access_token: token }).toString();
    const type = { 'content-type': 'application/x-www-form-urlencoded' };
    expect((await ask('POST', `${api.origin}/photos`, type, body)).status).not.toBe(200);
  });
});

describe('what the token must cover', () => {
  test('lets a token with the scope in and hands its words to the API', async () => {
    const claims = { ...issuer.claims(RESOURCE), aud: [RESOURCE, issuer.issuer], extra: { a: 1 } };
    const answer = await api.get('/photos', `Bearer ${await issuer.sign(claims)}`);
    expect(answer.json).toEqual({
      sub: 'alice',
      clientId: 'photos-web',
      scope: ['photos.read', 'other'],
      audience: [RESOURCE, issuer.issuer],
      expiresAt: (claims as { exp?: number }).exp,
      extra: { a: 1 },
    });
  });

  test('RFC6750-3.1: names every scope that is needed when one is missing', async () => {
    const answer = await api.get('/albums', `Bearer ${token}`);
    expect(answer.status).toBe(403);
    expect(answer.headers['www-authenticate']).toMatch(
      new RegExp(`^${CHALLENGE}, error="insufficient_scope", .*scope="photos\\.read photos\\.write", ${METADATA}$`),
    );
    expect(answer.json?.error).toBe('insufficient_scope');
  });

  test.each([undefined, '', 'photos.readonly', 'Photos.Read', 'photos.read\u00a0x'])(
    'does not stretch scope %j',
    async (scope) => {
      const { scope: _, ...claims } = issuer.claims(RESOURCE);
      const signed = await issuer.sign(scope === undefined ? claims : { ...claims, scope });
      expect((await api.get('/photos', `Bearer ${signed}`)).status).toBe(403);
      expect((await api.get('/me', `Bearer ${signed}`)).status).toBe(200);
    },
  );

  test('fails loudly when a route reads the token without asking for one', async () => {
    expect((await api.get('/open', `Bearer ${token}`)).status).toBe(500);
  });
});
