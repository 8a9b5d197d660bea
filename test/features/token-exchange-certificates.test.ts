/**
 * Tokens that are bound to certificates (RFC 8705 §3), exchanged: by the API they are for, which shows a key of its own, or by their holder,
 * who shows the very certificate. Over our own TLS, with and without FAPI.
 */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { drawTrees } from '../../src/cli/call-drawing.ts';
import { growTrees } from '../../src/operator/call-tree.ts';
import { findCalls, readClue } from '../../src/operator/calls.ts';
import { changeResource } from '../../src/operator/resources.ts';
import { findResource } from '../../src/postgres/resources.pg.ts';
import { TOKEN_EXCHANGE } from '../../src/protocol/exchanges.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { caughtUp } from '../support/attack-aftermath.ts';
import type { CertificateOptions } from '../support/certificate.ts';
import { ACCESS_TOKEN, ARCHIVE } from '../support/exchange-world.ts';
import {
  boundTo,
  exchangeAs,
  type FapiExchange,
  firstToken,
  type Party,
  reasonOf,
  startFapiExchange,
  stepAs,
  tokenOf,
  told,
  WAY_NAMES,
  WAYS,
} from '../support/fapi-exchange.ts';
import { send } from '../support/fapi-requests.ts';
import { exchangePolicy } from '../support/trust-world.ts';
import { PHOTOS, STORAGE } from '../support/world.ts';

describe.each(['oauth21', 'fapi2-security'] as const)('under %s', (profile) => {
  let world: FapiExchange;
  let app: Party;
  /** Bound to the app's certificate. */
  let first: string;
  beforeAll(async () => {
    world = await startFapiExchange(profile);
    app = world.apps['cert-cert'];
    first = await firstToken(app);
  });
  afterAll(() => world.close());

  const photos = () => world.apis.photos;
  const storage = () => world.apis.storage;
  const archive = () => world.apis.archive;
  const outcome = async (party: Party, token: string, fields: object = {}, sending: object = {}) => {
    const answer = await exchangeAs(party, token, { resource: STORAGE, ...fields }, sending);
    return answer.status === 200 ? 'taken' : `${answer.json.error}, ${await reasonOf(party, answer)}`;
  };
  /** The same client with another certificate. */
  const showing = async (party: Party, name = party.client.id, options?: CertificateOptions): Promise<Party> => {
    const certificate = await world.op.issued(name, options);
    return { ...party, client: { ...party.client, certificate, fetch: world.op.fetchAs(certificate) } };
  };

  it('the first token is bound to the app’s certificate', async () => {
    expect(decodeJwt(first)).toMatchObject({ cnf: boundTo(app), client_id: 'cert-app' });
    expect(decodeJwt(first).aud).toContain(PHOTOS);
  });

  it.each(WAY_NAMES)('an API exchanges it with a key of its own: %s', async (way) => {
    const { json } = await exchangeAs(photos()[way], first, { resource: STORAGE });
    expect(json.token_type).toBe(WAYS[way].constraint === 'dpop' ? 'DPoP' : 'Bearer');
    const seen = await told(storage()[way], tokenOf({ status: 200, json } as never));
    expect(seen).toMatchObject({ active: true, client_id: `photos-${way}`, cnf: boundTo(photos()[way]) });
  });

  it('its holder exchanges it with the very certificate', async () => {
    const token = await stepAs(app, first, STORAGE);
    expect(await told(storage()['key-dpop'], token)).toMatchObject({ cnf: boundTo(app), client_id: 'cert-app' });
    // The certificate renewed: the client is the same, the key that the token is bound to is not.
    expect(await outcome(await showing(app), first)).toBe('invalid_request, possession');
  });

  it('nobody else exchanges it: no other API, no other client, with whatever key', async () => {
    for (const party of [...Object.values(archive()), ...Object.values(storage()), world.apps['key-dpop']])
      expect([party.client.id, await outcome(party, first)]).toEqual([
        party.client.id,
        'invalid_request, subject_token',
      ]);
  });

  it('a certificate of another name makes nobody of whoever shows it', async () => {
    const other = await showing(photos()['cert-cert'], 'other');
    expect((await exchangeAs(other, first, { resource: STORAGE })).json.error).toBe('invalid_client');
  });

  it('an API whose tokens are bound to its certificate has to show it', async () => {
    const party = photos()['key-cert'];
    const { status, json } = await exchangeAs(party, first, { resource: STORAGE }, { fetch: world.op.fetch });
    expect([status, json.error]).toEqual([400, 'invalid_request']);
    // A proof of another kind is none (RFC 8705 §3.4).
    const dpop = await exchangeAs(party, first, { resource: STORAGE }, { fetch: world.op.fetch, dpop: {} });
    expect([dpop.status, dpop.json.error]).toEqual([400, 'invalid_request']);
  });

  it('an API whose tokens are bound by DPoP is not bound to the certificate that it shows', async () => {
    const token = await stepAs(photos()['cert-dpop'], first, STORAGE);
    expect((await told(storage()['key-dpop'], token)).cnf).toEqual({ jkt: photos()['cert-dpop'].client.proofKey.jkt });
    const bare = await exchangeAs(photos()['cert-dpop'], first, { resource: STORAGE }, { dpop: null });
    expect([bare.status, bare.json.error]).toEqual([400, 'invalid_request']);
  });

  it('a certificate that is over proves nothing, for its holder and for an API', async () => {
    const over = async (party: Party) => showing(party, party.client.id, { days: -1 });
    const { json } = await exchangeAs(await over(app), first, { resource: STORAGE });
    expect(json.error).toBe('invalid_client');
    const byKey = await exchangeAs(await over(photos()['key-cert']), first, { resource: STORAGE });
    expect([byKey.json.error, byKey.json.error_description]).toEqual([
      'invalid_request',
      'The client certificate has expired or is not valid yet.',
    ]);
  });

  it('as an actor token it is its holder’s, with the certificate', async () => {
    const actor = { actor_token: await firstToken(app), actor_token_type: ACCESS_TOKEN };
    const { status } = await exchangeAs(app, first, { resource: STORAGE, ...actor });
    expect(status).toBe(200);
    expect(await outcome(await showing(app), first, actor)).toBe('invalid_request, possession');
    expect(await outcome(photos()['cert-cert'], first, actor)).toBe('invalid_request, actor_token');
    // One token bound to a certificate and one to a key of the same client: one request proves one of them.
    const both = { actor_token: first, actor_token_type: ACCESS_TOKEN };
    const other = world.apps['key-dpop'];
    expect(await outcome(other, await firstToken(other), both)).toBe('invalid_request, actor_token');
  });

  describe('a chain with each kind of token', () => {
    interface Chain {
      readonly tokens: readonly [first: string, one: string, two: string, three: string];
      readonly owners: readonly [Party, Party, Party, Party];
      readonly readers: readonly [Party, Party, Party, Party];
    }
    /**
     *   app ─▶ photos ─▶ storage ─▶ archive ─▶ photos
     *      certificate  DPoP       certificate  DPoP
     *      JWT          opaque     JWT          JWT
     */
    async function begin(): Promise<Chain> {
      const start = await firstToken(app);
      const one = await stepAs(photos()['key-dpop'], start, STORAGE);
      const two = await stepAs(storage()['cert-cert'], one, ARCHIVE);
      const three = await stepAs(archive()['cert-dpop'], two, PHOTOS);
      return {
        tokens: [start, one, two, three],
        owners: [app, photos()['key-dpop'], storage()['cert-cert'], archive()['cert-dpop']],
        readers: [photos()['cert-cert'], storage()['key-dpop'], archive()['key-cert'], photos()['key-dpop']],
      };
    }
    const NAMES = ['first', 'one', 'two', 'three'] as const;
    async function standing({ tokens, readers }: Chain): Promise<string[]> {
      const found: string[] = [];
      for (const [index, name] of NAMES.entries()) {
        const seen = await told(readers[index] as Party, tokens[index] as string);
        if (seen.active) found.push(name);
        else expect(seen).toEqual({ active: false });
      }
      return found;
    }

    it('tells one story, each token bound to the key of who has it', async () => {
      const { tokens, owners, readers } = await begin();
      expect(tokens.map((token) => token.startsWith('gate_ex_'))).toEqual([false, true, false, false]);
      const seen = await Promise.all(tokens.map((token, index) => told(readers[index] as Party, token)));
      expect(seen.map(({ cnf }) => cnf)).toEqual(owners.map(boundTo));
      expect(seen.map(({ token_type }) => token_type)).toEqual(['Bearer', 'DPoP', 'Bearer', 'DPoP']);
      const [start, , , last] = seen;
      for (const told of seen) expect(told).toMatchObject({ txn: start?.jti, sub: start?.sub });
      expect(last).toMatchObject({
        origin: { client_id: 'cert-app', sub: start?.sub, jti: start?.jti, grant_type: 'authorization_code' },
        act: {
          sub: 'archive-cert-dpop',
          act: { sub: 'storage-cert-cert', act: { sub: 'photos-key-dpop' } },
        },
      });
      const { sql } = world.op.server.running.database;
      const now = world.op.server.clock.now();
      const drawn = drawTrees(growTrees(await findCalls(await readClue(tokens[2], sql, now), sql, now), now));
      expect(drawn.match(/bound to a (DPoP key|certificate)/g)).toEqual([
        'bound to a DPoP key',
        'bound to a certificate',
        'bound to a DPoP key',
      ]);
      const ends = seen.map(({ exp }) => Number(exp));
      expect(ends).toEqual([...ends].sort((a, b) => b - a));
    });

    it.each(NAMES.map((name, index) => [name, index] as const))(
      'the token %s, revoked, ends all that came of it',
      async (_name, at) => {
        const chain = await begin();
        const other = await begin();
        expect(await standing(chain)).toEqual(NAMES);
        // Not by who has it from somebody else.
        const thief = chain.readers[at] as Party;
        await send(thief, 'revocation_endpoint', { token: chain.tokens[at] as string });
        expect(await standing(chain)).toEqual(NAMES);
        const { status } = await send(chain.owners[at] as Party, 'revocation_endpoint', {
          token: chain.tokens[at] as string,
        });
        expect(status).toBe(200);
        expect(await standing(chain)).toEqual(NAMES.slice(0, at));
        expect(await standing(other)).toEqual(NAMES);
        // Nothing more is to be had with what has ended, by those whose it was to exchange.
        const next = [
          [photos()['cert-cert'], STORAGE],
          [storage()['cert-cert'], ARCHIVE],
          [archive()['cert-cert'], PHOTOS],
        ] as const;
        for (const [index, [party, resource]] of next.entries()) {
          const expected = index < at ? 'taken' : 'invalid_request, subject_token';
          expect([index, await outcome(party, chain.tokens[index] as string, { resource })]).toEqual([index, expected]);
        }
      },
    );

    it('the certificate, shown by another party of the chain, is no way to another token', async () => {
      const { tokens } = await begin();
      const { certificate } = storage()['cert-cert'].client;
      const posing = {
        ...archive()['key-cert'],
        client: { ...archive()['key-cert'].client, certificate, fetch: world.op.fetchAs(certificate) },
      };
      // An API that shows a certificate is bound to it, whose ever it is: it is the API’s affair whose key it uses.
      expect(await outcome(posing, tokens[1])).toBe('invalid_request, subject_token');
    });
  });
});

describe('under oauth21, an API that is held to nothing stricter', () => {
  let world: FapiExchange;
  let first: string;
  let secret: string;
  /** Authenticates with a certificate, and never asked for tokens that are bound to it. */
  let plain: Party;
  beforeAll(async () => {
    world = await startFapiExchange('oauth21');
    const { server } = world.op;
    const { sql } = server.running.database;
    first = await firstToken(world.apps['cert-cert']);
    plain = await world.party('plain', 'cert-cert', { tls_client_certificate_bound_access_tokens: undefined });
    secret = (
      await server.client({
        client_id: 'secret',
        grant_types: [TOKEN_EXCHANGE],
        token_endpoint_auth_method: 'client_secret_post',
      })
    ).secret;
    const scopes = { 'photos.read': ['storage.read'] };
    for (const id of ['secret', 'plain'])
      await exchangePolicy(server, { name: id, client: id, source: PHOTOS, target: STORAGE, scopes });
    const before = await findResource(sql, PHOTOS);
    if (!before) throw new Error('no photos');
    const introspection_clients = [...before.introspection_clients, 'secret', 'plain'];
    await changeResource(sql, before, { introspection_clients }, oauth21, server.clock.now());
    await caughtUp();
  });
  afterAll(() => world.close());

  it('with a secret gets nothing for a bound token, whatever else it shows', async () => {
    const authentication = { client_id: 'secret', client_secret: secret };
    const { certificate } = plain.client;
    for (const sending of [
      {},
      { dpop: {} },
      { fetch: world.op.fetchAs(certificate) },
      { fetch: world.op.fetchAs(world.apps['cert-cert'].client.certificate) },
    ]) {
      const refused = await exchangeAs(plain, first, { resource: STORAGE }, { authentication, ...sending });
      expect([refused.json.error, await reasonOf(plain, refused)]).toEqual(['invalid_request', 'authentication']);
    }
  });

  it('with a certificate gets nothing that is not bound: it registers for bound tokens, or proves another key', async () => {
    const refused = await exchangeAs(plain, first, { resource: STORAGE });
    expect([refused.json.error, await reasonOf(plain, refused)]).toEqual(['invalid_request', 'possession']);
    const answer = await exchangeAs(plain, first, { resource: STORAGE }, { dpop: {} });
    expect(answer.json.token_type).toBe('DPoP');
  });
});
