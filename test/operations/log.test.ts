/** What can be seen from outside: an id for every answer, a line of JSON for every request, and secrets nowhere. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formTo, post, TestBrowser } from '../support/browser.ts';
import { gatehouse } from '../support/gatehouse.ts';
import { ask } from '../support/serving.ts';
import { getCode, introspect, redeem, refresh, STORAGE, startWorld, type World } from '../support/world.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.close());

interface Line {
  readonly level: number;
  readonly msg: string;
  readonly requestId?: string;
  readonly route?: string;
  readonly status?: number;
}

function lines(): Line[] {
  return world.log.map((line) => JSON.parse(line));
}

it('every answer carries the id of its request, its own each time', async () => {
  const paths = [
    '/jwks',
    '/healthz',
    '/readyz',
    '/login',
    '/token',
    '/userinfo',
    '/authorize',
    '/nowhere',
    '/assets/x',
  ];
  const ids = [];
  for (const path of paths) {
    const { headers } = await ask(`${world.issuer}${path}`);
    expect(headers['x-request-id'], path).toMatch(/^[\w-]{12}$/);
    ids.push(headers['x-request-id']);
  }
  expect(new Set(ids).size).toBe(paths.length);
});

it('takes no id from the caller, who could write into the log with it', async () => {
  const { headers } = await ask(`${world.issuer}/jwks`, { headers: { 'x-request-id': 'mine', 'request-id': 'mine' } });
  expect(headers['x-request-id']).not.toBe('mine');
});

it.each(['/nowhere', '/authorize', '/consent', '/authorize?client_id=nobody'])(
  'the error page of %s shows the id that the log has',
  async (path) => {
    const { status, headers, body } = await ask(`${world.issuer}${path}`);
    expect(status).toBeGreaterThanOrEqual(400);
    const id = String(headers['x-request-id']);
    expect(body).toContain(id);
    expect(lines()).toContainEqual(expect.objectContaining({ requestId: id, status, msg: 'answered' }));
  },
);

describe('the log', () => {
  it('is one JSON object a line, one line a request', async () => {
    const before = world.log.length;
    await ask(`${world.issuer}/jwks?secret=query`);
    expect(lines().slice(before)).toEqual([
      expect.objectContaining({ level: 30, msg: 'answered', method: 'GET', route: '/jwks', status: 200 }),
    ]);
  });

  it('holds no password, cookie, code, verifier, token or client secret, of a whole flow and of refusals', async () => {
    const flow = await getCode(world, { scope: 'openid photos.read storage.read offline_access' });
    const issued = (await redeem(world, flow, 'web', { resource: STORAGE })).json as Record<string, string>;
    await introspect(world, String(issued.access_token), world.storageApi);
    await refresh(world, String(issued.refresh_token), 'web', { resource: STORAGE });
    await ask(`${world.issuer}/userinfo`, { headers: { authorization: `Bearer ${issued.access_token}` } });
    await redeem(world, flow, 'web', { resource: STORAGE });
    await post(
      `${world.issuer}/token`,
      { grant_type: 'client_credentials' },
      { basic: { id: 'web', secret: 'wrong-secret-1' } },
    );
    const browser = new TestBrowser(world);
    const form = formTo(await browser.visit('/login'), '/login');
    await browser.submit(form, { username: 'alice', password: 'wrong-password-1' });

    const secrets = {
      password: 'wonderland',
      'wrong password': 'wrong-password-1',
      code: flow.code,
      verifier: flow.verifier,
      'access token': issued.access_token,
      'refresh token': issued.refresh_token,
      'ID token': issued.id_token,
      'client secret': world.web.secret,
      'wrong client secret': 'wrong-secret-1',
      'API secret': world.storageApi.secret,
      'CSRF token': Object.values(form.fields).join('\n'),
      cookie: [...flow.browser.cookies.values()].join('\n'),
      'session of the failed sign-in': [...browser.cookies.values()].join('\n'),
    };
    const log = world.log.join('');
    expect(log).toContain('"route":"/token"');
    for (const [name, value] of Object.entries(secrets)) {
      const parts = (value ?? '').split('\n').filter((part) => part !== '');
      expect(parts, name).not.toEqual([]);
      for (const part of parts) expect(log.includes(part), name).toBe(false);
    }
  });

  it('holds nothing of the rows that PostgreSQL quotes when it refuses one', async () => {
    const script = `
      import pg from 'pg';
      import { createLogger } from './src/server.ts';
      const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
      await client.connect();
      await client.query('CREATE TEMPORARY TABLE kept (secret text, due int NOT NULL)');
      const error = await client.query("INSERT INTO kept VALUES ('secret-of-a-row', NULL)").catch((refused) => refused);
      if (!error.detail.includes('secret-of-a-row')) throw new Error('nothing to hide');
      createLogger('info').error({ err: error }, 'refused');
      await client.end();`;
    const { code, stdout, stderr } = await gatehouse([], {
      env: { DATABASE_URL: world.databaseUrl },
      command: [process.execPath, '--import', 'tsx', '--input-type=module', '--eval', script],
    });
    expect([code, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout)).toMatchObject({ msg: 'refused', err: { code: '23502', stack: expect.any(String) } });
    expect(stdout).not.toContain('secret-of-a-row');
  });
});
