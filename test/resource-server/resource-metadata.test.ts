/** What the API says of itself: RFC 9728. */
import { createTokenVerifier } from 'gatehouse/resource-server';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RESOURCE, startApi } from './api.ts';
import { ForeignIssuer } from './foreign-issuer.ts';

let issuer: ForeignIssuer;
beforeAll(async () => {
  issuer = await ForeignIssuer.start();
});
afterAll(() => issuer.close());

/** The document of an API with these options, and the challenge of the same API. */
async function describedBy(options: Partial<Parameters<typeof startApi>[0]>, path = '') {
  const api = await startApi({ issuer: issuer.issuer, token: { kind: 'jwt' }, ...options });
  const answer = await api.get(`/.well-known/oauth-protected-resource${path}`);
  const challenge = (await api.get('/photos')).headers['www-authenticate'];
  const beside = await api.get(`/.well-known/oauth-protected-resource${path}-other`);
  await api.close();
  return { answer, challenge, beside };
}

test('RFC9728-3.2: says whose tokens the API takes, bound to what, and what its routes ask for', async () => {
  const { answer } = await describedBy({});
  expect(answer.status).toBe(200);
  expect(answer.headers['content-type']).toMatch(/^application\/json/);
  expect(answer.headers['access-control-allow-origin']).toBe('*');
  expect(answer.json).toEqual({
    resource: RESOURCE,
    authorization_servers: [issuer.issuer],
    scopes_supported: ['photos.read', 'photos.write'],
    authorization_details_types_supported: ['photo_print'],
    bearer_methods_supported: ['header'],
    dpop_signing_alg_values_supported: ['PS256', 'ES256', 'EdDSA', 'Ed25519'],
  });
});

test('RFC9728-2: adds what the API says in its own words, which outrank what its routes ask for', async () => {
  const metadata = { resource_name: 'Photos', resource_documentation: 'https://docs.example', scopes_supported: ['a'] };
  expect((await describedBy({ metadata })).answer.json).toMatchObject(metadata);
});

describe('RFC9728-2: announces the bindings that are accepted', () => {
  const members = [
    'dpop_signing_alg_values_supported',
    'dpop_bound_access_tokens_required',
    'tls_client_certificate_bound_access_tokens',
  ] as const;
  test.each([
    [['none'], [undefined, undefined, undefined]],
    [['dpop'], [['ES256'], true, undefined]],
    [['mtls'], [undefined, undefined, true]],
    [
      ['dpop', 'mtls'],
      [['ES256'], undefined, true],
    ],
    [
      ['none', 'dpop', 'mtls'],
      [['ES256'], undefined, true],
    ],
  ] as const)('%j', async (bindings, expected) => {
    const dpop = { algorithms: ['ES256'] as const };
    const options = (bindings as readonly string[]).includes('dpop') ? { bindings, dpop } : { bindings };
    const { answer, challenge } = await describedBy(options);
    expect(members.map((name) => answer.json?.[name])).toEqual(expected);
    const isBearer = bindings.some((binding) => binding !== 'dpop');
    expect(challenge?.includes('Bearer realm=')).toBe(isBearer);
    expect(challenge?.includes('DPoP realm=')).toBe((bindings as readonly string[]).includes('dpop'));
  });
});

test.each([
  ['https://api.example/', ''],
  ['https://api.example/v1', '/v1'],
  ['https://api.example/v1/urn:x', '/v1/urn:x'],
])('RFC9728-3.1, 5.1: the document of %s is where the challenge says', async (resource, path) => {
  const { answer, challenge, beside } = await describedBy({ resource, bindings: ['none'] }, path);
  expect(answer.json?.resource).toBe(resource);
  const url = `https://api.example/.well-known/oauth-protected-resource${path}`;
  expect(challenge).toBe(`Bearer realm="${resource}", resource_metadata="${url}"`);
  expect(beside.status).toBe(404);
});

test('an API without Fastify gets the document and its place', () => {
  const { metadata } = createTokenVerifier({
    issuer: issuer.issuer,
    resource: 'https://api.example/v1',
    token: { kind: 'jwt' },
    metadata: { scopes_supported: ['photos.read'] },
  });
  expect(metadata.url.href).toBe('https://api.example/.well-known/oauth-protected-resource/v1');
  expect(metadata.document).toMatchObject({ resource: 'https://api.example/v1', scopes_supported: ['photos.read'] });
});
