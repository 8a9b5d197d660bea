/** `gatehouse dev` as a newcomer meets it: from an empty folder, with the embedded database, until Ctrl-C. */
import { execFile } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { post, signIn, TestBrowser } from '../support/browser.ts';
import { makeCertificate } from '../support/certificate.ts';
import { createDatabase } from '../support/database.ts';
import { commandLinesNaming } from '../support/embedded-commands.ts';
import { type Gatehouse, gatehouse, Workbench } from '../support/gatehouse.ts';
import { freePort } from '../support/ports.ts';

// Each starts processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

interface DemoFile {
  readonly issuer: string;
  readonly clients: Readonly<Record<string, { readonly client_secret: string }>>;
}

async function readDemoFile(dataFolder: string): Promise<DemoFile> {
  return JSON.parse(await readFile(join(dataFolder, 'demo.json'), 'utf8'));
}

/** Waits for the banner. */
async function ready(started: Gatehouse): Promise<string> {
  await started.says(/Gatehouse is ready.*\n\n[\s\S]*?\n\n/);
  return started.stdout;
}

function clientCredentials(demo: DemoFile, id: string, issuer: string = demo.issuer) {
  const basic = { id, secret: demo.clients[id]?.client_secret ?? '' };
  return post(`${issuer}/token`, { grant_type: 'client_credentials' }, { basic });
}

describe('from an empty data folder', () => {
  const bench = new Workbench();
  let dataFolder: string;
  let env: Record<string, string>;
  let issuer: string;
  let first: Gatehouse;
  let banner: string;
  beforeAll(async () => {
    dataFolder = await bench.dataFolder();
    const port = await freePort();
    issuer = `http://localhost:${port}`;
    env = { GATEHOUSE_DATA: dataFolder, PORT: String(port) };
    first = bench.start(['dev'], { env });
    banner = await ready(first);
  });
  afterAll(async () => {
    await bench.clear();
    expect(await commandLinesNaming(dataFolder)).toEqual([]);
  });

  const command = (words: string, input?: unknown) =>
    gatehouse(words.split(' '), { env, ...(input !== undefined && { input: JSON.stringify(input) }) });

  it('says where it is and how to sign in, and nothing a newcomer would wonder about', () => {
    expect(banner).toContain(
      `Gatehouse is ready on ${issuer} (profile oauth21; plain http, because the issuer is loopback)`,
    );
    expect(banner).toContain('alice / wonderland or bob / builder');
    expect(banner).toContain('npm run demo');
    expect(first.stderr).toBe('');
    for (const line of banner.split('\n').filter((text) => text.startsWith('{')))
      expect(JSON.parse(line), line).toMatchObject({ level: 30 });
  });

  it('has banner lines that work as they are pasted into a shell', async () => {
    const lines = banner.split('\n').filter((line) => line.startsWith('    curl '));
    const answers = [];
    for (const line of lines) answers.push(JSON.parse((await promisify(execFile)('/bin/sh', ['-c', line])).stdout));
    expect(answers).toEqual([
      expect.objectContaining({ token_type: 'Bearer', scope: 'photos.read', access_token: expect.any(String) }),
      expect.objectContaining({ active: true, client_id: 'photos-batch', aud: 'http://localhost:4001' }),
    ]);
    const [page] = /http:\S+\/account/.exec(banner) ?? [];
    expect((await fetch(String(page))).status).toBe(200);
  });

  it.each([
    ['alice', 'wonderland'],
    ['bob', 'builder'],
  ])('lets %s / %s sign in', async (name, password) => {
    const browser = new TestBrowser({ issuer });
    const page = await signIn(browser, await browser.visit('/account'), name, password);
    expect(page.status).toBe(200);
    expect(page.body).toContain('id="account-sign-out"');
  });

  it('has users with every standard claim (OpenID Connect Core §5.1)', async () => {
    const { stdout } = await command('users show alice');
    expect(Object.keys(JSON.parse(stdout).claims).sort()).toEqual([
      'address',
      'birthdate',
      'email',
      'email_verified',
      'family_name',
      'gender',
      'given_name',
      'locale',
      'middle_name',
      'name',
      'nickname',
      'phone_number',
      'phone_number_verified',
      'picture',
      'preferred_username',
      'profile',
      'updated_at',
      'website',
      'zoneinfo',
    ]);
  });

  it('has the demo clients and APIs', async () => {
    const clients: { client_id: string; token_endpoint_auth_method: string }[] = JSON.parse(
      (await command('clients list')).stdout,
    );
    expect(clients.map((client) => [client.client_id, client.token_endpoint_auth_method])).toEqual([
      ['archive-api', 'client_secret_basic'],
      ['photos-api', 'client_secret_basic'],
      ['photos-batch', 'client_secret_basic'],
      ['photos-spa', 'none'],
      ['photos-web', 'client_secret_basic'],
      ['storage-api', 'client_secret_basic'],
    ]);
    expect(JSON.parse((await command('resources list')).stdout)).toMatchObject([
      { resource: 'http://localhost:4001', access_token_format: 'jwt', scopes: ['photos.read', 'photos.write'] },
      { resource: 'http://localhost:4002', access_token_format: 'opaque', scopes: ['storage.read'] },
      { resource: 'http://localhost:4003', access_token_format: 'jwt', scopes: ['archive.read'] },
    ]);
    expect(JSON.parse((await command('exchange-policies list')).stdout)).toMatchObject([
      { name: 'photos-to-storage', client: 'photos-api' },
      { name: 'storage-to-archive', client: 'storage-api' },
    ]);
  });

  it('keeps random secrets of the demo clients for its owner only', async () => {
    const { mode } = await stat(join(dataFolder, 'demo.json'));
    expect((mode & 0o777).toString(8)).toBe('600');
    expect(((await stat(join(dataFolder, 'keys.json'))).mode & 0o777).toString(8)).toBe('600');
    const demo = await readDemoFile(dataFolder);
    expect(demo.issuer).toBe(issuer);
    expect(Object.keys(demo.clients).sort()).toEqual([
      'archive-api',
      'photos-api',
      'photos-batch',
      'photos-web',
      'storage-api',
    ]);
    const secrets = Object.values(demo.clients).map(({ client_secret }) => client_secret);
    expect(new Set(secrets).size).toBe(5);
    for (const secret of secrets) expect(secret.length).toBeGreaterThan(40);
  });

  it('is found by a command beside it, whose change the server sees at once', async () => {
    const client = { client_id: 'beside', grant_types: ['client_credentials'], scope: 'photos.read' };
    const created = await command('clients create --file -', client);
    expect(created).toMatchObject({ code: 0, stderr: '' });
    const basic = { id: 'beside', secret: String(JSON.parse(created.stdout).client_secret) };
    const ask = async () => (await post(`${issuer}/token`, { grant_type: 'client_credentials' }, { basic })).status;
    await expect.poll(ask, { timeout: 5000, interval: 50 }).toBe(200);
    // The command has left the database to the server.
    expect((await fetch(`${issuer}/readyz`)).status).toBe(200);
  });

  it('refuses a second server on its port in one line, and is not disturbed by it', async () => {
    const second = await command('dev');
    expect(second).toMatchObject({ code: 1, stderr: expect.stringMatching(/^gatehouse: PORT: [^\n]+\n$/) });
    expect((await fetch(`${issuer}/readyz`)).status).toBe(200);
  });

  it('drains at Ctrl-C, stops its database, and ends with 0', async () => {
    expect(await first.interrupt()).toMatchObject({ code: 0, signal: null, stderr: '' });
    expect(await commandLinesNaming(dataFolder)).toEqual([]);
  });

  it('is worked on without a server too: a command starts the database and stops it again', async () => {
    const { code, stdout, stderr } = await command('users list');
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toMatchObject([{ username: 'alice' }, { username: 'bob' }]);
    expect(code).toBe(0);
    expect(await commandLinesNaming(dataFolder)).toEqual([]);
  });

  it('is left alone by a second server on its folder, which says why it does not start', async () => {
    const again = bench.start(['dev'], { env });
    await ready(again);
    const before = await readFile(join(dataFolder, 'demo.json'), 'utf8');
    const keys = (await command('keys list')).stdout;
    const fapi = { GATEHOUSE_PROFILE: 'fapi2-security' };
    const port = String(await freePort());
    for (const [more, reason] of [
      [fapi, /^gatehouse: PORT: another program listens there/],
      [{ PORT: port }, /^gatehouse: GATEHOUSE_DATA: the Gatehouse at http:.* works with this folder: stop it/],
      [{ ...fapi, PORT: port }, /^gatehouse: GATEHOUSE_DATA: /],
    ] as const) {
      const { code, stderr } = await gatehouse(['dev'], { env: { ...env, ...more } });
      expect(stderr).toMatch(reason);
      expect(code).toBe(1);
    }
    expect(await readFile(join(dataFolder, 'demo.json'), 'utf8')).toBe(before);
    expect((await command('keys list')).stdout).toBe(keys);
    expect((await clientCredentials(JSON.parse(before), 'photos-batch')).status).toBe(200);
    await again.interrupt();
  });

  it('finds its data at the second start, on another port too, and mends what the banner says', async () => {
    const before = await readDemoFile(dataFolder);
    expect((await command('clients rotate-secret photos-batch --overlap 0')).code).toBe(0);
    expect((await command('clients delete storage-api')).code).toBe(0);

    const port = await freePort();
    const second = bench.start(['dev'], { env: { ...env, PORT: String(port) } });
    expect(await ready(second)).toContain(`ready on http://localhost:${port} `);
    const demo = await readDemoFile(dataFolder);
    expect(demo.issuer).toBe(`http://localhost:${port}`);
    expect(demo.clients['photos-web']).toEqual(before.clients['photos-web']);
    expect(Object.keys(demo.clients)).not.toContain('storage-api');
    expect((await clientCredentials(demo, 'photos-batch')).status).toBe(200);
    expect((await clientCredentials(before, 'photos-batch', demo.issuer)).status).toBe(401);
    expect(second.stderr).toBe('');

    expect(await second.stop('SIGTERM')).toMatchObject({ code: 0, signal: null });
    expect(await commandLinesNaming(dataFolder)).toEqual([]);
  });

  it('runs under npm start, where one Ctrl-C arrives twice', async () => {
    const npm = bench.start([], { env, command: ['npm', 'start'] });
    await ready(npm);
    await npm.interrupt();
    await expect.poll(() => commandLinesNaming(dataFolder), { timeout: 10_000 }).toEqual([]);
    expect(await readFile(join(dataFolder, 'postgres.log'), 'utf8')).toContain('database system is shut down');
  });

  it('stops its database also when it is interrupted while it starts', async () => {
    const early = bench.start(['dev'], { env });
    await expect
      .poll(() => commandLinesNaming(join(dataFolder, 'cluster')), { interval: 5, timeout: 60_000 })
      .not.toEqual([]);
    expect(await early.interrupt()).toMatchObject({ code: 0, stderr: '' });
    expect(await commandLinesNaming(dataFolder)).toEqual([]);
  });
});

describe('on a database of DATABASE_URL', () => {
  const bench = new Workbench();
  afterEach(() => bench.clear());

  async function start(more: Record<string, string> = {}) {
    const database = await createDatabase();
    const dataFolder = await bench.dataFolder();
    const port = await freePort();
    const env = { DATABASE_URL: database.url, GATEHOUSE_DATA: dataFolder, PORT: String(port), ...more };
    const started = bench.start(['dev'], { env });
    const banner = await ready(started);
    const users = async (): Promise<unknown[]> => JSON.parse((await gatehouse(['users', 'list'], { env })).stdout);
    const end = async () => {
      expect(await started.stop('SIGTERM')).toMatchObject({ code: 0 });
      await database.drop();
    };
    return { issuer: `http://localhost:${port}`, env, dataFolder, banner, users, end };
  }

  it('migrates it, makes the demo data there, and starts no database of its own', async () => {
    const { users, dataFolder, banner, end } = await start();
    expect(banner).toContain('alice / wonderland');
    expect(banner).not.toMatch(/forbidden by|Clients with certificates/);
    expect(await users()).toHaveLength(2);
    await expect(stat(join(dataFolder, 'cluster'))).rejects.toThrow('ENOENT');
    await end();
  });

  it('under a stricter profile names the clients that it forbids, and the address for clients with certificates', async () => {
    const { env, end } = await start();
    const { cert, key } = await makeCertificate(join(await bench.folder(), 'server'));
    const mtlsPort = await freePort();
    const strict = bench.start(['dev'], {
      env: {
        ...env,
        PORT: String(await freePort()),
        GATEHOUSE_PROFILE: 'fapi2-security',
        GATEHOUSE_TLS_CERT: cert,
        GATEHOUSE_TLS_KEY: key,
        GATEHOUSE_MTLS_PORT: String(mtlsPort),
      },
    });
    await strict.says(/gatehouse profile check --all --profile fapi2-security\n/);
    expect(strict.stdout).toContain(`\n  Clients with certificates call https://localhost:${mtlsPort}\n`);
    expect(strict.stdout).toMatch(/\n {2}Registered here, and forbidden by fapi2-security: [^\n]*\bphotos-spa\b/);
    expect(await strict.stop('SIGTERM')).toMatchObject({ code: 0 });
    await end();
  });

  it('makes no demo data where others can reach it', async () => {
    const { users, banner, end } = await start({ HOST: '0.0.0.0' });
    expect(banner).not.toContain('wonderland');
    expect(banner).toContain('GATEHOUSE_DEMO_DATA=on');
    expect(await users()).toEqual([]);
    await end();
  });

  it('makes it there when it is told that the port is kept to this machine', async () => {
    const { users, end } = await start({ HOST: '0.0.0.0', GATEHOUSE_DEMO_DATA: 'on' });
    expect(await users()).toHaveLength(2);
    await end();
  });

  it('does not open what holds demo data to others, unless it is told that the port is kept', async () => {
    const { env, end } = await start();
    const open = { ...env, HOST: '0.0.0.0', PORT: String(await freePort()) };
    const refused = await gatehouse(['dev'], { env: open });
    expect(refused.code).not.toBe(0);
    expect(refused.stdout).not.toContain('is ready');
    expect(refused.stderr).toMatch(/^gatehouse: HOST: [^\n]*demo data[^\n]*GATEHOUSE_DEMO_DATA=on[^\n]*\n$/);
    const told = bench.start(['dev'], { env: { ...open, GATEHOUSE_DEMO_DATA: 'on' } });
    expect(await ready(told)).toContain('is ready');
    expect(await told.stop('SIGTERM')).toMatchObject({ code: 0 });
    await end();
  });

  it('makes none among users of its own', async () => {
    const { env, issuer, end } = await start({ GATEHOUSE_DEMO_DATA: 'off' });
    const input = JSON.stringify({ username: 'carol', password: 'looking-glass' });
    expect((await gatehouse(['users', 'create', '--file', '-'], { env, input })).code).toBe(0);
    const second = bench.start(['dev'], {
      env: { ...env, GATEHOUSE_DEMO_DATA: 'on', PORT: String(await freePort()) },
    });
    expect(await ready(second)).toContain('users of its own');
    const browser = new TestBrowser({ issuer });
    const page = await signIn(browser, await browser.visit('/account'), 'alice', 'wonderland');
    expect(page.url).toContain('/login');
    await second.stop();
    await end();
  });
});
