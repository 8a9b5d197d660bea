/** Pairwise subjects and their sectors: OpenID Connect Core §8, Registration §5. */
import type { ServerResponse } from 'node:http';
import { decodeJwt } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rulesFor } from '../../src/cli/workplace.ts';
import { changeClient, registerClient } from '../../src/operator/clients.ts';
import { findClientRecord } from '../../src/postgres/clients.pg.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { createTokenVerifier } from '../../src/resource-server/index.ts';
import { authorizePath, pkce, post, responseOf, TestBrowser } from '../support/browser.ts';
import { type DocumentServer, startDocumentServer } from '../support/document-server.ts';
import { gatehouse } from '../support/gatehouse.ts';
import { TEST_KEY_ENCRYPTION_KEY } from '../support/template.ts';
import { introspect, PHOTOS, STORAGE, startWorld, type World } from '../support/world.ts';
import { relyingParty, tokensOf } from './relying-party.ts';

const SCOPE = 'openid photos.read storage.read';
const PAIRWISE = /^[\w-]{43}$/;

let world: World;
let sector: DocumentServer;
beforeAll(async () => {
  world = await startWorld({ env: { GATEHOUSE_ALLOW_LOOPBACK_FETCH: 'on' } });
  sector = await startDocumentServer();
});
afterAll(async () => {
  await world.close();
  await sector.close();
});

/** A relying party at a host, and what it and the APIs it calls come to know of alice. */
async function party(redirectUri: string, metadata: Record<string, unknown> = {}) {
  const client = await world.client({
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
    scope: SCOPE,
    subject_type: 'pairwise',
    ...metadata,
  });
  const configuration = await relyingParty(world, client, { metadata: metadata as Partial<oidc.ClientMetadata> });
  const tokens = (resource: string, options: Parameters<typeof tokensOf>[3] = {}) =>
    tokensOf(configuration, redirectUri, SCOPE, { ...options, tokenParameters: { resource } });
  return { client, configuration, redirectUri, tokens };
}
const subjectAt = async (redirectUri: string, metadata: Record<string, unknown> = {}) =>
  (await (await party(redirectUri, metadata)).tokens(PHOTOS)).tokens.claims()?.sub;

describe('a pairwise subject', () => {
  it('differs from sector to sector, and is not the public one', async () => {
    const subjects = [
      await subjectAt('https://one.example/callback'),
      await subjectAt('https://two.example/callback'),
      await subjectAt('https://one.example/callback', { subject_type: 'public' }),
    ];
    expect(new Set(subjects).size).toBe(3);
    expect(subjects[0]).toMatch(PAIRWISE);
    expect(subjects[2]).toBe(world.alice);
  });

  it('is the same for every client of a host, whatever its port and path', async () => {
    const subject = await subjectAt('https://one.example/callback');
    expect(await subjectAt('https://one.example:8443/elsewhere')).toBe(subject);
    expect(await subjectAt('https://sub.one.example/callback')).not.toBe(subject);
  });

  it('is the same for clients of different hosts that share a sector identifier', async () => {
    const uris = ['https://red.example/callback', 'https://blue.example/callback'];
    sector.serve(uris);
    const shared = { sector_identifier_uri: `${sector.origin}/sector` };
    const [red, blue] = [await subjectAt(uris[0] ?? '', shared), await subjectAt(uris[1] ?? '', shared)];
    expect(red).toBe(blue);
    expect(red).not.toBe(await subjectAt(uris[0] ?? ''));
  });

  it('differs from person to person, and comes back after each sign-in, on every node', async () => {
    const { tokens, client } = await party('https://people.example/callback');
    const subject = (await tokens(PHOTOS)).tokens.claims()?.sub;
    expect((await tokens(PHOTOS)).tokens.claims()?.sub).toBe(subject);
    expect((await tokens(PHOTOS, { who: ['bob', 'builder'] })).tokens.claims()?.sub).not.toBe(subject);
    const node = await world.node();
    try {
      const there = await relyingParty(node, client);
      const { tokens: others } = await tokensOf(there, 'https://people.example/callback', SCOPE, {
        tokenParameters: { resource: PHOTOS },
      });
      expect(others.claims()?.sub).toBe(subject);
    } finally {
      await node.close();
    }
  });

  it('is what client and API see in every answer, and the public one stands nowhere', async () => {
    const { client, configuration, tokens } = await party('https://everywhere.example/callback', {
      userinfo_signed_response_alg: 'ES256',
    });
    const { tokens: signed } = await tokens(PHOTOS);
    const subject = signed.claims()?.sub ?? '';
    const { tokens: opaque } = await tokens(STORAGE);
    const refreshed = await oidc.refreshTokenGrant(configuration, signed.refresh_token ?? '', { resource: PHOTOS });
    const userinfo = await fetch(`${world.issuer}/userinfo`, {
      headers: { authorization: `Bearer ${signed.access_token}` },
    });
    const seen: Record<string, Record<string, unknown>> = {
      'the ID token': decodeJwt(signed.id_token ?? ''),
      'the refreshed ID token': decodeJwt(refreshed.id_token ?? ''),
      'the JWT access token': decodeJwt(signed.access_token),
      'the refreshed access token': decodeJwt(refreshed.access_token),
      'signed userinfo': decodeJwt(await userinfo.text()),
      'introspection by the API of a JWT': await introspect(world, signed.access_token),
      'introspection by the API': await introspect(world, opaque.access_token, world.storageApi),
      'introspection by the client': await introspect(world, opaque.access_token, client),
      'introspection of the refresh token': await introspect(world, signed.refresh_token ?? '', client),
    };
    expect(subject).toMatch(PAIRWISE);
    for (const [where, answer] of Object.entries(seen)) {
      expect(answer.sub, where).toBe(subject);
      expect(JSON.stringify(answer), where).not.toContain(world.alice);
    }
  });

  it('is what an API of ours takes for the person, by either kind of token', async () => {
    const { tokens } = await party('https://api-user.example/callback');
    const accepted = async (resource: string, accessToken: string) => {
      const { issuer } = world;
      const token =
        resource === PHOTOS
          ? ({ kind: 'jwt' } as const)
          : ({ kind: 'introspection', clientId: world.storageApi.id, clientSecret: world.storageApi.secret } as const);
      const verdict = await createTokenVerifier({ issuer, resource, token }).verify({
        method: 'GET',
        url: '/',
        authorization: [`Bearer ${accessToken}`],
        dpop: [],
      });
      return verdict.accepted ? verdict.accessToken : undefined;
    };
    for (const resource of [PHOTOS, STORAGE]) {
      const { tokens: held } = await tokens(resource);
      expect((await accepted(resource, held.access_token))?.sub).toBe(held.claims()?.sub);
      const own = await post(
        `${world.issuer}/token`,
        { grant_type: 'client_credentials', resource },
        { basic: world.batch },
      );
      const machine = await accepted(resource, String(own.json.access_token));
      expect(machine?.sub).toBe(machine?.clientId);
    }
  });

  it('names the person in a request: id_token_hint, and the claim sub', async () => {
    const { client, redirectUri, tokens } = await party('https://hints.example/callback');
    const { tokens: held, browser } = await tokens(PHOTOS);
    const silently = async (parameters: Record<string, string>) => {
      const path = authorizePath({
        client_id: client.id,
        redirect_uri: redirectUri,
        scope: SCOPE,
        prompt: 'none',
        code_challenge: pkce().challenge,
        ...parameters,
      });
      const response = responseOf(await browser.visit(path));
      return response.get('error') ?? 'code';
    };
    const named = (sub?: string) => ({ claims: JSON.stringify({ id_token: { sub: { value: sub } } }) });
    expect(await silently({ id_token_hint: held.id_token ?? '' })).toBe('code');
    expect(await silently(named(held.claims()?.sub))).toBe('code');
    // The public one is not this client's to know, so it names nobody.
    expect(await silently(named(world.alice))).toBe('login_required');
    const { tokens: bobs } = await tokens(PHOTOS, { who: ['bob', 'builder'], browser: new TestBrowser(world) });
    expect(await silently({ id_token_hint: bobs.id_token ?? '' })).toBe('login_required');
  });

  it('can be no client’s id', async () => {
    const subject = await subjectAt('https://ids.example/callback');
    for (const taken of [subject, world.alice, world.alice.toUpperCase()]) {
      await expect(world.client({ client_id: taken, grant_types: ['client_credentials'] })).rejects.toThrow(
        /client_id: looks like the id of a user/,
      );
    }
  });
});

describe('registration', () => {
  const CALLBACK = 'https://app.example/callback';

  it.each<[string, string[]]>([
    ['two hosts', [CALLBACK, 'https://app2.example/callback']],
    ['a loopback address, where any client may be', ['http://127.0.0.1/callback']],
    ['localhost', ['http://localhost:4000/callback']],
    ['a loopback address beside a host', [CALLBACK, 'http://[::1]/callback']],
    ['a private-use scheme', ['com.example.app:/callback']],
    ['no redirect URI', []],
  ])('needs a sector identifier for pairwise subjects with %s', async (_what, redirect_uris) => {
    const metadata = {
      subject_type: 'pairwise',
      redirect_uris,
      application_type: 'native',
      grant_types: redirect_uris.length > 0 ? ['authorization_code'] : ['client_credentials'],
    };
    await expect(world.client(metadata)).rejects.toThrow('sector_identifier_uri: is required for pairwise subjects');
    sector.serve(redirect_uris);
    expect(await world.client({ ...metadata, sector_identifier_uri: `${sector.origin}/s` })).toHaveProperty('id');
  });

  it.each(['ftp://app.example/s', '/s', 'http://app.example/s', 'https://user@app.example/s'])(
    'refuses the sector identifier %s unread',
    async (uri) => {
      const asked = sector.asked.length;
      await expect(world.client({ redirect_uris: [CALLBACK], sector_identifier_uri: uri })).rejects.toMatchObject({
        code: 'invalid_client_metadata',
        message: expect.stringContaining('sector_identifier_uri: must be an https URI'),
      });
      expect(sector.asked).toHaveLength(asked);
    },
  );

  const answering = (status: number, headers: Record<string, string>, body: string | Buffer) => (to: ServerResponse) =>
    to.writeHead(status, headers).end(body);
  it.each<[string, unknown, string]>([
    ['lacks a redirect URI', [`${CALLBACK}/`, 'https://app.example'], 'does not hold all redirect_uris'],
    ['is empty', [], 'does not hold all redirect_uris'],
    ['is an object', { redirect_uris: [CALLBACK] }, 'is not a JSON array'],
    ['holds other things', [CALLBACK, 1], 'is not a JSON array'],
    ['is not JSON', answering(200, {}, `["${CALLBACK}"`), 'is not a JSON array'],
    ['is missing', answering(404, {}, JSON.stringify([CALLBACK])), 'could not be fetched (the answer was 404)'],
    ['is elsewhere', answering(302, { location: '/there' }, ''), 'could not be fetched (the answer was 302)'],
    ['has no end', answering(200, {}, Buffer.alloc(100_000, ' ')), 'could not be fetched (more than 65536 bytes)'],
    ['breaks off', (to: ServerResponse) => to.destroy(), 'could not be fetched'],
  ])('refuses a sector identifier whose document %s', async (_what, document, why) => {
    sector.serve(document);
    const metadata = { redirect_uris: [CALLBACK], sector_identifier_uri: `${sector.origin}/sector` };
    // Pairwise or not: what a client says of its sector must be so.
    for (const subject_type of ['pairwise', 'public']) {
      await expect(world.client({ ...metadata, subject_type })).rejects.toMatchObject({
        code: 'invalid_client_metadata',
        message: expect.stringContaining(`sector_identifier_uri: its document ${why}`),
      });
    }
  });

  it('fetches it through the guard: not from this machine, unless a test allows it', async () => {
    sector.serve([CALLBACK]);
    const asked = sector.asked.length;
    const { running, context } = world;
    const rules = rulesFor(running.database.sql, oauth21, running.passwords, context);
    for (const uri of [
      `${sector.origin}/s`,
      'https://127.0.0.1/s',
      'https://[::ffff:10.0.0.1]/s',
      'https://localhost/s',
    ]) {
      const metadata = { redirect_uris: [CALLBACK], sector_identifier_uri: uri };
      await expect(registerClient(running.database.sql, metadata, rules, context)).rejects.toThrow(
        /sector_identifier_uri: its document could not be fetched \((only https|the host is not a public one)/,
      );
    }
    expect(sector.asked).toHaveLength(asked);
  });

  it('is told so by the command, and may register when the document is right', async () => {
    const env = {
      DATABASE_URL: world.databaseUrl,
      GATEHOUSE_KEY_ENCRYPTION_KEY: TEST_KEY_ENCRYPTION_KEY.toString('base64url'),
      GATEHOUSE_ALLOW_LOOPBACK_FETCH: 'on',
    };
    const input = JSON.stringify({
      client_id: 'by-command',
      subject_type: 'pairwise',
      redirect_uris: [CALLBACK],
      sector_identifier_uri: `${sector.origin}/sector`,
    });
    const create = () => gatehouse(['clients', 'create', '--file', '-', '--format', 'json'], { env, input });
    sector.serve([]);
    const refused = await create();
    expect([refused.code, refused.stdout]).toEqual([1, '']);
    expect(refused.stderr).toContain('sector_identifier_uri: its document does not hold all redirect_uris');
    expect(refused.stderr.trim().split('\n')).toHaveLength(1);
    sector.serve([CALLBACK]);
    const created = await create();
    expect([created.code, JSON.parse(created.stdout)]).toEqual([0, expect.objectContaining(JSON.parse(input))]);
  });
});

describe('a change of metadata', () => {
  async function change(id: string, changes: Record<string, unknown>) {
    const { sql } = world.running.database;
    const record = await findClientRecord(sql, id);
    if (!record) throw new Error('no client');
    const rules = rulesFor(sql, oauth21, world.running.passwords, world.context);
    return changeClient(sql, record, changes, rules, world.clock.now(), true);
  }

  it.each<[string, Record<string, unknown>, Record<string, unknown>, RegExp]>([
    ['public to pairwise', {}, { subject_type: 'pairwise' }, /^subject_type: cannot be changed/],
    [
      'pairwise to public',
      { subject_type: 'pairwise' },
      { subject_type: 'public' },
      /^subject_type: cannot be changed/,
    ],
    ['pairwise to nothing', { subject_type: 'pairwise' }, { subject_type: null }, /^subject_type: cannot be changed/],
    [
      'the host to another',
      { subject_type: 'pairwise' },
      { redirect_uris: ['https://moved.example/callback'] },
      /^sector_identifier_uri: its host/,
    ],
  ])('from %s is refused: everybody would be a stranger', async (_what, metadata, changes, why) => {
    const { id } = await world.client({ redirect_uris: ['https://stays.example/callback'], ...metadata });
    await expect(change(id, changes)).rejects.toMatchObject({
      code: 'invalid_client_metadata',
      message: expect.stringMatching(why),
    });
    expect((await change(id, { client_name: 'Renamed' })).metadata).toMatchObject({ client_name: 'Renamed' });
  });

  it('may move the client, when its sector stays behind in a sector identifier', async () => {
    sector.serve(['https://before.example/callback']);
    const before = await party('https://before.example/callback', {
      sector_identifier_uri: `${sector.origin}/sector`,
    });
    const { tokens: first } = await before.tokens(PHOTOS);
    const moved = 'https://moved.example/callback';
    sector.serve([moved]);
    await change(before.client.id, { redirect_uris: [moved], sector_identifier_uri: `${sector.origin}/moved` });
    const refreshed = await oidc.refreshTokenGrant(before.configuration, first.refresh_token ?? '', {
      resource: PHOTOS,
    });
    expect(refreshed.claims()?.sub).toBe(first.claims()?.sub);
    await expect
      .poll(async () => (await introspect(world, refreshed.access_token, before.client)).sub, { timeout: 5000 })
      .toBe(first.claims()?.sub);
  });

  it('asks the sector identifier again when redirect URIs come along, and only then', async () => {
    const [one, two] = ['https://app.example/one', 'https://app.example/two'];
    sector.serve([one]);
    const { id } = await world.client({ redirect_uris: [one], sector_identifier_uri: `${sector.origin}/sector` });
    sector.serve(answerNothing);
    const asked = sector.asked.length;
    await change(id, { client_name: 'Other' });
    expect(sector.asked).toHaveLength(asked);
    await expect(change(id, { redirect_uris: [one, two] })).rejects.toThrow(/could not be fetched/);
    sector.serve([one, two]);
    expect((await change(id, { redirect_uris: [one, two] })).metadata.redirect_uris).toEqual([one, two]);
  });
});

function answerNothing(response: ServerResponse): void {
  response.destroy();
}
