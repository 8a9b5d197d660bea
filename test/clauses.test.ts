/** docs/clauses.md says which tests show which clause of FAPI 2.0: generated, up to date, and without a gap. */
import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { clausePage } from '../tools/clause-table.ts';

it('docs/clauses.md is what the titles of the tests say (npm run docs:clauses)', async () => {
  expect(await readFile(new URL('../docs/clauses.md', import.meta.url), 'utf8')).toBe(await clausePage());
});
