/** Operators' commands, as processes, beside a running server on the same database: what they change is seen at once. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { postgresKeys } from '../../src/features/key-rotation/keys.pg.ts';
import { authorizePath, post } from '../support/browser.ts';
import { gatehouse, Workbench } from '../support/gatehouse.ts';
import { TEST_KEY_ENCRYPTION_KEY } from '../support/template.ts';
import { getCode, introspect, redeem, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

// Each starts processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const bench = new Workbench();
let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(async () => {
  await bench.clear();
  await world.close();
});

const GATEHOUSE_KEY_ENCRYPTION_KEY = TEST_KEY_ENCRYPTION_KEY.toString('base64url');

/** Runs a command, which has to succeed, and reads the JSON it prints. */
async function run<Result = Record<string, unknown>>(words: string, input?: unknown): Promise<Result> {
  const { code, stdout, stderr } = await gatehouse(words.split(' '), {
    env: {
      DATABASE_URL: world.databaseUrl,
      GATEHOUSE_KEY_ENCRYPTION_KEY: TEST_KEY_ENCRYPTION_KEY.toString('base64url'),
    },
    ...(input !== undefined && { input: JSON.stringify(input) }),
  });
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout);
}

/** The line a command is refused with. */
async function refusal(words: string, input?: unknown): Promise<string> {
  const { code, stdout, stderr } = await gatehouse(words.split(' '), {
    env: { DATABASE_URL: world.databaseUrl },
    ...(input !== undefined && { input: JSON.stringify(input) }),
  });
  expect(stderr).toMatch(/^gatehouse: [^\n]+\n$/);
  expect(stdout).toBe('');
  expect(code).toBe(1);
  return stderr;
}

async function tokenFor(id: string, secret: string): Promise<number> {
  return (await post(`${world.issuer}/token`, { grant_type: 'client_credentials' }, { basic: { id, secret } })).status;
}

/** Changes reach a server within a second. */
async function soon(condition: () => Promise<boolean>): Promise<void> {
  await expect.poll(condition, { timeout: 5000, interval: 50 }).toBe(true);
}

describe('clients', () => {
  it('are created with a secret that is shown once and works', async () => {
    const created = await run('clients create --file -', {
      client_id: 'reports',
      client_name: 'Reports',
      grant_types: ['client_credentials'],
      scope: 'photos.read',
      access_token_lifetime: 120,
    });
    expect(created).toMatchObject({ client_id: 'reports', client_name: 'Reports', client_secret_expires_at: 0 });
    const secret = String(created.client_secret);
    await soon(async () => (await tokenFor('reports', secret)) === 200);
    expect(await tokenFor('reports', `${secret}x`)).toBe(401);

    const shown = await run('clients show reports');
    expect(shown).toMatchObject({ access_token_lifetime: 120, disabled: false, secrets: [{ expires_at: null }] });
    expect(JSON.stringify([shown, await run('clients list')])).not.toContain(secret);
  });

  it.each([
    ['backchannel_logout_uri', 'http://127.0.0.1:4999/out'],
    ['backchannel_logout_uri', 'https://localhost/out'],
    ['backchannel_logout_uri', 'https://app.example:8443/out'],
    ['jwks_uri', 'http://localhost:4999/jwks'],
  ])('are created with a word of warning about a %s that would never be reached: %s', async (name, uri) => {
    const input = JSON.stringify({ redirect_uris: ['https://app.example/callback'], [name]: uri });
    const env = { DATABASE_URL: world.databaseUrl, GATEHOUSE_KEY_ENCRYPTION_KEY };
    const create = (more = {}) => gatehouse(['clients', 'create', '--file', '-'], { env: { ...env, ...more }, input });
    const warned = await create();
    expect(warned.code).toBe(0);
    expect(warned.stderr).toMatch(
      new RegExp(`^gatehouse: ${name} [^\\n]*GATEHOUSE_ALLOW_LOOPBACK_FETCH=on[^\\n]*\\n$`),
    );
    expect(JSON.parse(warned.stdout)).toMatchObject({ [name]: uri });
    expect(await create({ GATEHOUSE_ALLOW_LOOPBACK_FETCH: 'on' })).toMatchObject({ code: 0, stderr: '' });
  });

  it('are created with a word of warning about what no resource has yet, and about unknown fields in any case', async () => {
    const env = { DATABASE_URL: world.databaseUrl, GATEHOUSE_KEY_ENCRYPTION_KEY };
    const client = { redirect_uris: ['https://app.example/callback'], jwks_url: 'https://app.example/jwks' };
    const create = (more: object) =>
      gatehouse(['clients', 'create', '--file', '-'], { env, input: JSON.stringify({ ...client, ...more }) });
    const unknown = 'gatehouse: not known here and ignored: jwks_url\n';
    expect(await create({ scope: 'openid tea.brew', authorization_details_types: ['tea'] })).toMatchObject({
      code: 0,
      stderr: `${unknown}gatehouse: scope: no resource has tea.brew yet.\ngatehouse: authorization_details_types: no resource has tea yet.\n`,
    });
    expect(await create({ grant_types: ['password'] })).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^gatehouse: not known here and ignored: jwks_url\ngatehouse: grant_types: .*password/,
      ),
    });
  });

  it('get an id where none is chosen, and no secret when they are public', async () => {
    const file = join(await bench.folder(), 'client.json');
    await writeFile(file, JSON.stringify({ redirect_uris: [WEB_REDIRECT], token_endpoint_auth_method: 'none' }));
    const created = await run(`clients create --file ${file}`);
    expect(created.client_id).toMatch(/^client-/);
    expect(created).not.toHaveProperty('client_secret');
  });

  it('keep on update what is not named, lose what is null, and are seen changed by the server', async () => {
    await run('clients create --file -', {
      client_id: 'shop',
      client_name: 'Shop',
      client_uri: 'https://shop.example/',
      redirect_uris: ['https://shop.example/callback'],
      scope: 'openid profile',
    });
    const askWith = async (redirect: string) =>
      (
        await fetch(`${world.issuer}${authorizePath({ client_id: 'shop', redirect_uri: redirect })}`, {
          redirect: 'manual',
        })
      ).status;
    await soon(async () => (await askWith('https://shop.example/callback')) !== 400);

    const updated = await run('clients update shop --file -', {
      redirect_uris: ['https://shop.example/back'],
      client_uri: null,
    });
    expect(updated).toMatchObject({
      client_name: 'Shop',
      scope: 'openid profile',
      redirect_uris: ['https://shop.example/back'],
    });
    expect(updated).not.toHaveProperty('client_uri');
    await soon(async () => (await askWith('https://shop.example/callback')) === 400);
    expect(await run('clients show shop')).not.toHaveProperty('client_uri');
  });

  it('rotate secrets: the old one goes on for the overlap, or not at all', async () => {
    const created = await run('clients create --file -', {
      client_id: 'rotating',
      grant_types: ['client_credentials'],
      scope: 'photos.read',
    });
    const first = String(created.client_secret);
    const second = String((await run('clients rotate-secret rotating --overlap 3600')).client_secret);
    await soon(async () => (await tokenFor('rotating', second)) === 200);
    expect(await tokenFor('rotating', first)).toBe(200);

    const third = String((await run('clients rotate-secret rotating --overlap 0')).client_secret);
    await soon(async () => (await tokenFor('rotating', third)) === 200);
    expect(await tokenFor('rotating', second)).toBe(401);
    expect(await tokenFor('rotating', first)).toBe(401);
  });

  it('are disabled, enabled and deleted, and a deleted id is not given again', async () => {
    const client = { client_id: 'brief', grant_types: ['client_credentials'], scope: 'photos.read' };
    const secret = String((await run('clients create --file -', client)).client_secret);
    await soon(async () => (await tokenFor('brief', secret)) === 200);
    expect(await run('clients update brief --disable')).toMatchObject({ disabled: true });
    await soon(async () => (await tokenFor('brief', secret)) === 401);
    expect(await run('clients update brief --enable')).toMatchObject({ disabled: false });
    await soon(async () => (await tokenFor('brief', secret)) === 200);
    expect(await run('clients delete brief')).toEqual({ client_id: 'brief', deleted: true });
    await soon(async () => (await tokenFor('brief', secret)) === 401);
    expect(await refusal('clients create --file -', client)).toMatch(/taken|deleted/);
  });

  it.each<[string, unknown, RegExp]>([
    ['clients create --file -', { redirect_uris: 'https://shop.example' }, /redirect_uris/],
    ['clients create --file -', { client_id: 'web', grant_types: ['client_credentials'] }, /client_id.*taken/],
    ['clients update web --file -', { client_id: 'other' }, /client_id: cannot be changed/],
    ['clients show nobody', undefined, /no such client.*gatehouse clients list/],
    ['clients rotate-secret spa', undefined, /authenticates without a secret/],
  ])('%s %j is refused', async (words, input, reason) => {
    expect(await refusal(words, input)).toMatch(reason);
  });
});

describe('users', () => {
  it('are created, shown by name, address and id, changed, disabled, and given another password', async () => {
    const created = await run('users create --file -', {
      username: 'carol',
      password: 'looking-glass',
      claims: { name: 'Carol', email: 'carol@people.example', nickname: 'caz' },
    });
    expect(JSON.stringify(created)).not.toContain('looking-glass');
    for (const name of ['carol', 'carol@people.example', String(created.sub)])
      expect(await run(`users show ${name}`)).toMatchObject({ sub: created.sub, username: 'carol', disabled: false });

    const { claims } = await run('users update carol --file -', { claims: { name: 'Carol C.', nickname: null } });
    expect(claims).toEqual({ name: 'Carol C.', email: 'carol@people.example' });
    expect(await run('users disable carol')).toMatchObject({ disabled: true });
    expect(await run('users disable carol --enable')).toMatchObject({ disabled: false });
    const told = await run('users set-password carol --file -', { password: 'another-glass' });
    expect(JSON.stringify(told)).not.toContain('another-glass');
  });

  it('lose all they hold at once when they are disabled', async () => {
    const { json } = await redeem(world, await getCode(world));
    const token = String(json.access_token);
    expect(await introspect(world, token)).toMatchObject({ active: true });
    await run('users disable alice');
    expect(await introspect(world, token)).toEqual({ active: false });
    await run('users disable alice --enable');
    expect(await introspect(world, token)).toEqual({ active: false });
  });

  it.each<[string, unknown, RegExp]>([
    ['users create --file -', { username: 'dora', password: 'short' }, /password: must have at least 8 characters/],
    ['users create --file -', { username: 'alice', password: 'long-enough' }, /username: .*taken/],
    ['users create --file -', { username: 'dora' }, /password/],
    ['users set-password alice --file -', { password: 'short' }, /password: must have at least 8/],
    ['users set-password nobody --file -', { password: 'long-enough' }, /no such user.*gatehouse users list/],
  ])('%s %j is refused', async (words, input, reason) => {
    expect(await refusal(words, input)).toMatch(reason);
  });
});

describe('resources', () => {
  it('are created, listed, changed and deleted; the server knows their scopes at once', async () => {
    const resource = 'https://notes.example';
    await run('resources create --file -', { resource, name: 'Notes', scopes: { 'notes.read': 'Read your notes' } });
    const client = await run('clients create --file -', { grant_types: ['client_credentials'], scope: 'notes.read' });
    const basic = { id: String(client.client_id), secret: String(client.client_secret) };
    const ask = async () =>
      (await post(`${world.issuer}/token`, { grant_type: 'client_credentials', resource }, { basic })).status;
    await soon(async () => (await ask()) === 200);

    expect(await run(`resources update ${resource} --file -`, { name: 'My notes' })).toMatchObject({
      name: 'My notes',
      scopes: { 'notes.read': 'Read your notes' },
    });
    expect(await run(`resources show ${resource}`)).toMatchObject({ name: 'My notes' });
    const listed = await run<{ resource: string }[]>('resources list');
    expect(listed.map((each) => each.resource)).toContain(resource);
    expect(await run(`resources delete ${resource}`)).toEqual({ resource, deleted: true });
    await soon(async () => (await ask()) === 400);
  });

  it.each<[string, unknown, RegExp]>([
    ['resources create --file -', { resource: 'notes', name: 'N', scopes: {} }, /resource/],
    [
      'resources create --file -',
      { resource: 'https://n.example', name: 'N', scopes: { 'photos.read': 'x' } },
      /scopes: .*another resource/,
    ],
    ['resources show https://nobody.example', undefined, /no such resource.*gatehouse resources list/],
  ])('%s %j is refused', async (words, input, reason) => {
    expect(await refusal(words, input)).toMatch(reason);
  });
});

describe('keys', () => {
  it('rotate at once: what signed before is retired and still published; what was encrypted to is retired and hidden', async () => {
    type Listed = { kid: string; use: string; alg: string; state: string };
    const before = await run<Listed[]>('keys list');
    const active = (name: string) => before.find(({ alg, state }) => alg === name && state === 'active');
    const [signer, opener] = [active('ES256'), active('ECDH-ES')];
    expect([signer?.use, opener?.use]).toEqual(['sig', 'enc']);
    const after = await run<Listed[]>('keys rotate');
    for (const { kid } of [signer, opener] as Listed[])
      expect(after.find((key) => key.kid === kid)).toMatchObject({ state: 'retired' });
    const shown = after.filter(({ use, state }) => use === 'sig' || state === 'active').map(({ kid }) => kid);
    await soon(async () => {
      const { keys } = (await (await fetch(`${world.issuer}/jwks`)).json()) as { keys: { kid: string }[] };
      return keys.length === shown.length && shown.every((kid) => keys.some((key) => key.kid === kid));
    });
  });

  it('that are archived are listed as such, without a private part, and are published no more', async () => {
    const [retired] = (await run<{ kid: string; use: string; state: string }[]>('keys list')).filter(
      (key) => key.state === 'retired' && key.use === 'sig',
    );
    const kid = String(retired?.kid);
    const now = world.clock.now();
    await postgresKeys(world.running.database.sql).alone(async (keys) => {
      await keys.archive(kid, now);
      return true;
    });
    const listed = (await run<{ kid: string }[]>('keys list')).find((key) => key.kid === kid);
    expect(listed).toMatchObject({ state: 'archived', archived_at: now.toISOString(), key_encryption_key: null });
    await soon(async () => {
      const { keys } = (await (await fetch(`${world.issuer}/jwks`)).json()) as { keys: { kid: string }[] };
      return keys.every((key) => key.kid !== kid);
    });
  });

  it('move to the first key-encryption key, and the old one is not needed any more', async () => {
    const old = TEST_KEY_ENCRYPTION_KEY.toString('base64url');
    const fresh = Buffer.alloc(32, 5).toString('base64url');
    const reencrypt = (list: string) =>
      gatehouse(['keys', 'reencrypt'], {
        env: { DATABASE_URL: world.databaseUrl, GATEHOUSE_KEY_ENCRYPTION_KEY: list },
      });
    expect(await reencrypt(fresh)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Add that key to the list'),
    });
    const moved = await reencrypt(`${fresh},${old}`);
    expect(JSON.parse(moved.stdout).reencrypted).toBeGreaterThan(0);
    expect(JSON.parse((await reencrypt(fresh)).stdout)).toEqual({ reencrypted: 0 });
    // For the tests that follow.
    expect((await reencrypt(`${old},${fresh}`)).code).toBe(0);
  });
});

describe('grants and sessions', () => {
  it('are listed by user and ended at once', async () => {
    const flow = await getCode(world);
    const { json } = await redeem(world, flow);
    const token = String(json.access_token);
    const [grant] = await run<{ id: string; active: boolean }[]>('grants list --user alice --client web');
    expect(grant).toMatchObject({ active: true });
    expect(await run(`grants revoke ${grant?.id}`)).toEqual({ id: grant?.id, revoked: true });
    expect(await introspect(world, token)).toEqual({ active: false });
    expect(await refusal(`grants revoke ${grant?.id}`)).toMatch(/no such active grant/);

    const sessions = await run<{ id?: string; session_id?: string }[]>('sessions list --user alice');
    const id = String(sessions[0]?.id ?? sessions[0]?.session_id);
    expect(await run(`sessions end ${id}`)).toEqual({ id, ended: true });
    const account = await flow.browser.visit('/account');
    expect(account.url).toContain('/login');
  });

  it.each<[string, RegExp]>([
    ['grants revoke 42', /must be a UUID/],
    ['sessions end 01a20412-2a42-7cd0-a938-694bd5bcf211', /no such session/],
  ])('%s is refused', async (words, reason) => {
    expect(await refusal(words)).toMatch(reason);
  });
});

describe('--format', () => {
  it('table prints one line for each, json what a program reads; json is what a pipe gets', async () => {
    const env = { DATABASE_URL: world.databaseUrl };
    const table = await gatehouse(['clients', 'list', '--format', 'table'], { env });
    expect(table.stdout).toMatch(/^CLIENT_ID +CLIENT_NAME +TOKEN_ENDPOINT_AUTH_METHOD /);
    expect(table.stdout).toMatch(/\nbatch +Batch +client_secret_basic +client_credentials +false +\d{4}-/);
    const facts = await gatehouse(['clients', 'show', 'batch', '--format', 'table'], { env });
    expect(facts.stdout).toMatch(/^client_id +batch\n/);
    expect(facts.stdout).not.toContain('[object');
    const piped = await gatehouse(['clients', 'list'], { env });
    expect(Array.isArray(JSON.parse(piped.stdout))).toBe(true);
  });
});

describe('migrate', () => {
  it('finds nothing to do on a schema of this version', async () => {
    expect(await run('migrate')).toEqual({ applied: [] });
  });
});
