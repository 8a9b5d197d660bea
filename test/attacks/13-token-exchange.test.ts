/**
 * The attacker is an API that was called, or a client that got hold of a token: it wants more with it than it was given for. Another
 * audience, a wider scope, a longer life, somebody else's name in the chain, a bound token without its key. Stopped by: policies with
 * default deny, the caller's place in the token (audience or holder), the ledger asked about all that a token came from, and nothing of
 * the story ever taken from the request. Every try that has a call to belong to is recorded with the rule that refused it.
 */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresAccess } from '../../src/features/account/access.pg.ts';
import { changeResource } from '../../src/operator/resources.ts';
import { setUserDisabled } from '../../src/postgres/people.pg.ts';
import { findResource } from '../../src/postgres/resources.pg.ts';
import { TOKEN_EXCHANGE } from '../../src/protocol/exchanges.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { auditOf, tally } from '../support/attack-aftermath.ts';
import { post, signIn, TestBrowser } from '../support/browser.ts';
import { type ClientKey, clientKey } from '../support/client-key.ts';
import {
  ACCESS_TOKEN,
  ARCHIVE,
  appTokens,
  batchToken,
  type ExchangeWorld,
  exchange,
  ID_TOKEN,
  introspected,
  JWT,
  type Party,
  startExchangeWorld,
  step,
  stepsOf,
  webTokens,
} from '../support/exchange-world.ts';
import { proofKey } from '../support/proof-key.ts';
import { PHOTOS, STORAGE } from '../support/world.ts';

const PARTNER = 'https://partner.example';

describe('token exchange, misused', () => {
  let world: ExchangeWorld;
  let stranger: { id: string; secret: string };
  let partner: ClientKey;
  beforeAll(async () => {
    world = await startExchangeWorld();
    stranger = await world.client({ client_id: 'stranger', grant_types: [TOKEN_EXCHANGE] });
    partner = await clientKey('ES256', 'partner');
    await world.trustDomain({ issuer: PARTNER, jwks: { keys: [partner.jwk] } });
    await world.policy({ name: 'from-partner', client: 'photos-api', source: PARTNER, target: STORAGE });
  });
  afterAll(() => world.close());

  type Fields = Record<string, string | readonly string[] | undefined>;

  /** Tries, and proves that it left nothing but a record of itself. */
  async function refused(party: Party, token: string, fields: Fields, asking = {}) {
    const [before, access] = [await stepsOf(world), await tally(world)];
    const logged = world.log.length;
    const { status, json } = await exchange(world, party, token, { resource: STORAGE, ...fields }, asking);
    // Equal refusals of a minute are one row, which counts.
    const known = new Map(before.map(({ id, times }) => [id, times]));
    const added = (await stepsOf(world)).filter(({ id, times }) => times > (known.get(id) ?? 0));
    expect(added.filter((row) => row.refused === null)).toEqual([]);
    expect(await tally(world)).toEqual(access);
    expect(status).toBe(400);
    expect(Object.keys(json).sort()).toEqual(['error', 'error_description']);
    const line = world.log.slice(logged).find((text) => text.includes('"/token"')) ?? '{}';
    const { reason } = JSON.parse(line) as { reason?: string };
    return {
      error: json.error,
      told: json.error_description,
      reason,
      recorded: added[0]?.refused ?? undefined,
      row: added[0],
    };
  }
  /** The same, as one line: the error, and the rule that the log and the record name. */
  async function outcome(...tried: Parameters<typeof refused>): Promise<string> {
    const { error, reason, recorded } = await refused(...tried);
    expect(recorded).toBe(reason);
    return `${error}, ${reason}`;
  }

  // One browser, signed in once.
  let browser: TestBrowser | undefined;
  const alices = async (extra?: Record<string, string>) => {
    const tokens = await webTokens(world, browser ? { browser } : {}, extra);
    browser = tokens.browser;
    return tokens;
  };
  const first = async () => (await alices()).access_token;

  it('the token that all of this is about can be exchanged, so that the rest of this can fail', async () => {
    expect((await exchange(world, world.photosApi, await first(), { resource: STORAGE })).status).toBe(200);
  });

  describe('a token that is not the caller’s', () => {
    it('is refused to an API it is not addressed to, and to a client that does not hold it', async () => {
      const token = await first();
      expect(await outcome(world.storageApi, token, { resource: ARCHIVE })).toBe('invalid_request, subject_token');
      expect(await outcome(stranger, token, {})).toBe('invalid_request, subject_token');
      const { row } = await refused(world.archiveApi, token, {});
      expect(row).toMatchObject({
        client_id: 'archive-api',
        parent: decodeJwt(token).jti,
        txn: decodeJwt(token).jti,
        subject: world.alice,
        target: STORAGE,
        hops: [],
      });
    });

    it('looks the same as one that is expired, revoked, made up or of another kind', async () => {
      const [foreign, over, dead] = [await first(), await first(), await first()];
      await post(`${world.issuer}/revoke`, { token: dead }, { basic: world.web });
      const opaque = await step(world, world.photosApi, await first(), STORAGE);
      const tried: [string, Fields?][] = [
        [foreign],
        [dead],
        [opaque],
        [opaque.slice(0, -4)],
        ['gate_at_x'],
        ['x'],
        [foreign.slice(0, -6)],
        [foreign, { subject_token_type: ID_TOKEN }],
        [foreign, { subject_token_type: JWT }],
        [(await alices()).id_token, { subject_token_type: ID_TOKEN }],
      ];
      const told = [];
      for (const [token, fields = {}] of tried) {
        const { error, told: description } = await refused(world.archiveApi, token, fields);
        told.push(`${error} ${description}`);
      }
      world.clock.advance(301);
      const { error, told: description } = await refused(world.archiveApi, over, {});
      told.push(`${error} ${description}`);
      expect(new Set(told).size).toBe(1);
      expect(told[0]).toMatch(/^invalid_request /);
    });

    it('an ID token is its client’s alone, whoever it is about', async () => {
      const { id_token } = await alices();
      for (const party of [world.photosApi, world.app, stranger])
        expect(await outcome(party, id_token, { subject_token_type: ID_TOKEN })).toBe('invalid_request, subject_token');
    });
  });

  describe('a token that does not stand', () => {
    const notGood = { error: 'invalid_request', reason: 'subject_token', recorded: undefined };

    it('expired', async () => {
      const token = await first();
      world.clock.advance(301);
      expect(await refused(world.photosApi, token, {})).toMatchObject(notGood);
    });

    it('revoked, signed and opaque', async () => {
      const token = await first();
      await post(`${world.issuer}/revoke`, { token }, { basic: world.web });
      expect(await refused(world.photosApi, token, {})).toMatchObject(notGood);
      const opaque = await step(world, world.photosApi, await first(), STORAGE);
      await post(`${world.issuer}/revoke`, { token: opaque }, { basic: world.photosApi });
      expect(await refused(world.storageApi, opaque, { resource: ARCHIVE })).toMatchObject(notGood);
    });

    it('after consent was withdrawn, for its ID token too', async () => {
      const { access_token, id_token } = await alices();
      await postgresAccess(world.running.database.sql).remove(world.alice, 'web', world.clock.now());
      expect(await refused(world.photosApi, access_token, {})).toMatchObject(notGood);
      expect(await refused(world.web, id_token, { subject_token_type: ID_TOKEN })).toMatchObject(notGood);
    });

    it('of a person who is disabled, who acts or for whom', async () => {
      const other = new TestBrowser(world);
      await signIn(other, await other.visit('/login'), 'bob', 'builder');
      const bob = await webTokens(world, { browser: other });
      await setUserDisabled(world.running.database.sql, world.bob, true, world.clock.now());
      expect(await refused(world.photosApi, bob.access_token, {})).toMatchObject(notGood);
      const acting = { actor_token: bob.access_token, actor_token_type: ACCESS_TOKEN };
      expect(await outcome(world.web, await first(), acting)).toBe('invalid_request, actor_token');
    });
  });

  describe('more than before', () => {
    it('a wider scope', async () => {
      const { access_token } = await alices({ resource: PHOTOS, scope: 'photos.read' });
      expect(await outcome(world.photosApi, access_token, { scope: 'storage.write' })).toBe('invalid_scope, scope');
      expect(await outcome(world.photosApi, access_token, { scope: 'storage.read storage.write' })).toBe(
        'invalid_scope, scope',
      );
      for (const scope of ['archive.read', 'photos.read', 'openid', 'offline_access', '*', 'unknown'])
        expect(await outcome(world.photosApi, access_token, { scope })).toBe('invalid_scope, scope');
      // What was not taken along cannot be had later.
      const narrow = await step(world, world.photosApi, await first(), STORAGE, { scope: 'storage.read' });
      expect(await outcome(world.storageApi, narrow, { resource: ARCHIVE, scope: 'archive.write' })).toBe(
        'invalid_scope, scope',
      );
    });

    it('a target that no policy names, whether it exists or not', async () => {
      const token = await first();
      for (const resource of [PHOTOS, 'https://nowhere.example', world.issuer, PARTNER, `${STORAGE}/`, 'storage'])
        expect(await outcome(world.photosApi, token, { resource })).toBe('invalid_target, policy');
    });

    it('scopes that are none, to write into the record what it likes', async () => {
      const scope = `archive.read ${Array.from({ length: 90 }, (_, at) => `s${at}`).join(' ')}`;
      const { row } = await refused(world.photosApi, await first(), { resource: STORAGE, scope });
      expect(row?.scope).toEqual(['archive.read', 'unknown']);
    });

    it.each<[string, Record<string, string | undefined>, RegExp]>([
      ['no type of the subject token', { subject_token_type: undefined }, /subject_token_type/],
      ['an unknown one', { subject_token_type: 'x' }, /subject_token_type/],
      ['an unknown requested_token_type', { requested_token_type: 'x' }, /requested_token_type/],
      ['no target', { resource: undefined }, /target/],
      ['an actor token without its type', { actor_token: 'x' }, /actor_token_type/],
    ])('with %s: the log says what was wrong', async (_what, fields, said) => {
      const form = { grant_type: TOKEN_EXCHANGE, subject_token: await first(), subject_token_type: ACCESS_TOKEN };
      const sent = Object.entries({ ...form, resource: STORAGE, ...fields }).flatMap(([name, value]) =>
        value === undefined ? [] : [[name, value]],
      );
      const { status } = await post(`${world.issuer}/token`, Object.fromEntries(sent), { basic: world.photosApi });
      const line = world.log.findLast((text) => text.includes('"/token"')) ?? '{}';
      expect([status, (JSON.parse(line) as { reason?: string }).reason]).toEqual([400, expect.stringMatching(said)]);
    });

    it('a target that is none, to write into the record what it likes', async () => {
      const token = await first();
      const { row } = await refused(world.photosApi, token, {
        resource: `https://x.example/\u001b[2J${'a'.repeat(5000)}`,
      });
      const { row: same } = await refused(world.photosApi, token, { resource: 'https://y.example' });
      expect([row?.target, same?.id, same?.times]).toEqual(['unknown', row?.id, 2]);
    });

    it('anything at all, for a client without a policy', async () => {
      const own = await world.client({
        client_id: 'lonely',
        grant_types: ['client_credentials', TOKEN_EXCHANGE],
        scope: 'photos.read',
      });
      const { json } = await post(`${world.issuer}/token`, { grant_type: 'client_credentials' }, { basic: own });
      expect(await outcome(own, String(json.access_token), {})).toBe('unauthorized_client, policy');
    });

    it('an access token in the place of an ID token: that we are an audience of it leads nowhere', async () => {
      await world.dropPolicy('web-from-photos');
      const { access_token, id_token } = await alices();
      expect([decodeJwt(access_token).aud].flat()).toContain(world.issuer);
      expect(await outcome(world.web, access_token, {})).toBe('invalid_target, policy');
      expect(
        (await exchange(world, world.web, id_token, { resource: STORAGE, subject_token_type: ID_TOKEN })).status,
      ).toBe(200);
      await world.policy({ name: 'web-from-photos', client: 'web', source: PHOTOS, target: STORAGE });
    });

    it('a longer life, by exchanging what one holds for itself', async () => {
      await world.policy({ name: 'again', client: 'web', source: PHOTOS, target: PHOTOS });
      const token = await first();
      world.clock.advance(200);
      const again = await step(world, world.web, token, PHOTOS);
      expect(decodeJwt(again).exp).toBeLessThanOrEqual(decodeJwt(token).exp ?? 0);
      expect(await outcome(world.web, again, { resource: PHOTOS })).toBe('invalid_request, loop');
      // Nor with an ID token, which lives longer than access tokens do.
      const { id_token } = await alices();
      world.clock.advance((decodeJwt(id_token).exp ?? 0) - world.clock.now().getTime() / 1000 - 20);
      const late = await exchange(world, world.web, id_token, { resource: STORAGE, subject_token_type: ID_TOKEN });
      expect(late.status).toBe(200);
      expect(Number(late.json.expires_in)).toBeLessThanOrEqual(20);
    });

    it('what lives on after it: refresh tokens, ID tokens', async () => {
      const token = await first();
      for (const type of ['refresh_token', 'id_token', 'saml2', 'txn_token'])
        expect(
          await refused(world.photosApi, token, { requested_token_type: `urn:ietf:params:oauth:token-type:${type}` }),
        ).toMatchObject({
          error: 'invalid_request',
        });
      const { json } = await exchange(world, world.photosApi, token, { resource: STORAGE });
      expect(json).not.toHaveProperty('refresh_token');
      expect(json).not.toHaveProperty('id_token');
    });

    it('authorization details, which were allowed at another API', async () => {
      const details = JSON.stringify([{ type: 'payment_initiation' }]);
      expect(await refused(world.photosApi, await first(), { authorization_details: details })).toMatchObject({
        error: 'invalid_authorization_details',
      });
    });
  });

  describe('a longer or rounder way', () => {
    const way = [
      ['photos', STORAGE],
      ['storage', ARCHIVE],
      ['archive', PHOTOS],
      ['photos', ARCHIVE],
      ['archive', STORAGE],
    ] as const;

    it('ends at the fifth step, whatever the policies allow', async () => {
      let token = await first();
      for (const [api, target] of way) token = await step(world, world.apis[api], token, target);
      const { hops } = (await stepsOf(world)).find(({ id }) => id === idOf(token)) ?? { hops: [] };
      expect(hops.length).toBe(5);
      const { recorded, row } = await refused(world.storageApi, token, { resource: PHOTOS });
      expect(recorded).toBe('depth');
      expect(row?.hops.map(({ client }) => client)).toEqual(way.map(([api]) => `${api}-api`));
    });

    it('ends where the policy ends it', async () => {
      await world.dropPolicy('storage-keyed-to-archive');
      await world.policy({
        name: 'storage-keyed-to-archive',
        client: 'storage-keyed',
        source: STORAGE,
        target: ARCHIVE,
        max_depth: 1,
      });
      const token = await step(world, world.photosApi, await first(), STORAGE);
      expect(await outcome(world.keyed.storage, token, { resource: ARCHIVE })).toBe('invalid_request, depth');
    });

    it('never leads the same client to the same target twice', async () => {
      let token = await first();
      for (const [api, target] of way.slice(0, 3)) token = await step(world, world.apis[api], token, target);
      expect(await outcome(world.photosApi, token, {})).toBe('invalid_request, loop');
    });
  });

  describe('somebody else’s name', () => {
    it('an actor token of another client, of another kind, or that stands for nothing', async () => {
      const token = await first();
      const own = async (party: { id: string; secret: string }) =>
        String(
          (await post(`${world.issuer}/token`, { grant_type: 'client_credentials' }, { basic: party })).json
            .access_token,
        );
      const ended = await own(world.photosApi);
      await post(`${world.issuer}/revoke`, { token: ended }, { basic: world.photosApi });
      const { id_token, access_token, refresh_token } = await alices();
      const actors: [string, string][] = [
        [await own(world.storageApi), ACCESS_TOKEN],
        [await batchToken(world), ACCESS_TOKEN],
        [access_token, ACCESS_TOKEN],
        [id_token, ID_TOKEN],
        [ended, ACCESS_TOKEN],
        [await own(world.photosApi), ID_TOKEN],
        [await own(world.photosApi), JWT],
        [refresh_token, ACCESS_TOKEN],
        ['x', ACCESS_TOKEN],
        // What was itself exchanged: its act would be a story of its own.
        [await step(world, world.photosApi, token, STORAGE), ACCESS_TOKEN],
      ];
      for (const [actor_token, actor_token_type] of actors)
        expect(await outcome(world.photosApi, token, { actor_token, actor_token_type })).toBe(
          'invalid_request, actor_token',
        );
      expect(
        (
          await exchange(world, world.photosApi, token, {
            resource: STORAGE,
            actor_token: await own(world.photosApi),
            actor_token_type: ACCESS_TOKEN,
          })
        ).status,
      ).toBe(200);
    });

    it('nothing of the story is taken from the request', async () => {
      const token = await first();
      const claims = {
        act: '{"sub":"bank"}',
        txn: 'mine',
        origin: '{"client_id":"bank"}',
        sub: world.bob,
        may_act: '{"sub":"x"}',
        client_id: undefined,
      };
      const issued = await step(
        world,
        world.photosApi,
        token,
        STORAGE,
        Object.fromEntries(Object.entries(claims).filter(([, value]) => value)) as Record<string, string>,
      );
      expect(await introspected(world, world.storageApi, issued)).toMatchObject({
        sub: world.alice,
        txn: decodeJwt(token).jti,
        origin: { client_id: 'web' },
        act: { sub: 'photos-api' },
        client_id: 'photos-api',
      });
    });
  });

  describe('a bound token', () => {
    it('is not taken from a client that only knows a secret', async () => {
      const { access_token } = await appTokens(world);
      expect(await outcome(world.photosApi, access_token, {})).toBe('invalid_request, authentication');
      const key = await proofKey();
      expect(await outcome(world.photosApi, access_token, {}, { proof: key })).toBe('invalid_request, authentication');
    });

    it('is not taken without a proof', async () => {
      const { access_token } = await appTokens(world);
      const unbound = await clientKey('ES256', 'unbound-key');
      await world.client({
        client_id: 'unbound',
        grant_types: [TOKEN_EXCHANGE],
        token_endpoint_auth_method: 'private_key_jwt',
        jwks: { keys: [unbound.jwk] },
      });
      await world.policy({ name: 'unbound', client: 'unbound', source: PHOTOS, target: STORAGE });
      await changeIntrospectors(['photos-api', 'photos-keyed', 'unbound']);
      const party = { id: 'unbound', redirectUri: '', key: unbound, proof: await proofKey() };
      expect(await outcome(party, access_token, {}, { proof: null })).toBe('invalid_request, possession');
      expect((await exchange(world, party, access_token, { resource: STORAGE })).json).toMatchObject({
        token_type: 'DPoP',
      });
    });

    it('is its holder’s only with the very key it is bound to', async () => {
      const { access_token } = await appTokens(world);
      expect(await outcome(world.app, access_token, {}, { proof: await proofKey() })).toBe(
        'invalid_request, possession',
      );
      const token = await step(world, world.app, access_token, STORAGE);
      expect(await introspected(world, world.storageApi, token)).toMatchObject({ cnf: { jkt: world.app.proof.jkt } });
    });

    it('as an actor token, too', async () => {
      const actor = await appTokens(world);
      const { access_token } = await appTokens(world);
      const acting = { actor_token: actor.access_token, actor_token_type: ACCESS_TOKEN };
      expect((await exchange(world, world.app, access_token, { resource: STORAGE, ...acting })).status).toBe(200);
      expect(await outcome(world.app, access_token, acting, { proof: await proofKey() })).toBe(
        'invalid_request, possession',
      );
    });

    async function changeIntrospectors(introspection_clients: string[]): Promise<void> {
      const { sql } = world.running.database;
      const before = await findResource(sql, PHOTOS);
      if (!before) throw new Error('no photos');
      await changeResource(sql, before, { introspection_clients }, oauth21, world.clock.now());
    }
  });

  it('a public client: it cannot be registered for it, and is refused if it tries', async () => {
    await expect(
      world.client({ client_id: 'loud', grant_types: [TOKEN_EXCHANGE], token_endpoint_auth_method: 'none' }),
    ).rejects.toThrow(/grant_types: token exchange needs a client that authenticates/);
    const fields = {
      grant_type: TOKEN_EXCHANGE,
      subject_token: await first(),
      subject_token_type: ACCESS_TOKEN,
      resource: STORAGE,
    };
    const { json } = await post(`${world.issuer}/token`, { ...fields, client_id: 'spa' });
    expect(json.error).toBe('unauthorized_client');
  });

  describe('a JWT of another domain', () => {
    const claims = (changes: Record<string, unknown> = {}) => {
      const now = Math.floor(world.clock.now().getTime() / 1000);
      return {
        iss: PARTNER,
        sub: 'carol',
        aud: world.issuer,
        jti: `jti-${Math.random()}`,
        iat: now,
        exp: now + 60,
        ...changes,
      };
    };
    const signed = (changes: Record<string, unknown> = {}, key = partner) => key.sign(claims(changes));
    const asJwt = { subject_token_type: JWT };

    it('is worth what the policy says', async () => {
      const jwt = await signed({
        txn: 'call-1',
        client_id: 'their-app',
        act: { sub: 'their-api' },
        auth_time: 1_700_000_000,
        acr: 'high',
      });
      const token = await step(world, world.photosApi, jwt, STORAGE, asJwt);
      const told = await introspected(world, world.storageApi, token);
      expect(told).toMatchObject({
        sub: `${PARTNER}|carol`,
        txn: 'call-1',
        origin: { iss: PARTNER, client_id: 'their-app', sub: 'carol', grant_type: TOKEN_EXCHANGE },
        act: { sub: 'photos-api', act: { sub: 'their-api', iss: PARTNER } },
        acr: 'high',
        auth_time: 1_700_000_000,
        scope: 'storage.read',
      });
      expect(Number(told.exp)).toBeLessThanOrEqual(decodeJwt(jwt).exp ?? 0);
      // And on from there.
      const next = await step(world, world.storageApi, token, ARCHIVE);
      expect(await introspected(world, world.archiveApi, next)).toMatchObject({
        sub: `${PARTNER}|carol`,
        txn: 'call-1',
        origin: told.origin,
        acr: 'high',
        act: { sub: 'storage-api', act: { sub: 'photos-api', act: { sub: 'their-api', iss: PARTNER } } },
      });
    });

    it('is nobody of ours, whatever it says', async () => {
      const token = await step(world, world.photosApi, await signed({ sub: world.alice }), STORAGE, asJwt);
      expect((await introspected(world, world.storageApi, token)).sub).not.toBe(world.alice);
    });

    it.each<[string, () => Promise<string>]>([
      ['another key', async () => signed({}, await clientKey('ES256', 'partner'))],
      ['another audience', () => signed({ aud: 'https://other.example' })],
      ['several audiences', () => signed({ aud: [world.issuer, 'https://other.example'] })],
      ['no end', () => signed({ exp: undefined })],
      ['its end behind it', () => signed({ iat: 1, exp: 61 })],
      ['no id', () => signed({ jti: undefined })],
      ['an unknown issuer', () => signed({ iss: 'https://unknown.example' })],
      ['our own name', () => signed({ iss: world.issuer })],
      ['the type of an access token', () => partner.sign(claims(), { typ: 'at+jwt' })],
    ])('with %s is none', async (_name, jwt) => {
      const { error, reason, recorded } = await refused(world.photosApi, await jwt(), asJwt);
      expect([error, recorded]).toEqual(['invalid_request', undefined]);
      expect(reason).toMatch(/^subject_token: /);
    });

    it('is not for a client that no policy names, nor as anything else', async () => {
      expect(await outcome(world.storageApi, await signed(), asJwt)).toBe('invalid_target, policy');
      for (const subject_token_type of [ACCESS_TOKEN, ID_TOKEN])
        expect(await refused(world.photosApi, await signed(), { subject_token_type })).toMatchObject({
          error: 'invalid_request',
        });
    });

    it('says itself who may act with it, and with which key', async () => {
      expect(await outcome(world.photosApi, await signed({ may_act: { sub: 'photos-api' } }), asJwt)).toBe(
        'invalid_request, may_act',
      );
      const ours = { may_act: { sub: 'photos-api', iss: world.issuer } };
      expect((await exchange(world, world.photosApi, await signed(ours), { resource: STORAGE, ...asJwt })).status).toBe(
        200,
      );
      const bound = await signed({ cnf: { jkt: (await proofKey()).jkt } });
      await world.policy({ name: 'keyed-from-partner', client: 'photos-keyed', source: PARTNER, target: STORAGE });
      expect(await outcome(world.keyed.photos, bound, asJwt)).toBe('invalid_request, possession');
    });
  });

  it('equal refusals of a minute are one row, and each try is one event of the audit trail', async () => {
    const token = await first();
    const events = await auditOf(world, 'invalid_scope', async () => {
      for (let round = 0; round < 3; round += 1)
        await exchange(world, world.photosApi, token, { resource: STORAGE, scope: 'archive.read' });
    });
    const mine = events.filter(({ event }) => event === 'invalid_scope');
    expect(mine.reduce((sum, { times }) => sum + times, 0)).toBe(3);
    expect(mine[0]).toMatchObject({
      client_id: 'photos-api',
      user_id: world.alice,
      detail: { error: 'invalid_scope', reason: 'scope' },
    });
    const rows = (await stepsOf(world)).filter(
      ({ parent, refused }) => parent === decodeJwt(token).jti && refused === 'scope',
    );
    expect(rows.reduce((sum, { times }) => sum + times, 0)).toBe(3);
    expect(rows.length).toBeLessThanOrEqual(2);
  });
});

describe('may_act', () => {
  let world: ExchangeWorld;
  beforeAll(async () => {
    world = await startExchangeWorld({
      resources: { photos: { may_act: { sub: 'photos-api' } }, storage: { may_act: { sub: 'storage-api' } } },
    });
  });
  afterAll(() => world.close());

  it('goes into the tokens of its API, and lets nobody else act', async () => {
    const { access_token } = await webTokens(world);
    expect(decodeJwt(access_token).may_act).toEqual({ sub: 'photos-api' });
    for (const party of [world.keyed.photos, world.web]) {
      const { json } = await exchange(world, party, access_token, { resource: STORAGE });
      expect(json.error).toBe('invalid_request');
      expect((await stepsOf(world)).at(-1)).toMatchObject({ client_id: party.id, refused: 'may_act', source: PHOTOS });
    }
    const token = await step(world, world.photosApi, access_token, STORAGE);
    // Of an opaque one too, at every depth.
    expect(await introspected(world, world.storageApi, token)).toMatchObject({ may_act: { sub: 'storage-api' } });
    expect((await exchange(world, world.keyed.storage, token, { resource: ARCHIVE })).json.error).toBe(
      'invalid_request',
    );
    expect((await exchange(world, world.storageApi, token, { resource: ARCHIVE })).status).toBe(200);
  });
});

/** The id in an opaque token: the part before its secret. */
function idOf(token: string): string {
  const hex = Buffer.from(token.slice('gate_ex_'.length), 'base64url').subarray(0, 16).toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
