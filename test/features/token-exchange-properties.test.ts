/**
 * Whatever way a call goes, and whoever tries what on it: authority and lifetime never grow, what was bound stays bound, who acted is
 * what really happened, and where it came from never changes.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setClientDisabled } from '../../src/postgres/clients.pg.ts';
import { caughtUp } from '../support/attack-aftermath.ts';
import { post, signIn, TestBrowser } from '../support/browser.ts';
import {
  ACCESS_TOKEN,
  APIS,
  type Api,
  appTokens,
  batchToken,
  type ExchangeWorld,
  exchange,
  introspected,
  type Party,
  startExchangeWorld,
  webTokens,
} from '../support/exchange-world.ts';
import { sendAs } from '../support/fapi-world.ts';

const API = fc.constantFrom<Api>('photos', 'storage', 'archive');
const VERBS = fc.constantFrom<readonly string[] | undefined>(undefined, ['read'], ['write'], ['read', 'write']);

/** One try to go on with the token that the last good one gave. */
interface Try {
  /** Whose client asks: mostly the API that has the token. */
  readonly by: Api | 'whoever has it';
  readonly keyed: boolean;
  readonly to: Api;
  readonly verbs: readonly string[] | undefined;
  /** Seconds that go by before. */
  readonly wait: number;
}
const TRY: fc.Arbitrary<Try> = fc.record({
  by: fc.oneof({ weight: 6, arbitrary: fc.constant('whoever has it' as const) }, { weight: 1, arbitrary: API }),
  keyed: fc.boolean(),
  to: API,
  verbs: fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 2, arbitrary: VERBS }),
  wait: fc.integer({ min: 0, max: 20 }),
});

describe('random calls', () => {
  let world: ExchangeWorld;
  beforeAll(async () => {
    world = await startExchangeWorld();
    // One way is shorter, and one narrower than the others.
    await world.dropPolicy('storage-api-to-archive');
    await world.policy({
      name: 'storage-api-to-archive',
      client: 'storage-api',
      source: APIS.storage,
      target: APIS.archive,
      lifetime: 90,
      scopes: { 'storage.read': ['archive.read'] },
    });
    await world.dropPolicy('archive-keyed-to-photos');
    await world.policy({
      name: 'archive-keyed-to-photos',
      client: 'archive-keyed',
      source: APIS.archive,
      target: APIS.photos,
      max_depth: 3,
    });
  });
  afterAll(() => world.close());

  const FIRST: Record<'person' | 'job' | 'bound', () => Promise<string>> = {
    person: async () => (await webTokens(world)).access_token,
    job: () => batchToken(world),
    bound: async () => (await appTokens(world)).access_token,
  };
  const verbsOf = (told: Record<string, unknown>) =>
    String(told.scope ?? '')
      .split(' ')
      .flatMap((token) => token.split('.')[1] ?? []);

  it('never gain anything on their way', async () => {
    let [good, refused] = [0, 0];
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom<keyof typeof FIRST>('person', 'job', 'bound'),
        fc.array(TRY, { minLength: 4, maxLength: 9 }),
        async (begin, tries) => {
          let token = await FIRST[begin]();
          let at: Api = 'photos';
          let told = await introspected(world, world.apis.photos, token);
          const first = told;
          const path: { client: string; target: string }[] = [];
          for (const { by, keyed, to, verbs, wait } of tries) {
            world.clock.advance(wait);
            const asking = by === 'whoever has it' ? at : by;
            const party = keyed ? world.keyed[asking] : world.apis[asking];
            const answer = await exchange(world, party, token, {
              resource: APIS[to],
              ...(verbs && { scope: verbs.map((verb) => `${to}.${verb}`).join(' ') }),
            });
            const before = told;
            const possible =
              asking === at &&
              to !== at &&
              (keyed || before.cnf === undefined) &&
              path.length < (party.id === 'archive-keyed' && to === 'photos' ? 3 : 5) &&
              !path.some(({ client, target }) => client === party.id && target === APIS[to]) &&
              (verbs ?? ['read']).every((verb) => verbsOf(before).includes(verb) || verbs === undefined);
            if (answer.status !== 200) {
              refused += 1;
              expect(answer.json).not.toHaveProperty('access_token');
              // A token of ten seconds may have run out; nothing else refuses what is possible but the narrow way.
              const narrow = party.id === 'storage-api' && to === 'archive';
              const over = Number(before.exp) * 1000 <= world.clock.now().getTime();
              if (possible && !over) expect([narrow, answer.json.error]).toEqual([true, 'invalid_scope']);
              continue;
            }
            good += 1;
            expect(possible).toBe(true);
            token = String(answer.json.access_token);
            at = to;
            path.push({ client: party.id, target: APIS[to] });
            told = await introspected(world, world.apis[at], token);

            expect(told).toMatchObject({
              active: true,
              client_id: party.id,
              aud: APIS[to],
              txn: first.jti,
              sub: first.sub,
            });
            expect(told.origin).toMatchObject({ jti: first.jti, client_id: first.client_id, iat: first.iat });
            expect(told.acr).toEqual(first.acr);
            expect(told.auth_time).toEqual(first.auth_time);
            // The act chain is the path, the latest first.
            const acted: unknown[] = [];
            for (let act = told.act as { sub: string; act?: never } | undefined; act; act = act.act)
              acted.push(act.sub);
            expect(acted).toEqual(path.map(({ client }) => client).reverse());
            for (const verb of verbsOf(told)) expect(verbsOf(before)).toContain(verb);
            if (verbs) expect(verbsOf(told).sort()).toEqual([...verbs].sort());
            expect(Number(told.exp)).toBeLessThanOrEqual(Number(before.exp));
            const most = party.id === 'storage-api' && to === 'archive' ? 90 : 300;
            expect(Number(told.exp) - Number(told.iat)).toBeLessThanOrEqual(most + 1);
            if (before.cnf || keyed) expect(told.cnf).toEqual({ jkt: world.keyed[asking].proof.jkt });
          }
        },
      ),
      { numRuns: 25 },
    );
    // Both happened, often enough for the above to mean something.
    expect(good).toBeGreaterThan(20);
    expect(refused).toBeGreaterThan(10);
  }, 120_000);
});

/** One more step, from any token that there is by now. */
interface Branch {
  readonly from: number;
  readonly keyed: boolean;
  readonly to: Api;
  /** By the web app, and in bob's name: where it starts at its own token. */
  readonly actor: boolean;
}
const BRANCH: fc.Arbitrary<Branch> = fc.record({
  from: fc.nat(6),
  keyed: fc.boolean(),
  to: API,
  actor: fc.boolean(),
});

interface Node {
  readonly token: string;
  readonly at: Api;
  readonly owner: Party;
  /** The tokens that it came from, itself among them. */
  readonly from: ReadonlySet<string>;
  readonly clients: ReadonlySet<string>;
}

describe('random trees of calls', () => {
  let world: ExchangeWorld;
  let bob: string;
  beforeAll(async () => {
    world = await startExchangeWorld();
  });
  afterAll(() => world.close());

  async function grow(branches: readonly Branch[]): Promise<Node[]> {
    const { access_token: first } = await webTokens(world);
    const nodes: Node[] = [
      { token: first, at: 'photos', owner: world.web, from: new Set([first]), clients: new Set(['web']) },
    ];
    for (const { from, keyed, to, actor } of branches) {
      const parent = nodes[from % nodes.length] as Node;
      const acting = actor && parent.token === first && to === 'storage';
      const owner = acting ? world.web : keyed ? world.keyed[parent.at] : world.apis[parent.at];
      const { status, json } = await exchange(world, owner, parent.token, {
        resource: APIS[to],
        ...(acting && { actor_token: bob, actor_token_type: ACCESS_TOKEN }),
      });
      if (status !== 200) continue;
      const token = String(json.access_token);
      nodes.push({
        token,
        at: to,
        owner,
        from: new Set([...parent.from, ...(acting ? [bob] : []), token]),
        clients: new Set([...parent.clients, owner.id]),
      });
    }
    return nodes;
  }

  async function revokedBy(owner: Party, token: string): Promise<number> {
    if ('secret' in owner) return (await post(`${world.issuer}/revoke`, { token }, { basic: owner })).status;
    return (await sendAs(world, owner, '/revoke', { token })).status;
  }

  /** Each node as the API is told that has it: by its client that is not disabled. */
  async function standing(nodes: readonly Node[], disabled?: string): Promise<boolean[]> {
    const asked = nodes.map(({ token, at }) => {
      const reader = world.apis[at].id === disabled ? world.keyed[at] : world.apis[at];
      return introspected(world, reader, token);
    });
    return (await Promise.all(asked)).map(({ active }) => active === true);
  }

  it('what ends a token ends all that came of it, and nothing else', async () => {
    let ended = 0;
    const { sql } = world.running.database;
    await fc.assert(
      fc.asyncProperty(
        fc.array(BRANCH, { minLength: 5, maxLength: 9 }),
        fc.nat(9),
        fc.constantFrom('revoked', 'disabled', 'the actor, revoked'),
        async (branches, index, how) => {
          const browser = new TestBrowser(world);
          await signIn(browser, await browser.visit('/login'), 'bob', 'builder');
          bob = (await webTokens(world, { browser })).access_token;
          const nodes = await grow(branches);
          const { token, owner } = nodes[index % nodes.length] as Node;
          expect(await standing(nodes)).toEqual(nodes.map(() => true));
          if (how === 'disabled') {
            await setClientDisabled(sql, owner.id, true, world.clock.now());
            try {
              await caughtUp();
              const expected = nodes.map(({ clients }) => !clients.has(owner.id));
              ended += expected.filter((stands) => !stands).length;
              expect(await standing(nodes, owner.id)).toEqual(expected);
            } finally {
              await setClientDisabled(sql, owner.id, false, world.clock.now());
              await caughtUp();
            }
            expect(await standing(nodes)).toEqual(nodes.map(() => true));
            return;
          }
          const gone = how === 'revoked' ? token : bob;
          expect(await revokedBy(how === 'revoked' ? owner : world.web, gone)).toBe(200);
          const expected = nodes.map(({ from }) => !from.has(gone));
          ended += expected.filter((stands) => !stands).length;
          expect(await standing(nodes)).toEqual(expected);
          for (const [at, { token: over, at: api }] of nodes.entries()) {
            if (expected[at]) continue;
            const { json } = await exchange(world, world.keyed[api], over, { resource: APIS.archive });
            expect(json.error).toBe('invalid_request');
          }
        },
      ),
      { numRuns: 15 },
    );
    expect(ended).toBeGreaterThan(15);
  }, 120_000);
});
