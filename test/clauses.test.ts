/** docs/clauses.md says which tests show which clause of FAPI 2.0: generated, up to date, and without a gap. */
import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { clausePage, clauseRows, gapsIn, unknownClauses } from '../tools/clause-table.ts';

it('docs/clauses.md is what the titles of the tests say (npm run docs:clauses)', async () => {
  expect(await readFile(new URL('../docs/clauses.md', import.meta.url), 'utf8')).toBe(await clausePage());
});

it('every clause has a test, or a reason why none of ours could show it; none has both', async () => {
  const rows = await clauseRows();
  expect(gapsIn(rows).map(({ id }) => id)).toEqual([]);
  const both = rows.filter(({ clause, titles }) => clause.elsewhere !== undefined && titles.length > 0);
  expect(both.map(({ clause }) => clause.id)).toEqual([]);
});

it('no title names a clause that there is not', async () => {
  expect(await unknownClauses()).toEqual([]);
});
