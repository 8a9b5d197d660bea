/** `gatehouse logouts list`, and the commands whose doing it shows, as processes beside a running server. */
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { authorizePath, decide, pkce, responseOf, type TestBrowser } from '../support/browser.ts';
import { gatehouse } from '../support/gatehouse.ts';
import { getCode, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

// Each starts processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let world: World;
beforeAll(async () => {
  world = await startWorld();
  // Nobody may be called there: what is queued stays in the outbox, with the reason.
  for (const client_id of ['one', 'two'])
    await world.client({
      client_id,
      redirect_uris: [WEB_REDIRECT],
      scope: 'openid',
      backchannel_logout_uri: `https://127.0.0.1/${client_id}`,
    });
});
afterAll(() => world.close());

async function run(words: string): Promise<Record<string, unknown>[]> {
  const { code, stdout, stderr } = await gatehouse(words.split(' '), { env: { DATABASE_URL: world.databaseUrl } });
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout) as Record<string, unknown>[];
}

async function signInAt(clientId: string, browser: TestBrowser): Promise<void> {
  const parameters = { client_id: clientId, redirect_uri: WEB_REDIRECT, scope: 'openid' };
  const page = await browser.visit(authorizePath({ ...parameters, code_challenge: pkce().challenge }));
  const last = page.url.includes('/consent') ? await decide(browser, page) : page;
  expect(responseOf(last).get('code')).not.toBeNull();
}

it('shows the client of a grant that was revoked, then all clients of a session that was ended, and why none is reached', async () => {
  const { browser } = await getCode(world);
  for (const clientId of ['one', 'two']) await signInAt(clientId, browser);
  expect(await run('logouts list')).toEqual([]);

  const [grant] = await run('grants list --client one');
  await run(`grants revoke ${grant?.id}`);
  const pending = {
    client_id: 'one',
    user_id: world.alice,
    username: 'alice',
    state: 'pending',
    sign_in_id: expect.any(String),
    queued_at: expect.any(String),
    attempts: expect.any(Number),
    next_attempt_at: expect.any(String),
    delivered_at: null,
    failed_at: null,
    last_error: 'the host is not a public one',
  };
  await expect.poll(() => run('logouts list'), { timeout: 60_000 }).toEqual([pending]);

  const [session] = await run('sessions list --user alice');
  await run(`sessions end ${session?.session_id}`);
  await expect
    .poll(() => run('logouts list --client two --state pending'), { timeout: 60_000 })
    .toEqual([{ ...pending, client_id: 'two', sign_in_id: session?.sign_in_id }]);
  expect(await run('logouts list')).toHaveLength(2);
  expect(await run('logouts list --limit 1')).toHaveLength(1);
  expect(await run('logouts list --state delivered')).toEqual([]);
});

it('shows a user who was disabled', async () => {
  const { browser } = await getCode(world);
  await signInAt('two', browser);
  const before = (await run('logouts list --client two')).length;
  await run('users disable alice');
  await expect.poll(async () => (await run('logouts list --client two')).length, { timeout: 60_000 }).toBe(before + 1);
});

it('takes no state there is not', async () => {
  const { code, stderr } = await gatehouse(['logouts', 'list', '--state', 'lost']);
  expect(stderr).toMatch(/--state.*pending, delivered, failed.*\(see gatehouse logouts list --help\)/);
  expect(code).toBe(2);
});
