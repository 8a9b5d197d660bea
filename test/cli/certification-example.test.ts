/** examples/certification/register.mjs, as somebody runs it who takes the conformance suite to a server of theirs. */
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { post } from '../support/browser.ts';
import { gatehouse } from '../support/gatehouse.ts';
import { TEST_KEY_ENCRYPTION_KEY } from '../support/template.ts';
import { startWorld, type World } from '../support/world.ts';

// Each starts processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

interface Client {
  readonly client_id: string;
  readonly client_secret: string;
}
type Plans = Record<string, { alias: string; server: { discoveryUrl: string } } & Record<string, unknown>>;

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.close());

const run = (...words: string[]) =>
  gatehouse([], {
    command: [process.execPath, 'examples/certification/register.mjs', ...words],
    env: {
      DATABASE_URL: world.databaseUrl,
      GATEHOUSE_KEY_ENCRYPTION_KEY: TEST_KEY_ENCRYPTION_KEY.toString('base64url'),
    },
  });

function clientsOf(plans: Plans): Client[] {
  const members = Object.values(plans).flatMap((plan) => Object.values(plan));
  return members.filter(
    (member): member is Client => typeof member === 'object' && member !== null && 'client_id' in member,
  );
}

/** Whether the secret is right: with it the code is what is wrong. */
async function errorOf({ client_id: id, client_secret: secret }: Client): Promise<unknown> {
  const fields = { grant_type: 'authorization_code', code: 'x', redirect_uri: 'https://suite.example/' };
  const { json } = id.endsWith('post')
    ? await post(`${world.issuer}/token`, { ...fields, client_id: id, client_secret: secret })
    : await post(`${world.issuer}/token`, fields, { basic: { id, secret } });
  return json.error;
}

it('registers the clients of every plan, prints what the suite asks for, and run again gives new secrets', async () => {
  const runs: Client[][] = [];
  for (let round = 0; round < 2; round += 1) {
    const { code, stdout, stderr } = await run('https://suite.example', 'mine', world.issuer);
    expect([code, stderr]).toEqual([0, '']);
    const plans = JSON.parse(stdout) as Plans;
    expect(Object.keys(plans).join(', ').split(', ')).toEqual([
      'oidcc-basic',
      'oidcc-formpost-basic',
      'oidcc-rp-initiated-logout',
      'oidcc-session-management',
      'oidcc-config',
      'oidcc-backchannel-rp-initiated-logout',
      'oidcc-frontchannel-rp-initiated-logout',
    ]);
    for (const { alias, server } of Object.values(plans)) {
      expect(alias).toBe('mine');
      expect((await fetch(server.discoveryUrl)).status).toBe(200);
    }
    runs.push(clientsOf(plans));
  }
  const [first = [], second = []] = runs;
  expect(first.map(({ client_id }) => client_id).sort()).toEqual(
    ['backchannel', 'client', 'client-secret-post', 'client2', 'frontchannel'].map(
      (name) => `conformance-mine-${name}`,
    ),
  );
  expect(second.map(({ client_id }) => client_id)).toEqual(first.map(({ client_id }) => client_id));
  expect(new Set([...first, ...second].map(({ client_secret }) => client_secret)).size).toBe(10);
  for (const client of second)
    await expect.poll(() => errorOf(client), { timeout: 5000, interval: 50 }).toBe('invalid_grant');
});

it('passes on why a client is refused, and prints no configuration', async () => {
  const { code, stdout, stderr } = await run('http://suite.example', 'refused', world.issuer);
  expect([code, stdout]).toEqual([1, '']);
  expect(stderr).toMatch(/redirect_uris: http is allowed on/);
});

it('says how it is used, and does not go on without the address of the suite', async () => {
  const { code, stdout, stderr } = await run();
  expect([code, stdout]).toEqual([2, '']);
  expect(stderr).toMatch(/^Usage: node examples\/certification\/register\.mjs /);
});
