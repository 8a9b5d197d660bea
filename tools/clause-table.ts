/**
 * Writes docs/clauses.md, the table from clauses of FAPI 2.0 to the tests that show them: `npm run docs:clauses`.
 *
 * A test is one of a clause when its title names it (`FAPI 2.0 SP §5.3.2.1-4`, `MS §5.3.1-2, -3`; in test/specs/fapi2-sp.test.ts
 * and its like, and in the tests of the two profiles, a bare `§5.3.2.1-4` will do), or when it is a module of the certification
 * plans that plays it.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type Clause, fapiClauses } from './fapi-clauses.ts';

const ROOT = new URL('../', import.meta.url);
const FOLDERS = ['test/specs', 'test/certification', 'test/profiles', 'test/attacks/fapi2'];

export interface Title {
  readonly file: string;
  readonly text: string;
  /** Ids of the clauses it names. */
  readonly named: readonly string[];
}

export interface ClauseRow {
  readonly clause: Clause;
  readonly titles: readonly Title[];
}

/** Every clause, with the titles of its tests, in the order of the clauses. */
export async function clauseRows(): Promise<ClauseRow[]> {
  const titles = await readTitles();
  return fapiClauses.map((clause) => ({ clause, titles: titles.filter((title) => isOf(clause, title)) }));
}

/** The clauses that no test shows, and of which nobody has said why none could. */
export function gapsIn(rows: readonly ClauseRow[]): Clause[] {
  return rows.filter(({ clause, titles }) => titles.length === 0 && !clause.elsewhere).map(({ clause }) => clause);
}

/** Clauses that titles name by a number, and that are not in the table: a test of nothing, most likely by a slip. */
export async function unknownClauses(): Promise<string[]> {
  const known = new Set(fapiClauses.map(({ id }) => id));
  const named = (await readTitles()).flatMap((title) => title.named);
  return [...new Set(named)].filter((id) => /-\d+$/.test(id) && !known.has(id));
}

/** docs/clauses.md, as it must be. */
export async function clausePage(): Promise<string> {
  const rows = (await clauseRows()).map(({ clause: { id, demand, elsewhere }, titles }) => {
    const tests = titles.map(({ file, text }) => `[${escaped(text)}](../${file})`);
    return `| ${id} | ${escaped(demand)} | ${tests.length > 0 ? tests.join('<br>') : (elsewhere ?? '')} |`;
  });
  return `# FAPI 2.0, clause by clause

Generated from the titles of the tests: \`npm run docs:clauses\`. SP is the Security Profile, MS is Message Signing; a name in
lower case with dashes is the module of the certification plans that the test plays.

| clause | demand | tests |
| --- | --- | --- |
${rows.join('\n')}
`;
}

/** Texts in quotes, on one line: titles are among them. Comments are left out: what they name is not shown by them. */
const TEXT = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`/g;

async function readTitles(): Promise<Title[]> {
  const titles: Title[] = [];
  for (const folder of FOLDERS) {
    const names = await readdir(new URL(folder, ROOT), { recursive: true }).catch(() => []);
    for (const name of names.filter((each) => each.endsWith('.ts')).sort()) {
      const file = `${folder}/${name}`;
      const source = await readFile(new URL(file, ROOT), 'utf8');
      const texts = [...source.matchAll(TEXT)].flatMap(
        ([, single, double, template]) => single ?? double ?? template ?? [],
      );
      titles.push(...[...new Set(texts)].map((text) => ({ file, text, named: namedIn(text, file) })));
    }
  }
  return titles;
}

function isOf({ id, modules = [] }: Clause, { text, named }: Title): boolean {
  const [name = ''] = text.split(':');
  return modules.some((module) => isCalled(module, name)) || named.includes(id);
}

/** Names that a test puts together have holes (`ensure-response-type-${type}-fails`); the rest of them must be telling. */
function isCalled(module: string, name: string): boolean {
  const parts = name.split(/\$\{[^}]*\}/);
  if (parts.length === 1) return module === name || module === `ensure-${name}`;
  return (
    parts.join('').length >= 12 &&
    new RegExp(`^${parts.map((part) => part.replaceAll(/[^\w-]/g, '\\$&')).join('.+')}$`).test(module)
  );
}

const NUMBER = String.raw`\d+(?:\.\d+){1,3}(?:-\d+)?`;
const MORE = String.raw`(?:(?:, | and |/)(?:§?${NUMBER}|-\d+))*`;
const NAMED = new RegExp(String.raw`\b(SP|MS)(?:-FINAL)?[ -]§?(${NUMBER}${MORE})`, 'g');
const BARE = new RegExp(`§(${NUMBER}${MORE})`, 'g');
/** Files that are about one of the two texts. */
const OWN = [
  { book: 'SP', files: /\/fapi2-(sp|security)\b/ },
  { book: 'MS', files: /\/fapi2-(ms|message-signing)\b/ },
];

/** The clauses a title names, each by its whole number: of `SP §5.3.2.1-3, -6` both. */
function namedIn(text: string, file: string): string[] {
  const lists = [...text.matchAll(NAMED)].map(([, book = '', list = '']) => ({ book, list }));
  for (const { book } of OWN.filter(({ files }) => files.test(file)))
    lists.push(...[...text.matchAll(BARE)].map(([, list = '']) => ({ book, list })));
  return lists.flatMap(({ book, list }) => {
    let section = '';
    return list.split(/, | and |\//).map((part) => {
      if (!part.startsWith('-')) [section = ''] = part.replace('§', '').split('-');
      return `${book} ${part.startsWith('-') ? section + part : part.replace('§', '')}`;
    });
  });
}

function escaped(text: string): string {
  return text.replace(/[|<>[\]_*]/g, (character) => `\\${character}`).replaceAll(/\s+/g, ' ');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await writeFile(new URL('docs/clauses.md', ROOT), await clausePage());
  for (const { id } of gapsIn(await clauseRows())) process.stderr.write(`${id}: no test names it\n`);
}
