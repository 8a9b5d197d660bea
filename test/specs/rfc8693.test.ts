/** Token exchange: RFC 8693, clause by clause, and our decisions where it leaves room. */
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TOKEN_EXCHANGE } from '../../src/protocol/exchanges.ts';
import { post } from '../support/browser.ts';
import {
  ACCESS_TOKEN,
  ARCHIVE,
  type ExchangeWorld,
  exchange,
  ID_TOKEN,
  introspected,
  JWT,
  startExchangeWorld,
  step,
  webTokens,
} from '../support/exchange-world.ts';
import { PHOTOS, STORAGE } from '../support/world.ts';

describe('RFC 8693', () => {
  let world: ExchangeWorld;
  let first: string;
  let idToken: string;
  beforeAll(async () => {
    world = await startExchangeWorld({ resources: { archive: { may_act: { sub: 'archive-api' } } } });
    ({ access_token: first, id_token: idToken } = await webTokens(world));
  });
  afterAll(() => world.close());

  const ask = (
    fields: Record<string, string | readonly string[] | undefined>,
    party = world.photosApi,
    token = first,
  ) => exchange(world, party, token, { resource: STORAGE, ...fields });
  const errorOf = async (...asked: Parameters<typeof ask>) => (await ask(...asked)).json.error;
  const own = async (party = world.photosApi) =>
    String(
      (await post(`${world.issuer}/token`, { grant_type: 'client_credentials' }, { basic: party })).json.access_token,
    );

  it('§2.1: the grant type is announced, and given to clients that are registered for it', async () => {
    const metadata = (await (await fetch(`${world.issuer}/.well-known/openid-configuration`)).json()) as Record<
      string,
      string[]
    >;
    expect(metadata.grant_types_supported).toContain(TOKEN_EXCHANGE);
    expect(await errorOf({}, world.batch)).toBe('unauthorized_client');
  });

  it('§2.1: subject_token and subject_token_type are required', async () => {
    expect(await errorOf({ subject_token: undefined })).toBe('invalid_request');
    expect(await errorOf({ subject_token_type: undefined })).toBe('invalid_request');
    expect(await errorOf({ subject_token: undefined, subject_token_type: undefined })).toBe('invalid_request');
  });

  it('§2.1: actor_token_type is required with actor_token, and must not be there without it', async () => {
    expect(await errorOf({ actor_token: await own() })).toBe('invalid_request');
    expect(await errorOf({ actor_token_type: ACCESS_TOKEN })).toBe('invalid_request');
    expect(await errorOf({ actor_token: await own(), actor_token_type: ACCESS_TOKEN })).toBeUndefined();
  });

  it('§2.1: the client authenticates', async () => {
    const fields = {
      grant_type: TOKEN_EXCHANGE,
      subject_token: first,
      subject_token_type: ACCESS_TOKEN,
      resource: STORAGE,
    };
    for (const party of [
      { id: 'photos-api', secret: 'wrong' },
      { id: 'nobody', secret: 'x' },
    ])
      expect((await post(`${world.issuer}/token`, fields, { basic: party })).json.error).toBe('invalid_client');
    expect((await post(`${world.issuer}/token`, { ...fields, client_id: 'photos-api' })).json.error).toBe(
      'invalid_client',
    );
  });

  it('§2.1: resource is an absolute URI without fragment, of a service that is known', async () => {
    for (const resource of ['storage', `${STORAGE}#x`, 'https://unknown.example'])
      expect(await errorOf({ resource })).toBe('invalid_target');
  });

  it('§2.1: audience names the target as resource does; several values mean one token for all, which is not given', async () => {
    expect(await errorOf({ resource: undefined, audience: STORAGE })).toBeUndefined();
    expect(await errorOf({ audience: STORAGE })).toBeUndefined();
    expect(await errorOf({ resource: [STORAGE, STORAGE] })).toBeUndefined();
    expect(await errorOf({ audience: ARCHIVE })).toBe('invalid_target');
    expect(await errorOf({ resource: undefined, audience: [STORAGE, ARCHIVE] })).toBe('invalid_target');
    expect(await errorOf({ resource: undefined })).toBe('invalid_target');
  });

  it('§2.1: scope is of the target, in its words', async () => {
    expect((await ask({ scope: 'storage.read' })).json.scope).toBe('storage.read');
    expect(await errorOf({ scope: 'photos.read' })).toBe('invalid_scope');
    expect(await errorOf({ scope: 'a"b' })).toBe('invalid_scope');
  });

  it('§2.1: requested_token_type says what shall be issued; what is not issued here is refused', async () => {
    expect((await ask({ requested_token_type: ACCESS_TOKEN })).json.issued_token_type).toBe(ACCESS_TOKEN);
    expect((await ask({ resource: ARCHIVE, requested_token_type: JWT })).json.issued_token_type).toBe(JWT);
    expect((await ask({ resource: ARCHIVE })).json.issued_token_type).toBe(ACCESS_TOKEN);
    for (const type of [ID_TOKEN, ACCESS_TOKEN.replace('access', 'refresh'), 'urn:x'])
      expect(await errorOf({ requested_token_type: type })).toBe('invalid_request');
  });

  it('§2.1: no parameter comes twice but resource and audience', async () => {
    expect(await errorOf({ scope: ['storage.read', 'storage.read'] })).toBe('invalid_request');
    expect(await errorOf({ subject_token_type: [ACCESS_TOKEN, ACCESS_TOKEN] })).toBe('invalid_request');
  });

  it('§2.2.1: the answer: issued_token_type, token_type, expires_in, scope; no refresh token; not to be kept', async () => {
    const { status, json, headers } = await ask({});
    expect(status).toBe(200);
    expect(headers.get('cache-control')).toContain('no-store');
    expect(headers.get('content-type')).toContain('application/json');
    expect(Object.keys(json).sort()).toEqual([
      'access_token',
      'expires_in',
      'issued_token_type',
      'scope',
      'token_type',
    ]);
  });

  it('§2.2.1: token_type is that of the token: DPoP for a bound one, N_A for what is no access token', async () => {
    const bound = await exchange(world, world.keyed.photos, first, { resource: STORAGE });
    expect(bound.json.token_type).toBe('DPoP');
    const issuer = 'https://partner.example';
    await world.trustDomain({ issuer });
    await world.policy({ name: 'to-partner', client: 'photos-api', source: PHOTOS, target: issuer });
    for (const requested_token_type of [undefined, JWT])
      expect((await ask({ resource: issuer, requested_token_type })).json).toMatchObject({
        token_type: 'N_A',
        issued_token_type: JWT,
      });
    expect(await errorOf({ resource: issuer, requested_token_type: ACCESS_TOKEN })).toBe('invalid_request');
  });

  it('§2.2.2: a bad subject or actor token is invalid_request, never invalid_grant', async () => {
    expect(await errorOf({}, world.photosApi, 'x')).toBe('invalid_request');
    expect(await errorOf({ actor_token: 'x', actor_token_type: ACCESS_TOKEN })).toBe('invalid_request');
    expect(await errorOf({}, world.photosApi, idToken)).toBe('invalid_request');
  });

  it('§2.2.2: a target that is not to be had is invalid_target', async () => {
    expect(await errorOf({ resource: PHOTOS })).toBe('invalid_target');
  });

  it('§3: a token is read as the type it is said to be', async () => {
    expect(await errorOf({ subject_token_type: ID_TOKEN })).toBe('invalid_request');
    expect(await errorOf({ subject_token_type: JWT })).toBe('invalid_request');
    expect(await errorOf({ subject_token_type: ID_TOKEN }, world.web, idToken)).toBeUndefined();
    expect(await errorOf({ subject_token_type: ACCESS_TOKEN }, world.web, idToken)).toBe('invalid_request');
  });

  it('§4.1: act is nested, the one who acts now outermost; it has no exp, nbf or aud', async () => {
    const archived = await step(world, world.storageApi, await step(world, world.photosApi, first, STORAGE), ARCHIVE);
    expect(decodeProtectedHeader(archived).typ).toBe('at+jwt');
    const { act, sub, client_id } = decodeJwt(archived);
    expect({ act, sub, client_id }).toEqual({
      act: { sub: 'storage-api', act: { sub: 'photos-api' } },
      sub: world.alice,
      client_id: 'storage-api',
    });
    expect(await introspected(world, world.archiveApi, archived)).toMatchObject({ act });
  });

  it('§4.1: under impersonation there is no act', async () => {
    await world.policy({ name: 'as-subject', client: 'web', source: PHOTOS, target: ARCHIVE, mode: 'impersonation' });
    const seen = decodeJwt(await step(world, world.web, first, ARCHIVE));
    expect(seen).not.toHaveProperty('act');
    expect(seen).toMatchObject({ sub: world.alice, client_id: 'web', origin: { client_id: 'web' } });
    // An actor token asks for delegation (§1.1).
    const acting = { actor_token: first, actor_token_type: ACCESS_TOKEN };
    expect(decodeJwt(await step(world, world.web, first, ARCHIVE, acting)).act).toEqual({
      sub: world.alice,
      client_id: 'web',
    });
  });

  it('§4.2, §4.3: scope and client_id are claims of the issued token', async () => {
    const claims = decodeJwt(await step(world, world.photosApi, first, ARCHIVE, { scope: 'archive.read' }));
    expect(claims).toMatchObject({ scope: 'archive.read', client_id: 'photos-api', aud: ARCHIVE, iss: world.issuer });
  });

  it('§4.4: may_act says who may act, and is held to', async () => {
    const archived = await step(world, world.photosApi, first, ARCHIVE);
    expect(decodeJwt(archived).may_act).toEqual({ sub: 'archive-api' });
    expect(await errorOf({}, world.archiveApi, archived)).toBeUndefined();
    const { json } = await exchange(world, world.keyed.archive, archived, { resource: STORAGE });
    expect(json.error).toBe('invalid_request');
  });

  it('§5: what is issued does not outlive the subject token, and ends with it', async () => {
    const { access_token } = await webTokens(world);
    world.clock.advance(100);
    const archived = await step(world, world.photosApi, access_token, ARCHIVE);
    expect(decodeJwt(archived).exp).toBe(decodeJwt(access_token).exp);
    await post(`${world.issuer}/revoke`, { token: access_token }, { basic: world.web });
    expect(await introspected(world, world.archiveApi, archived)).toEqual({ active: false });
  });
});
