/** Writes docs/statements.md, the hot statements with their plans: `npm run docs:statements`. */
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openDatabase } from '../src/postgres/database.ts';
import { migrate } from '../src/postgres/migrations.ts';
import { type Explained, Explainer } from '../test/stores/explaining.ts';
import { type Caller, fill, type HotStatement, hotStatements } from '../test/stores/hot-statements.ts';
import { storeOver } from '../test/stores/store.ts';
import { Command } from '../test/support/embedded-commands.ts';

/** docs/statements.md as it must be, with the plans of the PostgreSQL that the explainer is connected to. */
export async function statementsPage(explainer: Explainer, caller: Caller): Promise<string> {
  const sections: string[] = [];
  const shown = new Map<string, string>();
  for (const statement of hotStatements) {
    const explained = await explainer.explain((database) => statement.of(database)(caller));
    sections.push(sectionOf(statement, explained, shown));
  }
  return `# The statements on the way of a request, and their plans

Generated: \`npm run docs:statements\`, from \`test/stores/hot-statements.ts\`, which has to have every statement that a request can send.
\`test/stores/plans.test.ts\` holds all of them to this, for one call and for several that travel together: by index, no hash or merge join,
and really scanned is only the partition that holds the id, where nothing else is said here.

Plans are generic ones, of PostgreSQL 18 under the settings of our connections (\`SETTINGS\` in \`src/postgres/database.ts\`), without costs. Of partitions that
are read alike one is shown, as \`table_…\`: the plan has a line for each, and all but the one with the id are left out, when the statement begins
(\`Subplans Removed\`) or at each row (never executed).

| statement | endpoints | tables it scans |
| --- | --- | --- |
${hotStatements.map((statement) => `| [${statement.name}](#${anchorOf(statement.name)}) | ${statement.endpoints.join(' · ')} | ${statement.tables.join(', ')} |`).join('\n')}

${sections.join('\n')}`;
}

/** The page without its plans, which differ from one PostgreSQL to another. */
export function withoutPlans(page: string): string {
  return page.replaceAll(/```text\n[\s\S]*?```\n/g, '');
}

function sectionOf(
  { name, endpoints, several = {}, whole = {} }: HotStatement,
  explained: readonly Explained[],
  shown: Map<string, string>,
): string {
  const notes = [
    ...Object.entries(several).map(([table, why]) => `- More than one partition of \`${table}\`: ${why}.`),
    ...Object.entries(whole).map(([table, why]) => `- All of \`${table}\`: ${why}.`),
  ];
  const statements = explained.map(({ text, shown: plan }) => {
    const before = shown.get(text);
    if (before !== undefined) return `As in [${before}](#${anchorOf(before)}).\n`;
    shown.set(text, name);
    return `\`\`\`sql\n${dedented(text)}\n\`\`\`\n\n\`\`\`text\n${steady(plan)}\n\`\`\`\n`;
  });
  const lines = notes.length > 0 ? `\n${notes.join('\n')}\n` : '';
  return `## ${name}\n\n${endpoints.join(' · ')}\n${lines}\n${statements.join('\nThen:\n\n')}`;
}

/** As GitHub makes it. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
}

function dedented(text: string): string {
  const [first = '', ...rest] = text.trim().split('\n');
  const indents = rest.filter((line) => line.trim() !== '').map((line) => /^ */.exec(line)?.[0].length ?? 0);
  const least = indents.length > 0 ? Math.min(...indents) : 0;
  return [first, ...rest.map((line) => line.slice(least))].map((line) => line.trimEnd()).join('\n');
}

interface Branch {
  readonly line: string;
  readonly indent: number;
  readonly branches: Branch[];
}

/** A plan without what the time of day and the number of partitions change. */
function steady(plan: string): string {
  const root: Branch = { line: '', indent: -1, branches: [] };
  const path = [root];
  for (const line of plan.split('\n')) {
    const indent = /^[ >-]*/.exec(line)?.[0].length ?? 0;
    while ((path.at(-1)?.indent ?? -1) >= indent) path.pop();
    const branch = { line: anyPartition(line), indent, branches: [] };
    path.at(-1)?.branches.push(branch);
    path.push(branch);
  }
  return root.branches.map(linesOf).join('\n');
}

function anyPartition(line: string): string {
  return line
    .replaceAll(/\b([a-z_]+)_\d{9,}/g, '$1_…')
    .replaceAll(/\b([a-z]+)_\d+\b/g, '$1_…')
    .replace(/(Subplans Removed): \d+/, '$1: …');
}

/** Equal branches once. */
function linesOf({ line, branches }: Branch): string {
  return [line, ...new Set(branches.map(linesOf))].join('\n');
}

async function write(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'gatehouse-statements-'));
  const postgres = new Command(folder, { temporary: true });
  try {
    const { connectionString: url, error } = await postgres.told();
    if (url === undefined) throw new Error(error);
    const database = openDatabase({ url, poolMax: 2, prepared: true });
    const now = new Date();
    await migrate(database.sql, now);
    const [caller] = await fill(storeOver(database.sql, now));
    if (!caller) throw new Error('nobody calls');
    const explainer = await Explainer.open(url);
    await writeFile(new URL('../docs/statements.md', import.meta.url), await statementsPage(explainer, caller));
    await explainer.close();
    await database.close();
  } finally {
    await postgres.close();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await write();
