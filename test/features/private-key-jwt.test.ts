/** `private_key_jwt`: clients that sign that they are themselves, with libraries of others and keys inline or at an address. */
import * as oauth from 'oauth4webapi';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clientKey } from '../support/client-key.ts';
import { type DocumentServer, startDocumentServer } from '../support/document-server.ts';
import { askTokens, assertionOf, type FapiWorld, pushAs, sendAs, startFapiWorld } from '../support/fapi-world.ts';
import { relyingParty, tokensOf } from './relying-party.ts';

describe('private_key_jwt', () => {
  let world: FapiWorld;
  let documents: DocumentServer;
  beforeAll(async () => {
    world = await startFapiWorld('oauth21', { GATEHOUSE_ALLOW_LOOPBACK_FETCH: 'on' });
    documents = await startDocumentServer();
  });
  afterAll(async () => {
    await documents.close();
    await world.close();
  });

  it('a web app (openid-client) gets its tokens, and nobody ever gave it a secret', async () => {
    const { app } = world;
    const auth = oidc.PrivateKeyJwt({ key: app.key.privateKey, kid: app.key.jwk.kid });
    const party = await relyingParty(world, { id: app.id, secret: '' }, { auth });
    const { tokens } = await tokensOf(party, app.redirectUri, 'openid photos.read');
    expect(tokens.claims()?.sub).toBe(world.alice);
    const refreshed = await oidc.refreshTokenGrant(party, tokens.refresh_token ?? '');
    expect(refreshed.access_token).not.toBe(tokens.access_token);
  });

  it.each(['ES256', 'PS256', 'RS256', 'EdDSA', 'Ed25519'])('a backend (oauth4webapi) signs with %s', async (alg) => {
    const key = await clientKey(alg);
    const client = await world.fapiClient(`backend-${alg.toLowerCase()}`, {}, key);
    const as = { issuer: world.issuer, token_endpoint: `${world.issuer}/token` };
    const auth = oauth.PrivateKeyJwt({ key: key.privateKey, kid: key.jwk.kid });
    const response = await oauth.clientCredentialsGrantRequest(
      as,
      { client_id: client.id },
      auth,
      { scope: 'photos.read' },
      { [oauth.allowInsecureRequests]: true },
    );
    const tokens = await oauth.processClientCredentialsResponse(as, { client_id: client.id }, response);
    expect(tokens.scope).toBe('photos.read');
  });

  it('client_id beside the assertion may be there or not', async () => {
    for (const client_id of [undefined, 'app'])
      expect((await sendAs(world, world.app, '/revoke', { token: 'x', client_id })).status).toBe(200);
  });

  it('a key of several is chosen by its kid, and a set with several fitting ones needs it', async () => {
    const [one, two] = [await clientKey('ES256', 'one'), await clientKey('ES256', 'two')];
    await world.fapiClient('several', { jwks: { keys: [one.jwk, two.jwk] } });
    const statusOf = async (key: typeof one, header = {}) => {
      const client = { id: 'several', key };
      const assertion = await assertionOf(world, client, {}, header);
      return (await sendAs(world, client, '/revoke', { token: 'x' }, { assertion })).status;
    };
    expect([await statusOf(one), await statusOf(two)]).toEqual([200, 200]);
    expect(await statusOf(one, { kid: undefined })).toBe(401);
    expect(await statusOf(one, { kid: 'two' })).toBe(401);
  });

  it('a key at jwks_uri is fetched once, and again when the client has changed it', async () => {
    const [old, fresh] = [await clientKey('ES256', 'old'), await clientKey('ES256', 'fresh')];
    const jwks_uri = `${documents.origin}/rotating`;
    await world.fapiClient('rotating', { jwks: undefined, jwks_uri });
    const statusOf = async (key: typeof old) =>
      (await sendAs(world, { id: 'rotating', key }, '/revoke', { token: 'x' })).status;
    documents.serve({ keys: [old.jwk] });
    expect([await statusOf(old), await statusOf(old)]).toEqual([200, 200]);
    expect(documents.asked).toEqual(['/rotating']);
    documents.serve({ keys: [fresh.jwk] });
    world.clock.advance(61);
    expect(await statusOf(fresh)).toBe(200);
    expect(documents.asked).toEqual(['/rotating', '/rotating']);
    // A stranger's key ids do not make us knock there again and again.
    for (let round = 0; round < 3; round += 1) expect(await statusOf(await clientKey('ES256', `x${round}`))).toBe(401);
    expect(documents.asked).toHaveLength(2);
    expect(await statusOf(old)).toBe(401);
  });

  it('keys that cannot be had are our trouble and not the client’s fault', async () => {
    documents.serve({ not: 'keys' });
    await world.fapiClient('away', { jwks: undefined, jwks_uri: `${documents.origin}/away` });
    const { status, json } = await sendAs(world, { id: 'away', key: world.app.key }, '/revoke', { token: 'x' });
    expect([status, json.error]).toEqual([503, 'temporarily_unavailable']);
  });

  it('a client without keys is not registered for it', async () => {
    await expect(world.fapiClient('keyless', { jwks: undefined })).rejects.toThrow(/needs jwks or jwks_uri/);
    await expect(world.fapiClient('both', { jwks_uri: 'https://both.example/jwks' })).rejects.toThrow(/exclude/);
    const alg = { token_endpoint_auth_signing_alg: 'HS256' };
    await expect(world.fapiClient('shared', alg)).rejects.toThrow(/token_endpoint_auth_signing_alg/);
  });

  it('a request that fails for something else does not use the assertion up', async () => {
    const assertion = await assertionOf(world, world.app);
    const wrong = await askTokens(world, world.app, { grant_type: 'authorization_code', code: 'x' }, { assertion });
    expect([wrong.status, wrong.json.error]).toEqual([400, 'invalid_grant']);
    expect((await pushAs(world, world.app, {}, { assertion })).status).toBe(201);
    expect((await pushAs(world, world.app, {}, { assertion })).status).toBe(401);
  });

  it('takes one round trip, which also remembers the assertion', async () => {
    const trips = await world.roundTripsOf(
      async () => assertionOf(world, world.app),
      async (assertion) => {
        const fields = { grant_type: 'client_credentials', scope: 'photos.read' };
        expect((await sendAs(world, world.app, '/token', fields, { assertion })).status).toBe(200);
      },
    );
    expect(trips).toBe(1);
  });

  it('is announced with its algorithms', async () => {
    const metadata = (await (await fetch(`${world.issuer}/.well-known/openid-configuration`)).json()) as object;
    const algs = ['ES256', 'RS256', 'PS256', 'EdDSA', 'Ed25519'];
    for (const endpoint of ['token', 'introspection', 'revocation'])
      expect(metadata).toMatchObject({
        [`${endpoint}_endpoint_auth_methods_supported`]: expect.arrayContaining(['private_key_jwt']),
        [`${endpoint}_endpoint_auth_signing_alg_values_supported`]: algs,
      });
  });
});
