/**
 * What ends a call: whatever any of its tokens came from, at whichever point, ends all that came of it, and nothing before it.
 *
 *   alice ─▶ web ─▶ photos ─▶ storage ─▶ archive ─▶ photos
 *               first (JWT)   one (opaque) two (JWT)   three (JWT)
 */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresAccess } from '../../src/features/account/access.pg.ts';
import { listSteps } from '../../src/postgres/calls.pg.ts';
import { deleteClient, findClientRecord, setClientDisabled, updateClient } from '../../src/postgres/clients.pg.ts';
import type { Sql } from '../../src/postgres/database.ts';
import { findExchangePolicy, updateExchangePolicy } from '../../src/postgres/exchange-policies.pg.ts';
import { revokeGrant } from '../../src/postgres/ledger.pg.ts';
import { setPassword, setUserDisabled } from '../../src/postgres/people.pg.ts';
import type { ExchangePolicyMetadata } from '../../src/protocol/exchange-policy.ts';
import { caughtUp } from '../support/attack-aftermath.ts';
import { formTo, post, signIn, TestBrowser } from '../support/browser.ts';
import {
  ACCESS_TOKEN,
  ARCHIVE,
  type ExchangeWorld,
  exchange,
  introspected,
  startExchangeWorld,
  step,
  type Tokens,
  webTokens,
} from '../support/exchange-world.ts';
import { type FlowOptions, PHOTOS, STORAGE } from '../support/world.ts';

interface Chain {
  readonly tokens: Tokens & { readonly browser: TestBrowser };
  readonly first: string;
  readonly one: string;
  readonly two: string;
  readonly three: string;
}

describe('what ends a call', () => {
  let world: ExchangeWorld;
  let node: Awaited<ReturnType<ExchangeWorld['secondNode']>>;
  let sql: Sql;
  beforeAll(async () => {
    world = await startExchangeWorld();
    node = await world.secondNode();
    sql = world.running.database.sql;
  });
  afterAll(async () => {
    await node.close();
    await world.close();
  });

  async function begin(options: FlowOptions = {}): Promise<Chain> {
    const tokens = await webTokens(world, options);
    const first = tokens.access_token;
    const one = await step(world, world.photosApi, first, STORAGE);
    const two = await step(world, world.storageApi, one, ARCHIVE);
    const three = await step(world, world.archiveApi, two, PHOTOS);
    return { tokens, first, one, two, three };
  }

  /** What stands, as the APIs' twins are told: they are in nobody's chain. Asked at both nodes. */
  async function standing({ first, one, two, three }: Chain): Promise<string[]> {
    const { photos, storage, archive } = world.keyed;
    const asked = [
      ['first', photos, first],
      ['one', storage, one],
      ['two', archive, two],
      ['three', photos, three],
    ] as const;
    const found: string[] = [];
    for (const [name, api, token] of asked) {
      const told = [await introspected(world, api, token), await introspected(world, api, token, node.running.address)];
      expect(told[0]).toEqual(told[1]);
      if (told[0]?.active) found.push(name);
      else expect(told[0]).toEqual({ active: false });
    }
    // Operators are told the same.
    const steps = await listSteps(sql, String(decodeJwt(first).jti), now(), 10);
    const shown = steps.filter(({ refused }) => refused === undefined).map(({ state }) => state === 'stands');
    expect(shown).toEqual(['one', 'two', 'three'].map((name) => found.includes(name)));
    return found;
  }

  /** Nothing more is to be had with what has ended. */
  async function expectNoMore(chain: Chain, alive: readonly string[]): Promise<void> {
    const next = [
      ['first', world.keyed.photos, chain.first, STORAGE],
      ['one', world.keyed.storage, chain.one, ARCHIVE],
      ['two', world.keyed.archive, chain.two, PHOTOS],
    ] as const;
    for (const [name, party, token, target] of next.filter(([of]) => !alive.includes(of))) {
      const { json } = await exchange(world, party, token, { resource: target });
      expect([name, json.error]).toEqual([name, 'invalid_request']);
    }
  }

  const revokedBy =
    (client: 'web' | 'photosApi' | 'storageApi' | 'archiveApi', which: (chain: Chain) => string) =>
    async (chain: Chain) => {
      const { status } = await post(`${world.issuer}/revoke`, { token: which(chain) }, { basic: world[client] });
      expect(status).toBe(200);
    };
  const now = () => world.clock.now();
  const disabled = (id: string) => async () => {
    await setClientDisabled(sql, id, true, now());
  };

  const READ_AND_WRITE = { 'storage.read': ['archive.read'], 'storage.write': ['archive.write'] };
  /** An operator's change of a policy, once both nodes have heard of it. */
  async function updated(name: string, change: Partial<ExchangePolicyMetadata>): Promise<void> {
    const before = await findExchangePolicy(sql, name);
    if (!before) throw new Error(`no policy ${name}`);
    await updateExchangePolicy(sql, { ...before, ...change }, now());
    await caughtUp();
  }
  async function webScope(scope: string): Promise<void> {
    const record = await findClientRecord(sql, 'web');
    if (!record) throw new Error('no client web');
    await updateClient(sql, 'web', { ...record.metadata, scope }, new Set(), now());
    await caughtUp();
  }

  const ALL = ['first', 'one', 'two', 'three'];
  const ENDINGS: [
    what: string,
    end: (chain: Chain) => Promise<unknown>,
    left: string[],
    mend?: () => Promise<unknown>,
  ][] = [
    ['nothing at all', async () => undefined, ALL],
    ['the first token, revoked', revokedBy('web', ({ first }) => first), []],
    ['an opaque token in the middle, revoked', revokedBy('photosApi', ({ one }) => one), ['first']],
    ['a signed token in the middle, revoked', revokedBy('storageApi', ({ two }) => two), ['first', 'one']],
    ['the last token, revoked', revokedBy('archiveApi', ({ three }) => three), ['first', 'one', 'two']],
    [
      'somebody else’s wish to revoke one',
      (chain) => post(`${world.issuer}/revoke`, { token: chain.one }, { basic: world.web }),
      ALL,
    ],
    ['the refresh token, revoked', revokedBy('web', ({ tokens }) => tokens.refresh_token), []],
    [
      'the grant, ended by an operator',
      async ({ first }) => {
        const { grant_id } = JSON.parse(Buffer.from(first.split('.')[1] ?? '', 'base64url').toString());
        await revokeGrant(sql, grant_id, 'test', now());
      },
      [],
    ],
    ['consent, withdrawn', () => postgresAccess(sql).remove(world.alice, 'web', now()), []],
    [
      'a sign-out',
      async ({ tokens: { browser } }) => browser.submit(formTo(await browser.visit('/logout'), '/logout')),
      [],
    ],
    [
      'another password',
      async () => setPassword(sql, world.alice, await world.running.passwords.hash('wonderland'), now()),
      [],
    ],
    [
      'the person, disabled',
      () => setUserDisabled(sql, world.alice, true, now()),
      [],
      () => setUserDisabled(sql, world.alice, false, now()),
    ],
    ...(
      [
        ['web', []],
        ['photos-api', ['first']],
        ['storage-api', ['first', 'one']],
        ['archive-api', ['first', 'one', 'two']],
      ] as const
    ).map(([id, left]): (typeof ENDINGS)[number] => [
      `the client ${id}, disabled`,
      disabled(id),
      [...left],
      async () => {
        await setClientDisabled(sql, id, false, now());
        await caughtUp();
      },
    ]),
    [
      'a policy in the middle, removed',
      async () => {
        await world.dropPolicy('storage-api-to-archive');
        await caughtUp();
      },
      ['first', 'one'],
      async () => {
        await world.policy({ name: 'storage-api-to-archive', client: 'storage-api', source: STORAGE, target: ARCHIVE });
        await caughtUp();
      },
    ],
    [
      'a policy in the middle, removed and made again',
      async () => {
        await world.dropPolicy('storage-api-to-archive');
        await world.policy({ name: 'storage-api-to-archive', client: 'storage-api', source: STORAGE, target: ARCHIVE });
        await caughtUp();
      },
      ['first', 'one'],
    ],
    [
      'a policy in the middle, changed, which gives the same still',
      () => updated('storage-api-to-archive', { lifetime: 100 }),
      ALL,
    ],
    [
      'a policy in the middle, which gives nothing of it any more',
      () => updated('storage-api-to-archive', { scopes: { 'storage.read': ['archive.other'] } }),
      ['first', 'one'],
      () => updated('storage-api-to-archive', { scopes: READ_AND_WRITE }),
    ],
    [
      'a policy in the middle, which asks for what nobody had',
      () => updated('storage-api-to-archive', { scopes: { 'storage.admin': ['archive.read', 'archive.write'] } }),
      ['first', 'one'],
      () => updated('storage-api-to-archive', { scopes: READ_AND_WRITE }),
    ],
    [
      'the scopes of the first client, taken away',
      () => webScope('openid'),
      ['first'],
      () => webScope('openid profile email offline_access photos.read photos.write'),
    ],
  ];

  it.each(ENDINGS)('%s', async (what, end, left, mend) => {
    const chain = await begin();
    const other = await begin();
    expect(await standing(chain)).toEqual(ALL);
    await end(chain);
    expect(await standing(chain)).toEqual(left);
    await expectNoMore(chain, left);
    await mend?.();
    // What ends one token or its grant ends no other call.
    if (what.includes('revoked') || what.includes('operator')) expect(await standing(other)).toEqual(ALL);
  });

  it('what is taken from the middle is taken from all that follows, and nothing else', async () => {
    const { three } = await begin();
    const scope = async () => (await introspected(world, world.keyed.photos, three)).scope;
    expect(await scope()).toBe('photos.read photos.write');
    await updated('storage-api-to-archive', { scopes: { 'storage.read': ['archive.read'] } });
    expect(await scope()).toBe('photos.read');
    await updated('storage-api-to-archive', { scopes: READ_AND_WRITE });
    expect(await scope()).toBe('photos.read photos.write');
  });

  it('a call that may go on without the person goes on after a sign-out', async () => {
    const scope = 'openid offline_access photos.read photos.write';
    const chain = await begin({ scope });
    const { browser } = chain.tokens;
    await browser.submit(formTo(await browser.visit('/logout'), '/logout'));
    expect(await standing(chain)).toEqual(ALL);
  });

  it('whoever acts: disabled, signed out, or with a token that was revoked', async () => {
    const asBob = async () => {
      const browser = new TestBrowser(world);
      await signIn(browser, await browser.visit('/login'), 'bob', 'builder');
      return webTokens(world, { browser });
    };
    const endings: ((actor: Awaited<ReturnType<typeof asBob>>) => Promise<unknown>)[] = [
      ({ access_token }) => post(`${world.issuer}/revoke`, { token: access_token }, { basic: world.web }),
      ({ browser }) => browser.visit('/logout').then((page) => browser.submit(formTo(page, '/logout'))),
      () => setUserDisabled(sql, world.bob, true, now()),
    ];
    for (const end of endings) {
      const { access_token: first } = await webTokens(world);
      const bob = await asBob();
      const actor = { actor_token: bob.access_token, actor_token_type: ACCESS_TOKEN };
      const one = await step(world, world.web, first, STORAGE, actor);
      const two = await step(world, world.storageApi, one, ARCHIVE);
      expect(await introspected(world, world.archiveApi, two)).toMatchObject({
        act: { sub: 'storage-api', act: { sub: world.bob, client_id: 'web' } },
      });
      await end(bob);
      expect(await introspected(world, world.storageApi, one)).toEqual({ active: false });
      expect(await introspected(world, world.archiveApi, two)).toEqual({ active: false });
      expect(await introspected(world, world.photosApi, first)).toMatchObject({ active: true });
    }
  });

  it('a client in the middle, deleted', async () => {
    const chain = await begin();
    await deleteClient(sql, 'storage-api', now());
    expect(await standing(chain)).toEqual(['first', 'one']);
  });
});
