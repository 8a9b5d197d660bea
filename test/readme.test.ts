/** The README says what is so: its table is the schema's, its scripts and files exist. */
import { access, readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { environmentTable } from '../tools/environment-table.ts';

const read = (file: string) => readFile(new URL(`../${file}`, import.meta.url), 'utf8');

it('holds the table of environment variables as the schema has it (npm run docs:environment)', async () => {
  const [, table] =
    /<!-- environment:[^\n]*-->\n([\s\S]*?)\n<!-- \/environment -->/.exec(await read('README.md')) ?? [];
  expect(table).toBe(environmentTable());
});

it('names scripts that exist', async () => {
  const { scripts } = JSON.parse(await read('package.json'));
  const named = [...(await read('README.md')).matchAll(/npm run ([a-z:]+)/g)].map(([, name]) => name);
  expect(named.length).toBeGreaterThan(2);
  for (const name of named) expect(Object.keys(scripts)).toContain(name);
});

it.each([
  'README.md',
  'docs/architecture.md',
  'docs/operations.md',
  'docs/statements.md',
  'docs/resource-server.md',
  'docs/fapi.md',
  'docs/token-exchange.md',
  'docs/identity-chaining.md',
  'docs/openid-connect.md',
  'CONTRIBUTING.md',
])('%s links to files that exist', async (file) => {
  const folder = file.includes('/') ? 'docs/' : '';
  const links = [...(await read(file)).matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, link]) => link);
  for (const link of links)
    await expect(access(new URL(`../${folder}${link}`, import.meta.url)), link).resolves.toBeUndefined();
});
