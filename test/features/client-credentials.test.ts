import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { post } from '../support/browser.ts';
import { introspect, PHOTOS, STORAGE, startWorld, type World } from '../support/world.ts';

describe('client credentials (RFC 6749 §4.4)', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  const ask = (fields: Record<string, string>, client = world.batch) =>
    post(`${world.issuer}/token`, { grant_type: 'client_credentials', ...fields }, { basic: client });

  it.each([
    ['the resource', { resource: STORAGE }, 'storage.read', /^gate_at_/],
    ['the scope', { scope: 'storage.read' }, 'storage.read', /^gate_at_/],
    ['both', { scope: 'photos.read', resource: PHOTOS }, 'photos.read', /^ey/],
  ])('give a token for the API that %s names, in its form', async (_what, fields, scope, form) => {
    const { status, json, headers } = await ask(fields);
    expect(status).toBe(200);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(json).toEqual({ access_token: expect.stringMatching(form), token_type: 'Bearer', expires_in: 300, scope });
  });

  it('stand for the client itself, and only its API learns so', async () => {
    const { json } = await ask({ resource: STORAGE });
    expect(await introspect(world, String(json.access_token), world.storageApi)).toMatchObject({
      active: true,
      sub: world.batch.id,
      client_id: world.batch.id,
      aud: STORAGE,
      scope: 'storage.read',
    });
    expect(await introspect(world, String(json.access_token), world.photosApi)).toEqual({ active: false });
  });

  it.each<[string, Record<string, string>, string]>([
    ['several APIs and none named', {}, 'invalid_target'],
    ['an unknown API', { resource: 'https://evil.example' }, 'invalid_target'],
    ['a scope that is not the client’s', { scope: 'photos.write' }, 'invalid_scope'],
    ['an unknown scope', { scope: 'photos.read nonsense' }, 'invalid_scope'],
    ['openid: there is no person', { scope: 'openid' }, 'invalid_scope'],
    ['offline_access: there is nobody to be offline', { scope: 'photos.read offline_access' }, 'invalid_scope'],
    ['scope of one API and the name of another', { scope: 'photos.read', resource: STORAGE }, 'invalid_scope'],
  ])('refuse %s', async (_what, fields, error) => {
    const { status, json } = await ask(fields);
    expect([status, json.error]).toEqual([400, error]);
  });

  it('are not for clients that registered no such grant, nor for public ones', async () => {
    expect((await ask({}, world.web)).json.error).toBe('unauthorized_client');
    const spa = await post(`${world.issuer}/token`, { grant_type: 'client_credentials', client_id: world.spa.id });
    expect([spa.status, spa.json.error]).toEqual([400, 'unauthorized_client']);
  });

  it.each([
    ['the client asks for its own lifetime', { access_token_lifetime: 60 }, PHOTOS, 60],
    ['nobody says otherwise', {}, PHOTOS, 300],
    ['the API does', {}, 'https://slow.example', 1800],
    ['the client’s word counts before the API’s', { access_token_lifetime: 60 }, 'https://slow.example', 60],
  ])('live as long as they should when %s', async (_what, metadata, resource, lifetime) => {
    const slow = {
      resource: 'https://slow.example',
      name: 'Slow',
      scopes: { slow: 'Wait' },
      access_token_lifetime: 1800,
    };
    await world.resource(slow).catch(() => undefined);
    const client = await world.client({ grant_types: ['client_credentials'], scope: 'photos.read slow', ...metadata });
    // The catalogue of a running server is never older than a second.
    await expect.poll(async () => (await ask({ resource }, client)).json.expires_in, { timeout: 5000 }).toBe(lifetime);
  });
});
