/** `npm start` under a FAPI 2.0 profile, and `npm run demo:fapi` beside it: one command, in front of a strict foreign library. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { decide, signIn, TestBrowser } from '../support/browser.ts';
import { createDatabase } from '../support/database.ts';
import { type Gatehouse, gatehouse, Workbench } from '../support/gatehouse.ts';
import { freePort } from '../support/ports.ts';

// Each starts processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const READY = /Gatehouse is ready.*\n\n[\s\S]*?\n\n/;

interface DemoFile {
  readonly issuer: string;
  readonly clients: Readonly<Record<string, { client_secret?: string; private_key?: Record<string, unknown> }>>;
}

const bench = new Workbench();
const drops: (() => Promise<void>)[] = [];

async function place(profile: string) {
  const database = await createDatabase();
  drops.push(() => database.drop());
  const env = {
    DATABASE_URL: database.url,
    GATEHOUSE_DATA: await bench.dataFolder(),
    PORT: String(await freePort()),
    GATEHOUSE_PROFILE: profile,
  };
  return { env, issuer: `http://localhost:${env.PORT}`, file: join(env.GATEHOUSE_DATA, 'demo.json') };
}

async function start(env: Record<string, string>): Promise<Gatehouse> {
  const started = bench.start(['dev'], { env });
  await started.says(READY);
  return started;
}

const readDemo = async (file: string): Promise<DemoFile> => JSON.parse(await readFile(file, 'utf8'));
const runDemo = (env: Record<string, string>, ...options: string[]) =>
  bench.start([], { env, command: ['npm', 'run', '--silent', 'demo:fapi', '--', ...options] });

/** Opens the address that the demo printed, as the person in front of it would, and carries the response back. */
async function signInFor(demo: Gatehouse, issuer: string): Promise<string> {
  const [address = ''] = await demo.says(/http:\S+request_uri=\S+/);
  expect([...new URL(address).searchParams.keys()].sort()).toEqual(['client_id', 'request_uri']);
  const browser = new TestBrowser({ issuer });
  let page = await signIn(browser, await browser.visit(address));
  expect(page.body).toContain('Photos without Secrets');
  page = await decide(browser, page);
  const back = new URL(page.location ?? '');
  expect([...back.searchParams.keys()]).toEqual(['response']);
  expect((await fetch(`${back.origin}/favicon.ico`)).status).toBe(404);
  return (await fetch(back)).text();
}

afterAll(async () => {
  await bench.clear();
  for (const drop of drops) await drop();
});

describe.each(['fapi2-security', 'fapi2-message-signing'])('under %s', (profile) => {
  let here: Awaited<ReturnType<typeof place>>;
  let server: Gatehouse;
  beforeAll(async () => {
    here = await place(profile);
    server = await start(here.env);
  });
  afterAll(() => server.stop());

  it('leaves out the clients that the profile forbids, and says how to run the one it adds', async () => {
    const { stdout } = await gatehouse(['clients', 'list'], { env: here.env });
    expect(JSON.parse(stdout).map(({ client_id }: { client_id: string }) => client_id)).toEqual(['photos-fapi']);
    expect(server.stdout).toContain(`(profile ${profile}; plain http, because the issuer is loopback)`);
    expect(server.stdout).toContain('    npm run demo:fapi\n');
    expect(server.stdout).not.toMatch(/curl|npm run demo\n/);
    expect(server.stderr).toBe('');
  });

  it('keeps its private key for its owner only, and only the public half in the database', async () => {
    expect(((await stat(here.file)).mode & 0o777).toString(8)).toBe('600');
    const { clients } = await readDemo(here.file);
    expect(clients['photos-fapi']).toEqual({
      private_key: expect.objectContaining({ kty: 'EC', crv: 'P-256', alg: 'ES256', d: expect.any(String) }),
    });
    const { stdout } = await gatehouse(['clients', 'show', 'photos-fapi'], { env: here.env });
    const { jwks, secrets } = JSON.parse(stdout);
    expect(jwks.keys[0].kid).toBe(clients['photos-fapi']?.private_key?.kid);
    expect(jwks.keys[0]).not.toHaveProperty('d');
    expect(secrets).toEqual([]);
  });

  it('runs the demo: pushed, bound, with a signed response, and with a signed request', async () => {
    const demo = runDemo(here.env, '--signed-request');
    expect(await signInFor(demo, here.issuer)).toContain('You may close this page');
    const { code, stdout, stderr } = await demo.ended();
    expect(stderr).toBe('');
    expect(stdout).toContain('2. the request is pushed, as a JWT that the client signed');
    expect(stdout).toContain('3. open this address within 90 seconds');
    expect(stdout).toMatch(/5\. tokens of type dpop, good for \d+ seconds/);
    expect(stdout).toContain(`iss: '${here.issuer}'`);
    expect(stdout).toMatch(/6\. \/userinfo says: [\s\S]*name: 'Alice Liddell'/);
    expect(stdout).toContain('7. the same token without the key: 401');
    expect(code).toBe(0);
  });

  it('says where it looks for the server, and how to make it look elsewhere', async () => {
    const folder = await bench.dataFolder();
    const { code, stderr } = await runDemo({ ...here.env, GATEHOUSE_DATA: folder }).ended();
    expect(stderr).toBe(
      `${join(folder, 'demo.json')} cannot be read: run GATEHOUSE_PROFILE=fapi2-security npm start first, ` +
        "or set GATEHOUSE_DATA to the running server's folder\n",
    );
    expect(code).toBe(1);
  });

  it('says of the photos in one line which profile they need', async () => {
    const demo = bench.start([], { env: here.env, command: ['npm', 'run', '--silent', 'demo'] });
    const { code, stderr } = await demo.ended();
    expect(stderr).toBe('This demo needs the profile oauth21, and Gatehouse runs under FAPI 2.0: npm run demo:fapi\n');
    expect(code).toBe(1);
  });

  it('checks out but for https, which loopback goes without', async () => {
    const server = await gatehouse(['profile', 'check'], { env: here.env });
    const rows: { clause: string; holds: boolean }[] = JSON.parse(server.stdout);
    expect(rows.filter(({ holds }) => !holds).map(({ clause }) => clause)).toEqual(['FAPI 2.0 SP 5.2.1-1']);
    expect(server.code).toBe(1);
    const client = await gatehouse(['profile', 'check', 'photos-fapi'], { env: here.env });
    expect(client).toMatchObject({ code: 0, stderr: '' });
  });
});

describe('on data that another profile has made', () => {
  afterEach(() => bench.clear());

  it('adds what is missing, leaves deleted what was deleted, and keeps to what each profile demands', async () => {
    const { env, issuer, file } = await place('oauth21');
    let server = await start(env);
    expect(Object.keys((await readDemo(file)).clients)).not.toContain('photos-fapi');
    await gatehouse(['clients', 'delete', 'photos-batch'], { env });
    await server.stop();

    server = await start({ ...env, GATEHOUSE_PROFILE: 'fapi2-security' });
    const first = await readDemo(file);
    expect(Object.keys(first.clients)).toEqual(['photos-fapi']);
    await server.stop();

    const signing = { ...env, GATEHOUSE_PROFILE: 'fapi2-message-signing' };
    server = await start(signing);
    expect((await readDemo(file)).clients).toEqual(first.clients);
    expect(await gatehouse(['profile', 'check', 'photos-fapi'], { env: signing })).toMatchObject({ code: 0 });
    const demo = runDemo(signing);
    await signInFor(demo, issuer);
    expect(await demo.ended()).toMatchObject({ code: 0, stderr: '' });
    await gatehouse(['clients', 'delete', 'photos-fapi'], { env: signing });
    await server.stop();

    server = await start(signing);
    expect((await readDemo(file)).clients).toEqual({});
    const gone = await runDemo(signing).ended();
    expect(gone.stderr).toMatch(/has no client photos-fapi/);
    await server.stop();

    server = await start(env);
    const back = await readDemo(file);
    expect(Object.keys(back.clients).sort()).toEqual(['archive-api', 'photos-api', 'photos-web', 'storage-api']);
    await server.stop();
  });
});
