/**
 * The attacker sees request_uri values (a shoulder, a log, a browser history, FAPI 2.0 attacker A3a), has a client of their own
 * and may send browsers anywhere; or they hold a client that does what its registration forbids.
 * Stopped by: a reference is 256 random bits, of one client, for 90 seconds, good for one code; what stands beside it does
 * not count; nothing is read through it that the client did not push, authenticated.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditOf, caughtUp, query, tally } from '../support/attack-aftermath.ts';
import { expectErrorPage } from '../support/attack-pages.ts';
import { authorizePath, decide, formTo, pkce, responseOf, TestBrowser } from '../support/browser.ts';
import { follow, push, pushedPath } from '../support/dpop-world.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { getCode, SPA_REDIRECT, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

describe('pushed requests in the wrong hands', () => {
  let world: World;
  let node: TestServer;
  let thief: { id: string; secret: string };
  /** Alice's browser: signed in, everything allowed. */
  let alice: TestBrowser;
  beforeAll(async () => {
    world = await startWorld();
    const { issuer, databaseUrl, clock } = world;
    node = await startTestServer({ databaseUrl, clock, env: { GATEHOUSE_ISSUER: issuer } });
    const redirect_uris = ['https://thief.example/callback'];
    thief = await world.client({ client_id: 'thief', redirect_uris, scope: 'openid photos.read' });
    alice = (await getCode(world)).browser;
  });
  afterAll(async () => {
    await node.close();
    await world.close();
  });

  async function expectDead(path: string, browser = alice): Promise<void> {
    const before = await tally(world);
    expectErrorPage(await browser.visit(path), 400, 'invalid_request_uri');
    expect(await tally(world)).toEqual(before);
  }

  it('used twice: the second time there is a page, no redirect, no code, and an audit event', async () => {
    const { uri } = await push(world);
    expect((await follow(world, pushedPath(uri), alice)).answer?.has('code')).toBe(true);
    const trail = await auditOf(world, 'invalid_request_uri', () => expectDead(pushedPath(uri)));
    expect(trail).toContainEqual(expect.objectContaining({ event: 'invalid_request_uri', client_id: 'web' }));
  });

  it('used twice at another node', async () => {
    const { uri } = await push(world);
    await follow(world, pushedPath(uri), alice);
    const elsewhere = new TestBrowser({ issuer: node.running.address });
    expectErrorPage(await elsewhere.visit(pushedPath(uri)), 400, 'invalid_request_uri');
  });

  it('used by another client, with its own address beside it', async () => {
    const { uri } = await push(world);
    await expectDead(pushedPath(uri, thief.id));
    await expectDead(pushedPath(uri, thief.id, { redirect_uri: 'https://thief.example/callback' }));
    // Its own client is not hindered.
    expect((await follow(world, pushedPath(uri), alice)).answer?.has('code')).toBe(true);
  });

  it('used by a client that is registered just the same', async () => {
    const metadata = { redirect_uris: [WEB_REDIRECT], scope: 'openid photos.read' };
    const [owner, twin] = [await world.client(metadata), await world.client(metadata)];
    const { uri } = await push(world, { client: owner });
    await expectDead(pushedPath(uri, twin.id));
    expect((await new TestBrowser(world).visit(pushedPath(uri, owner.id))).url).toContain('/login');
  });

  it('the thief’s request for the thief’s client is one of the thief’s client', async () => {
    const fields = { redirect_uri: 'https://thief.example/callback', client_id: thief.id };
    const { uri } = await push(world, { client: thief, fields });
    await expectDead(pushedPath(uri, 'web'));
  });

  it('after its time', async () => {
    const { uri } = await push(world);
    world.clock.advance(91);
    await expectDead(pushedPath(uri));
  });

  it.each<[string, (uri: string) => string]>([
    ['a flipped character', (uri) => uri.slice(0, -2) + (uri.at(-2) === 'A' ? 'B' : 'A') + uri.slice(-1)],
    ['another secret', (uri) => uri.slice(0, -43) + 'A'.repeat(43)],
    ['cut short', (uri) => uri.slice(0, -1)],
    ['grown longer', (uri) => `${uri}A`],
    ['another prefix', (uri) => uri.replace('gate_pr_', 'gate_ac_')],
    ['the URN alone', () => 'urn:ietf:params:oauth:request_uri:'],
    ['an SQL fragment', () => "urn:ietf:params:oauth:request_uri:' OR 1=1 --"],
  ])('forged: %s', async (_what, forge) => {
    const { uri } = await push(world);
    await expectDead(pushedPath(forge(uri)));
  });

  it.each(['URN:IETF:PARAMS:OAUTH:REQUEST_URI:', 'urn:ietf:params:oauth:request_uri', 'https://evil.example/'])(
    'as another kind of address: %s',
    async (prefix) => {
      const { uri } = await push(world);
      const forged = uri.replace('urn:ietf:params:oauth:request_uri:', prefix);
      const page = await alice.visit(pushedPath(forged, 'web', { redirect_uri: WEB_REDIRECT }));
      expect(responseOf(page).get('error')).toBe('request_uri_not_supported');
    },
  );

  it('inside another push', async () => {
    const { uri } = await push(world);
    const before = await tally(world);
    const { status, json } = await push(world, { fields: { request_uri: uri } });
    expect([status, json.error]).toEqual([400, 'invalid_request']);
    expect(await tally(world)).toEqual(before);
  });

  it('what was refused left nothing behind', async () => {
    const count = async () => query(world, 'SELECT count(*) FROM pushed_requests');
    const before = await count();
    for (const fields of [{ redirect_uri: 'https://evil.example/' }, { scope: 'nothing' }, { response_type: 'token' }])
      expect((await push(world, { fields })).status).toBe(400);
    expect((await push(world, { client: { id: 'web', secret: 'guessed' } })).status).toBe(401);
    expect(await count()).toEqual(before);
  });

  it('its secret is nowhere in the database', async () => {
    const { uri } = await push(world);
    const secret = Buffer.from(uri.slice(-64), 'base64url').subarray(16).toString('hex');
    const rows = await query<{ row: string }>(world, 'SELECT p::text AS row FROM pushed_requests p');
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.filter(({ row }) => row.includes(secret) || row.includes(uri.slice(-64)))).toEqual([]);
  });

  it('begun by the attacker, it is finished in the attacker’s browser or not at all (A1)', async () => {
    const { uri } = await push(world);
    const attacker = new TestBrowser(world);
    const login = await attacker.visit(pushedPath(uri));
    // The address of the attacker's page opens nothing in alice's browser.
    expectErrorPage(await alice.visit(login.url), 400, 'invalid_request');
  });

  describe('a client whose rules became stricter', () => {
    const change = async (changes: string) => {
      await query(world, `UPDATE clients SET metadata = ${changes} WHERE id = 'web'`);
      await query(world, 'UPDATE catalogue SET version = version + 1');
      await caughtUp();
    };

    const stricter = `metadata || '{"require_pushed_authorization_requests": true}'`;
    const before = `metadata - 'require_pushed_authorization_requests'`;

    it('cannot use what it pushed before, nor plain requests', async () => {
      const plain = { client_id: 'web', redirect_uri: WEB_REDIRECT, scope: 'openid photos.read' };
      const { uri } = await push(world);
      await change(stricter);
      try {
        await expectDead(pushedPath(uri));
        const path = authorizePath({ ...plain, code_challenge: pkce().challenge });
        expect(responseOf(await alice.visit(path)).get('error')).toBe('invalid_request');
        const again = await push(world);
        expect((await follow(world, pushedPath(again.uri), alice)).answer?.has('code')).toBe(true);
      } finally {
        await change(before);
      }
    });

    it('cannot finish what it began before, pushed or not; only of what is older than digests nothing is known', async () => {
      const plain = { client_id: 'web', redirect_uri: WEB_REDIRECT, scope: 'openid photos.read', prompt: 'consent' };
      const begin = () => alice.visit(authorizePath({ ...plain, code_challenge: pkce().challenge, state: 'begun' }));
      const pushed = await push(world, { fields: { prompt: 'consent' } });
      const [open, reference, older] = [await begin(), await alice.visit(pushedPath(pushed.uri)), await begin()];
      await query(
        world,
        `UPDATE pending_authorizations SET registration = NULL WHERE id = '${formTo(older, '/consent').fields.pending}'`,
      );
      await change(stricter);
      try {
        for (const page of [open, reference]) {
          const answer = responseOf(await decide(alice, page));
          expect([answer.get('error'), answer.get('code')]).toEqual(['invalid_request', null]);
          // It is over, also when the old rules come back.
          expectErrorPage(await alice.visit(page.url), 400, 'invalid_request');
        }
        const answer = responseOf(await decide(alice, older));
        expect([answer.get('state'), answer.get('error')]).toEqual(['begun', null]);
      } finally {
        await change(before);
      }
    });

    it('is told nothing at an address that it has no more', async () => {
      const plain = { client_id: 'web', redirect_uri: WEB_REDIRECT, scope: 'openid photos.read', prompt: 'consent' };
      const page = await alice.visit(authorizePath({ ...plain, code_challenge: pkce().challenge }));
      await change(`metadata || '{"redirect_uris": ["https://web.example/other"]}'`);
      try {
        const { pending } = formTo(page, '/consent').fields;
        expectErrorPage(await alice.visit(`/authorize?pending=${pending}`), 400, 'invalid_request');
      } finally {
        await change(`metadata || '{"redirect_uris": ["${WEB_REDIRECT}"]}'`);
      }
    });
  });

  it('a public client’s push is worth no more than what it could ask for in the open', async () => {
    const client = { id: world.spa.id, secret: '' };
    const { status, json } = await push(world, { client, fields: { redirect_uri: WEB_REDIRECT } });
    expect([status, json.error]).toEqual([400, 'invalid_request']);
    expect((await push(world, { client, fields: { redirect_uri: SPA_REDIRECT } })).status).toBe(201);
  });
});
