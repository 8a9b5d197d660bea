/** The plain function, for APIs that are not written with Fastify. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createTokenVerifier, presentedRequest } from 'gatehouse/resource-server';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ask, RESOURCE } from './api.ts';
import { ForeignIssuer } from './foreign-issuer.ts';

let issuer: ForeignIssuer;
beforeAll(async () => {
  issuer = await ForeignIssuer.start();
});
afterAll(() => issuer.close());

test('guards a server of node:http, as docs/resource-server.md shows', async () => {
  const tokens = createTokenVerifier({ issuer: issuer.issuer, resource: RESOURCE, token: { kind: 'jwt' } });
  const server = createServer(async (request, response) => {
    const verdict = await tokens.verify(presentedRequest(request), { scope: ['photos.read'] });
    if (!verdict.accepted) {
      const { status, headers, body } = verdict.refusal;
      response.writeHead(status, headers).end(body && JSON.stringify(body));
      return;
    }
    response.writeHead(200, verdict.headers).end(`photos of ${verdict.accessToken.sub}`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/photos`;
  const token = await issuer.sign(issuer.claims(RESOURCE));
  const authorization = `Bearer ${token}`;

  expect((await ask('GET', url, { authorization })).text).toBe('photos of alice');
  expect((await ask('GET', url)).status).toBe(401);
  expect((await ask('GET', url, { authorization: [authorization, authorization] })).status).toBe(400);
  expect((await ask('GET', `${url}?access_token=${token}`)).status).toBe(400);
  const narrow = await issuer.sign({ ...issuer.claims(RESOURCE), scope: 'other' });
  expect((await ask('GET', url, { authorization: `Bearer ${narrow}` })).status).toBe(403);
  await new Promise((resolve) => server.close(resolve));
});

test('tells the API why, and the caller nothing of it', async () => {
  const tokens = createTokenVerifier({ issuer: issuer.issuer, resource: RESOURCE, token: { kind: 'jwt' } });
  issuer.mood = 'failing';
  const authorization = [`Bearer ${await issuer.sign(issuer.claims(RESOURCE))}`];
  const verdict = await tokens.verify({ method: 'GET', url: '/photos', authorization, dpop: [] });
  issuer.mood = 'well';
  if (verdict.accepted) throw new Error('accepted without keys');
  expect(verdict.refusal.cause).toBeInstanceOf(Error);
  expect(JSON.stringify(verdict.refusal.body)).not.toContain('127.0.0.1');
});
