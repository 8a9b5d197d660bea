/** The command line as scripts meet it: help, exit codes, and errors in one line that says what to do. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { createProgram } from '../../src/cli/program.ts';
import { type Ended, type GatehouseOptions, gatehouse, Workbench } from '../support/gatehouse.ts';

// Each starts processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const COMMANDS = {
  clients: ['create', 'list', 'show', 'update', 'delete', 'rotate-secret'],
  users: ['create', 'list', 'show', 'update', 'disable', 'set-password'],
  resources: ['create', 'list', 'show', 'update', 'delete'],
  keys: ['list', 'rotate', 'reencrypt'],
  grants: ['list', 'revoke'],
  sessions: ['list', 'end'],
  logouts: ['list'],
  profile: ['check'],
};
const EVERY = [
  ...['dev', 'serve', 'migrate'].map((name) => [name]),
  ...Object.entries(COMMANDS).flatMap(([group, names]) => names.map((name) => [group, name])),
];

/** Nobody listens on port 1. */
const AWAY = 'postgres://gatehouse:secret-word@127.0.0.1:1/gatehouse';

const bench = new Workbench();
let folder: string;
beforeAll(async () => {
  folder = await bench.folder();
  await writeFile(join(folder, 'broken.json'), '{ "client_name": ');
  await writeFile(join(folder, 'list.json'), '[]');
  await writeFile(join(folder, 'client.json'), '{}');
});
afterAll(() => bench.clear());

function expectOneLine({ stdout, stderr }: Ended, reason: RegExp): void {
  expect(stderr).toMatch(/^gatehouse: [^\n]+\n$/);
  expect(stderr).toMatch(reason);
  expect(stderr).not.toMatch(/secret-word|^\s+at |node_modules/m);
  expect(stdout).toBe('');
}

it.each(EVERY)('%s %s has help of its own, with the formats it prints', (...words) => {
  const names = words.filter((word) => word !== undefined);
  let command = createProgram();
  for (const name of names) command = command.commands.find((each) => each.name() === name) ?? command;
  const help = command.helpInformation();
  expect(help).toContain(`Usage: gatehouse ${names.join(' ')} `);
  expect(help).toMatch(/--format <format>[\s\S]*json[\s\S]*table/);
  expect(command.description()).not.toBe('');
});

it.concurrent.each(['dev --help', 'clients create --help', 'help users set-password', 'sessions --help'])(
  'gatehouse %s prints help and ends with 0',
  async (words) => {
    const { code, stdout, stderr } = await gatehouse(words.split(' '));
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^Usage: gatehouse /);
    expect(code).toBe(0);
  },
);

it('gatehouse alone and a group alone show their commands, and say in one line that one is missing', async () => {
  const alone = await gatehouse([]);
  for (const name of ['dev', 'serve', 'migrate', ...Object.keys(COMMANDS)])
    expect(alone.stdout).toContain(`  ${name} `);
  const group = await gatehouse(['keys']);
  for (const name of COMMANDS.keys) expect(group.stdout).toContain(`  ${name} `);
  for (const { code, stderr } of [alone, group]) {
    expect(code).toBe(2);
    expect(stderr).toMatch(/^gatehouse: [^\n]+\n$/);
  }
});

it('npx gatehouse runs from the checkout', async () => {
  const { code, stdout } = await gatehouse([], { command: ['npx', '--no-install', 'gatehouse', 'keys', '--help'] });
  expect(stdout).toContain('Usage: gatehouse keys');
  expect(code).toBe(0);
});

describe('a command line that makes no sense ends with 2 and says which help to read', () => {
  it.concurrent.each<[string, RegExp]>([
    ['serv', /unknown command 'serv' \(Did you mean serve\?\) \(see gatehouse --help\)/],
    ['clients paint', /unknown command 'paint' \(see gatehouse clients --help\)/],
    ['clients list --colour', /unknown option '--colour' \(see gatehouse clients list --help\)/],
    ['clients list --format xml', /--format.*json, table.*\(see gatehouse clients list --help\)/],
    ['users list --limit many', /--limit.*whole number.*\(see gatehouse users list --help\)/],
    [
      'clients rotate-secret web --overlap -1',
      /--overlap.*whole number.*\(see gatehouse clients rotate-secret --help\)/,
    ],
    ['clients show', /missing required argument 'client_id' \(see gatehouse clients show --help\)/],
    ['clients create', /'--file <file>' not specified \(see gatehouse clients create --help\)/],
    ['profile check --profile fapi1', /--profile.*fapi2-security.*\(see gatehouse profile check --help\)/],
    ['users show alice bob', /too many arguments.*\(see gatehouse users show --help\)/],
  ])('gatehouse %s', async (words, reason) => {
    const ended = await gatehouse(words.split(' '));
    expectOneLine(ended, reason);
    expect(ended.code).toBe(2);
  });
});

describe('what cannot be done ends with 1 and says why', () => {
  const refused: [string, RegExp, GatehouseOptions?][] = [
    ['clients create --file FOLDER/nothing.json', /--file: .*nothing\.json cannot be read/],
    ['clients create --file FOLDER/broken.json', /--file: is not JSON: it ends too early/],
    [
      'users create --file -',
      /--file: is not JSON: line 2, column 19\./,
      { input: '{\n  "username": "a" "password": "secret-word" }' },
    ],
    ['users create --file FOLDER/list.json', /--file: must hold a JSON object/],
    ['users create --file -', /--file: is not JSON/, { input: 'alice' }],
    ['clients list', /the database cannot be reached: check DATABASE_URL/, { env: { DATABASE_URL: AWAY } }],
    ['migrate', /the database cannot be reached: check DATABASE_URL/, { env: { DATABASE_URL: AWAY } }],
    ['dev', /the database cannot be reached: check DATABASE_URL/, { env: { DATABASE_URL: AWAY } }],
    ['clients create --file FOLDER/client.json', /cannot be reached/, { env: { DATABASE_URL: AWAY } }],
    ['users list', /DATABASE_URL: must be a URL/, { env: { DATABASE_URL: 'mysql://secret-word@db' } }],
    ['users list', /GATEHOUSE_DATBASE is not a variable/, { env: { GATEHOUSE_DATBASE: 'x' } }],
    ['keys list', /GATEHOUSE_DATA: .*choose a folder you may write to/, { env: { GATEHOUSE_DATA: '/proc/nothing' } }],
    ['dev', /PORT: must be a port/, { env: { PORT: 'web' } }],
    ['serve', /`gatehouse serve` needs GATEHOUSE_ISSUER, DATABASE_URL/],
  ];
  it.concurrent.each(refused)('gatehouse %s: %s', async (words, reason, options = {}) => {
    const ended = await gatehouse(words.replace('FOLDER', folder).split(' '), options);
    expectOneLine(ended, reason);
    expect(ended.code).toBe(1);
  });

  it.concurrent.each(['clients list', 'migrate', 'dev'])(
    'gatehouse %s with a wrong password for the database',
    async (words) => {
      const url = new URL(inject('databaseUrl'));
      url.username = 'nobody-here';
      url.password = 'secret-word';
      const ended = await gatehouse(words.split(' '), {
        env: { DATABASE_URL: url.href, GATEHOUSE_DATA: join(folder, 'none') },
      });
      expectOneLine(ended, /the database refuses us \(.*nobody-here.*\): check DATABASE_URL/);
      expect(ended.code).toBe(1);
    },
  );
});
