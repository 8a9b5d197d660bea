/** Token exchange and JWT authorization grants under the FAPI profiles: nobody without a key, nothing that is not bound to one. */
import { decodeJwt, decodeProtectedHeader, type JWK } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { changeResource } from '../../src/operator/resources.ts';
import { findResource } from '../../src/postgres/resources.pg.ts';
import { JWT_BEARER, TOKEN_EXCHANGE } from '../../src/protocol/exchanges.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { caughtUp, query } from '../support/attack-aftermath.ts';
import { type ClientKey, clientKey, rawJws } from '../support/client-key.ts';
import { ARCHIVE, ID_TOKEN, JWT } from '../support/exchange-world.ts';
import {
  boundTo,
  exchangeAs,
  type FapiExchange,
  firstToken,
  type Party,
  reasonOf,
  startFapiExchange,
  stepAs,
  thumbprintOf,
  tokenOf,
  told,
  WAY_NAMES,
  WAYS,
  type WayName,
} from '../support/fapi-exchange.ts';
import { getCode, redeem } from '../support/fapi-flow.ts';
import { asRs256, assertion, send, spoilt } from '../support/fapi-requests.ts';
import { signedByServer } from '../support/own-signature.ts';
import { proofKey } from '../support/proof-key.ts';
import { startTestServer } from '../support/server.ts';
import { exchangePolicy, grantClaims, PARTNER, trustDomain } from '../support/trust-world.ts';
import { PHOTOS, STORAGE } from '../support/world.ts';

describe.each(['fapi2-security', 'fapi2-message-signing'] as const)('under %s', (profile) => {
  let world: FapiExchange;
  let first: string;
  let dpopApp: Party;
  beforeAll(async () => {
    world = await startFapiExchange(profile);
    dpopApp = world.apps['key-dpop'];
    first = await firstToken(dpopApp);
  });
  afterAll(() => world.close());

  const photos = (way: WayName) => world.apis.photos[way];
  const refusedAs = async (party: Party, ...asking: [string, Record<string, string | undefined>, object?]) => {
    const { status, json } = await exchangeAs(party, ...asking);
    return [status, json.error];
  };

  it('the grants are announced, and nothing beside them that the profile forbids', () => {
    const { metadata } = world.op;
    expect(metadata.grant_types_supported).toEqual([
      'authorization_code',
      'refresh_token',
      'client_credentials',
      TOKEN_EXCHANGE,
      JWT_BEARER,
    ]);
    expect(metadata.token_endpoint_auth_methods_supported).toEqual([
      'private_key_jwt',
      'tls_client_auth',
      'self_signed_tls_client_auth',
    ]);
    const algs = Object.entries(metadata).filter(([name]) => name.endsWith('signing_alg_values_supported'));
    expect(algs.length).toBeGreaterThan(3);
    for (const [name, values] of algs)
      expect([name, (values as string[]).filter((alg) => /^(none|RS|HS)/.test(alg))]).toEqual([name, []]);
  });

  it.each(['client_secret_basic', 'client_secret_post', 'none'])(
    'registers no client for it with %s',
    async (method) => {
      for (const grant of [TOKEN_EXCHANGE, JWT_BEARER])
        await expect(
          world.op.server.client({ client_id: 'weak', grant_types: [grant], token_endpoint_auth_method: method }),
        ).rejects.toThrow(/token_endpoint_auth_method|grant_types/);
    },
  );

  describe.each(WAY_NAMES)('%s', (way) => {
    it('a client’s tokens are bound to its own key, whatever the subject token is bound to', async () => {
      for (const app of Object.values(world.apps)) {
        const subject = await firstToken(app);
        const { status, headers, json } = await exchangeAs(photos(way), subject, { resource: STORAGE });
        expect({ status, json }).toMatchObject({
          status: 200,
          json: { token_type: WAYS[way].constraint === 'dpop' ? 'DPoP' : 'Bearer', scope: 'storage.read' },
        });
        expect(json).not.toHaveProperty('refresh_token');
        expect(headers.get('cache-control')).toContain('no-store');
        const seen = await told(world.apis.storage[way], String(json.access_token));
        expect(seen).toMatchObject({
          active: true,
          act: { sub: photos(way).client.id },
          txn: decodeJwt(subject).jti,
          origin: { client_id: app.client.id },
          cnf: boundTo(photos(way)),
        });
        expect(seen.cnf).not.toEqual(decodeJwt(subject).cnf);
      }
    });

    it('there is no bearer token to be had', async () => {
      const before = await steps();
      const bare = { dpop: null, ...(way === 'key-cert' && { fetch: world.op.fetch }) };
      if (way === 'cert-cert') {
        // Without its certificate it is nobody.
        expect((await exchangeAs(photos(way), first, { resource: STORAGE }, { fetch: world.op.fetch })).status).toBe(
          401,
        );
        return;
      }
      const { status, json } = await exchangeAs(photos(way), first, { resource: STORAGE }, bare);
      expect([status, json.error]).toEqual([400, 'invalid_request']);
      expect(json).not.toHaveProperty('access_token');
      expect(await steps()).toBe(before);
    });

    it('goes through all APIs, each token bound to who has it', async () => {
      const one = await stepAs(photos(way), first, STORAGE);
      const two = await stepAs(world.apis.storage[way], one, ARCHIVE);
      const claims = decodeJwt(two);
      expect(claims).toMatchObject({
        act: { sub: `storage-${way}`, act: { sub: `photos-${way}` } },
        cnf: boundTo(world.apis.storage[way]),
        scope: 'archive.read',
      });
      expect(decodeProtectedHeader(two).alg).toMatch(/^(PS256|ES256|EdDSA)$/);
      const { iss, sub, aud, txn, origin, act, cnf, client_id, jti } = claims;
      expect(await told(world.apis.archive[way], two)).toMatchObject({
        active: true,
        iss,
        sub,
        aud,
        txn,
        origin,
        act,
        cnf,
        client_id,
        jti,
      });
    });
  });

  const steps = async () => (await query(world.op.server, 'SELECT 1 FROM exchanges WHERE refused IS NULL')).length;

  it('a client that says nothing of how its tokens are bound has them bound by what it shows', async () => {
    const { op } = world;
    const silent = await world.party('silent', 'cert-cert', {
      grant_types: ['client_credentials', TOKEN_EXCHANGE],
      scope: 'photos.read',
      tls_client_certificate_bound_access_tokens: undefined,
    });
    const scopes = { 'photos.read': ['storage.read'] };
    await exchangePolicy(op.server, { name: 'silent', client: 'silent', source: PHOTOS, target: STORAGE, scopes });
    const own = { grant_type: 'client_credentials', resource: PHOTOS };
    for (const [dpop, cnf] of [
      [null, boundTo(silent)],
      [{}, { jkt: silent.client.proofKey.jkt }],
    ] as const) {
      const held = tokenOf(await send(silent, 'token_endpoint', own, { dpop }));
      expect(decodeJwt(held).cnf).toEqual(cnf);
      const next = tokenOf(await exchangeAs(silent, held, { resource: STORAGE }, { dpop }));
      expect((await told(world.apis.storage['key-dpop'], next)).cnf).toEqual(cnf);
    }
  });

  it('a client is known by its certificate, its own or of an authority, and by no other', async () => {
    const own = photos('cert-dpop');
    const other = await world.op.issued('somebody-else');
    const answer = await exchangeAs(own, first, { resource: STORAGE }, { fetch: world.op.fetchAs(other) });
    expect([answer.status, answer.json.error]).toEqual([401, 'invalid_client']);
    const { client } = photos('cert-cert');
    const renewed = { ...photos('cert-cert'), client: { ...client, certificate: await world.op.issued(client.id) } };
    const again = await exchangeAs(
      renewed,
      first,
      { resource: STORAGE },
      { fetch: world.op.fetchAs(renewed.client.certificate) },
    );
    expect(await told(world.apis.storage['key-dpop'], tokenOf(again))).toMatchObject({
      cnf: thumbprintOf(renewed.client.certificate),
    });
  });

  it('a client is known by an assertion of the profile, and by no other', async () => {
    const own = photos('key-dpop');
    const type = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
    const by = async (client_assertion: string) => {
      const authentication = { client_assertion_type: type, client_assertion };
      return (await exchangeAs(own, first, { resource: STORAGE }, { authentication })).json.error ?? 'taken';
    };
    const good = await assertion(own, own.client);
    expect(await by(good)).toBe('taken');
    expect(await by(good)).toBe('invalid_client');
    expect(await by(spoilt(await assertion(own, own.client)))).toBe('invalid_client');
    expect(await by(await assertion(own, own.client, { claims: { aud: [own.server.issuer] } }))).toBe('invalid_client');
    const claims = decodeJwt(await assertion(own, own.client));
    expect(await by(rawJws({ alg: 'none' }, claims))).toBe('invalid_client');
    const rsa = await clientKey('PS256', 'rsa');
    await own.server.client({
      client_id: 'rsa',
      grant_types: [TOKEN_EXCHANGE],
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [{ ...rsa.jwk, alg: undefined }] },
      ...(profile === 'fapi2-message-signing' && { introspection_signed_response_alg: 'PS256' }),
    });
    const ofRsa = { ...claims, iss: 'rsa', sub: 'rsa' };
    const old = await asRs256({ ...rsa, jwk: { ...rsa.jwk, alg: undefined } as never });
    expect(await by(await old.sign({ ...ofRsa, jti: 'one' }))).toBe('invalid_client');
    // By the right algorithm it is somebody: who has no policy.
    expect(await by(await rsa.sign({ ...ofRsa, jti: 'two' }))).toBe('invalid_request');
  });

  describe('subject tokens', () => {
    it('of our own are signed by our keys and nothing else', async () => {
      const [header, claims] = [decodeProtectedHeader(first), decodeJwt(first)];
      const stranger = await clientKey('ES256', String(header.kid));
      const rsa = await clientKey('RS256', String(header.kid));
      const forgeries = {
        'alg none': rawJws({ ...header, alg: 'none' }, claims),
        'no signature': rawJws(header, claims),
        'ES256 by a stranger': await stranger.sign(claims, { typ: 'at+jwt' }),
        'RS256 by a stranger': await rsa.sign(claims, { typ: 'at+jwt' }),
        'a spoilt one': spoilt(first),
        'another kind': await signedByServer(world.op.server, 'JWT', claims, 'PS256'),
      };
      for (const [what, forged] of Object.entries(forgeries))
        expect([what, await refusedAs(photos('key-dpop'), forged, { resource: STORAGE })]).toEqual([
          what,
          [400, 'invalid_request'],
        ]);
      for (const alg of ['PS256', 'ES256', 'EdDSA'] as const) {
        const signed = await signedByServer(world.op.server, 'at+jwt', claims, alg);
        expect([alg, await refusedAs(photos('key-dpop'), signed, { resource: STORAGE })]).toEqual([
          alg,
          [200, undefined],
        ]);
      }
    });

    /** As an operator could under another profile. */
    async function changeResourceTo(signing_alg: 'RS256' | 'ES256'): Promise<void> {
      const { sql } = world.op.server.running.database;
      const before = await findResource(sql, ARCHIVE);
      if (!before) throw new Error('no archive');
      await changeResource(sql, before, { signing_alg }, oauth21, world.op.server.clock.now());
    }

    it('of our own are not taken with RS256, though a key for it is left from a laxer profile', async () => {
      const { server, tls } = world.op;
      const { issuer, databaseUrl, clock } = server;
      const files = { GATEHOUSE_TLS_CERT: tls.cert, GATEHOUSE_TLS_KEY: tls.key };
      // What a server of another profile leaves behind.
      await (await startTestServer({ databaseUrl, clock, env: { ...files, GATEHOUSE_ISSUER: issuer } })).close();
      await caughtUp();
      const { keys } = (await (await world.op.fetch(String(world.op.metadata.jwks_uri))).json()) as { keys: JWK[] };
      expect(keys.map(({ alg }) => alg)).toContain('RS256');
      const asked = await getCode(dpopApp, { parameters: { scope: 'openid photos.read' } });
      const { json } = await redeem(dpopApp, asked, { fields: { resource: PHOTOS } });
      const tokens = [
        [photos('key-dpop'), first, 'at+jwt', {}],
        [dpopApp, String(json.id_token), 'JWT', { subject_token_type: ID_TOKEN }],
      ] as const;
      for (const [party, token, typ, fields] of tokens) {
        const old = await signedByServer(server, typ, decodeJwt(token), 'RS256');
        expect(decodeProtectedHeader(old).alg).toBe('RS256');
        const refused = await exchangeAs(party, old, { resource: STORAGE, ...fields });
        expect([refused.json.error, await reasonOf(party, refused)]).toEqual(['invalid_request', 'subject_token']);
      }
      const old = await signedByServer(server, 'at+jwt', decodeJwt(first), 'RS256');
      expect(await told(photos('key-dpop'), old)).toEqual({ active: false });

      // Nor made, for an API that was registered for it then.
      await changeResourceTo('RS256');
      await caughtUp();
      const two = await stepAs(
        world.apis.storage['key-dpop'],
        await stepAs(photos('key-dpop'), first, STORAGE),
        ARCHIVE,
      );
      expect(decodeProtectedHeader(two).alg).toBe('PS256');
      await changeResourceTo('ES256');
    });

    it('ID tokens: of the client’s own, and what comes of them is bound', async () => {
      const asked = await getCode(dpopApp, { parameters: { scope: 'openid photos.read' } });
      const { json } = await redeem(dpopApp, asked, { fields: { resource: PHOTOS } });
      const source = world.op.server.issuer;
      const fromIdToken = { client: dpopApp.client.id, source, target: ARCHIVE, scopes: { openid: ['archive.read'] } };
      await exchangePolicy(world.op.server, { name: 'from-id-token', ...fromIdToken });
      const asking = { resource: ARCHIVE, subject_token_type: ID_TOKEN };
      const answer = await exchangeAs(dpopApp, String(json.id_token), asking);
      expect(decodeJwt(tokenOf(answer))).toMatchObject({ cnf: boundTo(dpopApp) });
      expect(await refusedAs(photos('key-dpop'), String(json.id_token), asking)).toEqual([400, 'invalid_request']);
    });
  });

  describe('JWTs of another domain', () => {
    let es: ClientKey;
    let ps: ClientKey;
    let rs: ClientKey;
    let couriers: Record<'key-dpop' | 'key-cert' | 'cert-dpop' | 'cert-cert', Party>;
    beforeAll(async () => {
      es = await clientKey('ES256', 'es');
      ps = await clientKey('PS256', 'ps');
      rs = await clientKey('RS256', 'rs');
      const { server } = world.op;
      await trustDomain(server, { issuer: PARTNER, name: 'Partner', jwks: { keys: [es.jwk, ps.jwk, rs.jwk] } });
      const made = await Promise.all(
        WAY_NAMES.map(async (way) => {
          const party = await world.party(`courier-${way}`, way, { grant_types: [JWT_BEARER, TOKEN_EXCHANGE] });
          const scopes = { 'files.read': ['storage.read'] };
          const { id } = party.client;
          await exchangePolicy(server, { name: id, client: id, source: PARTNER, target: STORAGE, scopes });
          return [way, party] as const;
        }),
      );
      couriers = Object.fromEntries(made) as typeof couriers;
    });

    const claims = (changes: Record<string, unknown> = {}) => grantClaims(world.op.server, changes);
    const present = (party: Party, jwt: string, sending: object = {}) =>
      send(party, 'token_endpoint', { grant_type: JWT_BEARER, assertion: jwt, resource: STORAGE }, sending);
    const exchangeJwt = (party: Party, jwt: string) =>
      exchangeAs(party, jwt, { resource: STORAGE, subject_token_type: JWT });

    it.each(WAY_NAMES)('a grant gives a token that is bound to who brings it: %s', async (way) => {
      const { status, json } = await present(couriers[way], await es.sign(claims()));
      expect([status, Object.keys(json).sort()]).toEqual([200, ['access_token', 'expires_in', 'scope', 'token_type']]);
      expect(await told(world.apis.storage[way], String(json.access_token))).toMatchObject({
        active: true,
        sub: `${PARTNER}|carol`,
        act: { sub: `courier-${way}` },
        cnf: boundTo(couriers[way]),
      });
    });

    it('a grant gives no bearer token', async () => {
      for (const [party, sending] of [
        [couriers['key-dpop'], { dpop: null }],
        [couriers['cert-dpop'], { dpop: null }],
        [couriers['key-cert'], { fetch: world.op.fetch }],
      ] as const) {
        const jwt = await es.sign(claims());
        expect((await present(party, jwt, sending)).json.error).toBe('invalid_request');
        // It was not used up by that.
        expect((await present(party, jwt)).status).toBe(200);
      }
    });

    it('a grant that is bound to a key, or a certificate, is its holder’s alone', async () => {
      for (const way of WAY_NAMES) {
        const cnf = boundTo(couriers[way]);
        for (const other of WAY_NAMES) {
          const { json } = await present(couriers[other], await es.sign(claims({ cnf })));
          expect([way, other, json.error]).toEqual([way, other, other === way ? undefined : 'invalid_grant']);
        }
      }
    });

    it('are signed with an algorithm of the profile: ES256 and PS256, not RS256, not none', async () => {
      const party = couriers['key-dpop'];
      const body = () => claims();
      const tries: [string, () => Promise<string> | string, boolean][] = [
        ['ES256', () => es.sign(body()), true],
        ['PS256', () => ps.sign(body()), true],
        ['RS256', () => rs.sign(body()), false],
        ['none', () => rawJws({ alg: 'none' }, body()), false],
        ['ES256 by a stranger', async () => (await clientKey('ES256', 'es')).sign(body()), false],
      ];
      for (const [what, make, good] of tries) {
        expect([what, (await present(party, await make())).json.error]).toEqual([
          what,
          good ? undefined : 'invalid_grant',
        ]);
        const exchanged = await exchangeJwt(party, await make());
        expect([what, exchanged.json.error]).toEqual([what, good ? undefined : 'invalid_request']);
        if (good) expect(exchanged.json.token_type).toBe('DPoP');
      }
      const refused = await exchangeJwt(party, await rs.sign(body()));
      expect(await reasonOf(party, refused)).toBe('subject_token: its alg is not accepted');
    });

    it('name us as a string', async () => {
      const list = claims({ aud: [world.op.server.issuer] });
      expect((await present(couriers['key-dpop'], await es.sign(list))).json.error).toBe('invalid_grant');
      expect((await exchangeJwt(couriers['key-dpop'], await es.sign(list))).json.error).toBe('invalid_request');
    });

    it('a domain is not registered for RS256', async () => {
      const domain = { issuer: 'https://old.example', name: 'Old', signing_algs: ['RS256'] };
      await expect(trustDomain(world.op.server, domain)).rejects.toThrow(/signing_algs/);
    });
  });

  it('a grant for another domain is bound too, and no token to be used', async () => {
    const { server } = world.op;
    const issuer = 'https://next.example';
    await trustDomain(server, { issuer, name: 'Next' });
    for (const way of WAY_NAMES) {
      const { id } = photos(way).client;
      const scopes = { 'photos.read': ['files.read'] };
      await exchangePolicy(server, { name: `${id}-next`, client: id, source: PHOTOS, target: issuer, scopes });
      const { json } = await exchangeAs(photos(way), first, { audience: issuer });
      expect(json).toMatchObject({ token_type: 'N_A', issued_token_type: JWT });
      expect(decodeJwt(String(json.access_token))).toMatchObject({ aud: issuer, cnf: boundTo(photos(way)) });
      expect(decodeProtectedHeader(String(json.access_token)).alg).toBe('PS256');
    }
  });

  it('a token of another’s is refused to all, with whatever key', async () => {
    const held = await stepAs(photos('key-dpop'), first, STORAGE);
    const parties = [...Object.values(world.apis.archive), ...Object.values(world.apps)];
    for (const party of parties) {
      const refused = await exchangeAs(party, held, { resource: ARCHIVE });
      expect([refused.json.error, await reasonOf(party, refused)]).toEqual(['invalid_request', 'subject_token']);
    }
    const stolen = { ...photos('key-dpop').client, proofKey: await proofKey() };
    const answer = await exchangeAs({ ...photos('key-dpop'), client: stolen }, held, { resource: ARCHIVE });
    expect(answer.json.error).toBe('invalid_request');
  });
});
