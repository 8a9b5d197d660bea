/**
 * How PostgreSQL answers the hot statements (hot-statements.ts), under the generic plans our connections ask for: by index,
 * and in the partitions that the ids name.
 */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresDeliveries } from '../../src/features/backchannel-logout/deliveries.pg.ts';
import type { Sql } from '../../src/postgres/database.ts';
import { postgresLedger } from '../../src/postgres/ledger.pg.ts';
import { mintCredential } from '../../src/protocol/secrets.ts';
import { statementsPage, withoutPlans } from '../../tools/statements.ts';
import { type Explained, Explainer, nodesOf, type Plan, tableOf } from './explaining.ts';
import { type Caller, fill, type HotStatement, hotStatements, partitionsOf } from './hot-statements.ts';
import { DAY, HOUR, openStore, type Store } from './store.ts';

let store: Store;
let explainer: Explainer;
let callers: readonly Caller[];
beforeAll(async () => {
  store = await openStore();
  callers = await fill(store);
  explainer = await Explainer.open(store.url);
});
afterAll(async () => {
  await explainer.close();
  await store.close();
});

interface Scan extends Plan {
  readonly 'Relation Name': string;
}

/** Where rows are read from a table. What a bitmap's heap scan reads is found by the index scan in it. */
function scansIn(plan: Plan): Scan[] {
  return nodesOf(plan).filter((node): node is Scan => node['Node Type'].endsWith('Scan') && 'Relation Name' in node);
}

/** What is wrong with a plan; nothing, mostly. */
function faultsOf({ plan }: Explained, statement: HotStatement, those: readonly Caller[]): string[] {
  const faults: string[] = [];
  for (const node of nodesOf(plan)) {
    const type = node['Node Type'];
    if (/^(Hash|Merge) Join$/.test(type)) faults.push(`a ${type}`);
    // An index that is read from end to end is a table that is read whole.
    if (/^(Bitmap )?Index (Only )?Scan$/.test(type) && node['Index Cond'] === undefined && !isWhole(node, statement))
      faults.push(`${type} of all ${node['Relation Name']}`);
  }
  for (const scan of scansIn(plan)) {
    const relation = scan['Relation Name'];
    const table = tableOf(relation);
    if (!statement.tables.includes(table)) faults.push(`${table} is none of its tables`);
    if (!/^(Index|Index Only|Bitmap Heap) Scan$/.test(scan['Node Type']) && !isWhole(scan, statement))
      faults.push(`${scan['Node Type']} of ${relation}`);
    const partitions = partitionsOf(table, those);
    if (partitions && !statement.several?.[table] && scan['Actual Loops'] > 0 && !partitions.has(relation))
      faults.push(`${relation} is scanned, which holds nothing of what was asked for`);
  }
  return faults;
}

function isWhole(node: Plan, { whole = {} }: HotStatement): boolean {
  return node['Relation Name'] !== undefined && Object.hasOwn(whole, node['Relation Name']);
}

/** What a statement's store sends when all of these call at once. */
function explained({ of }: HotStatement, those: readonly Caller[]): Promise<Explained[]> {
  return explainer.explain((database) => {
    const call = of(database);
    return Promise.all(those.map(call));
  });
}

/** Statements that several callers share. */
const TOGETHER = [
  /^a (session|code|refresh token|pushed request) is found$/,
  /^a JWT is confirmed$/,
  /^an opaque access token is (found$|stored)/,
  /^a proof or an assertion is used up/,
  /^a request is pushed/,
  /^a code is issued (at once|for a pushed request)$/,
  /^a code is redeemed for/,
  /^a refresh token (is rotated|that stays is used) for/,
];

describe('plans of the hot statements', () => {
  describe.each(hotStatements.map((statement) => [statement.name, statement] as const))('%s', (_name, statement) => {
    it('by index, in the partitions its ids name', async () => {
      const [first] = callers;
      if (!first) throw new Error('nobody calls');
      const alone = await explained(statement, [first]);
      expect(alone.length).toBeGreaterThan(0);
      const seen = new Set(alone.flatMap(({ plan }) => scansIn(plan)).map((scan) => tableOf(scan['Relation Name'])));
      // Not more, and not less: or the list tells of what is no longer so.
      expect([...seen].toSorted()).toEqual([...new Set(statement.tables)].toSorted());
      const faults = alone.flatMap((one) => faultsOf(one, statement, [first]));
      expect([...new Set(faults)], shown(alone)).toEqual([]);
    });

    it('and so for several at once, of two moments', async () => {
      const together = await explained(statement, callers);
      const faults = together.flatMap((one) => faultsOf(one, statement, callers));
      expect([...new Set(faults)], shown(together)).toEqual([]);
    });
  });

  const shown = (those: readonly Explained[]) => those.map((one) => `${one.text}\n${one.shown}`).join('\n\n');

  it('what comes at once travels in one statement', async () => {
    for (const pattern of TOGETHER) {
      const gathered = hotStatements.filter(({ name }) => pattern.test(name));
      expect(gathered, String(pattern)).not.toEqual([]);
      for (const statement of gathered) expect(await explained(statement, callers), statement.name).toHaveLength(1);
    }
  });

  it('find what is asked for: the rows are there, and are read', async () => {
    for (const statement of hotStatements.filter(({ inVain }) => !inVain)) {
      // Else all would be pruned, and nothing shown.
      const scans = (await explained(statement, callers)).flatMap(({ plan }) => scansIn(plan));
      for (const table of statement.tables) {
        const read = scans.filter((scan) => tableOf(scan['Relation Name']) === table && scan['Actual Loops'] > 0);
        expect(read.length, `${statement.name}: ${table}`).toBeGreaterThan(0);
      }
    }
  });

  it('stand in docs/statements.md, with the texts they have (npm run docs:statements)', async () => {
    const [caller] = callers;
    if (!caller) throw new Error('nobody calls');
    const page = await readFile(new URL('../../docs/statements.md', import.meta.url), 'utf8');
    expect(withoutPlans(page)).toBe(withoutPlans(await statementsPage(explainer, caller)));
  });

  it('have a name each', () => {
    expect(new Set(hotStatements.map(({ name }) => name)).size).toBe(hotStatements.length);
  });

  it('what is over is announced, and what is due is claimed, by index: each second, on each node', async () => {
    const before = store.at(-HOUR);
    const plans = await explainer.explain(async (database) => {
      await postgresDeliveries(database).announce(before);
      await postgresDeliveries(database).claim([], before, store.now);
    });
    const scans = plans.flatMap(({ plan }) => scansIn(plan));
    for (const table of ['sign_ins', 'grants', 'logout_deliveries']) {
      // Only where rows are: an empty partition may well be read whole. Some days they are in two, of which one is over.
      const filled = await store.rows(
        sql<{ name: string }>`SELECT DISTINCT tableoid::regclass::text AS name FROM ${sql.table(table)}`,
      );
      const names = new Set(filled.map(({ name }) => name));
      const types = scans.filter((scan) => names.has(scan['Relation Name'])).map((scan) => scan['Node Type']);
      expect(types.length, table).toBeGreaterThan(0);
      for (const type of types) expect(type, table).toMatch(/^(Index|Index Only|Bitmap Heap) Scan$/);
    }
  });

  it('an id of no partition costs no scan at all', async () => {
    const foreign = mintCredential('access_token', store.at(-40 * DAY), randomBytes);
    const plans = await explainer.explain((database: Sql) =>
      postgresLedger(database).findAccessToken(foreign, store.now),
    );
    const scans = plans.flatMap(({ plan }) => scansIn(plan));
    const made = scans.filter((scan) => tableOf(scan['Relation Name']) === 'access_tokens' && scan['Actual Loops'] > 0);
    expect(made).toEqual([]);
  });
});
