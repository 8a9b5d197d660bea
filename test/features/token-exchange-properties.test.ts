/**
 * Whatever way a call goes, and whoever tries what on it: authority and lifetime never grow, what was bound stays bound, who acted is
 * what really happened, and where it came from never changes.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  APIS,
  type Api,
  appTokens,
  batchToken,
  type ExchangeWorld,
  exchange,
  introspected,
  startExchangeWorld,
  webTokens,
} from '../support/exchange-world.ts';

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
