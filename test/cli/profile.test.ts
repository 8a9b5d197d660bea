/** `gatehouse profile check`: what it finds, for people and for CI. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { profiles } from '../../src/protocol/profile.ts';
import { createDatabase } from '../support/database.ts';
import { gatehouse, Workbench } from '../support/gatehouse.ts';

// Each starts processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

interface Row {
  readonly profile: string;
  readonly clause: string;
  readonly demand: string;
  readonly holds: boolean;
  readonly problem: string;
}

const KEY = { kty: 'EC', crv: 'P-256', kid: 'one', alg: 'ES256' };
const POINT = {
  x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
  y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
};
const LAX = {
  client_id: 'lax',
  redirect_uris: ['http://localhost:4000/callback'],
  grant_types: ['authorization_code'],
  require_pkce: false,
  id_token_signed_response_alg: 'RS256',
};
const STRICT = {
  client_id: 'strict',
  redirect_uris: ['https://strict.example/callback'],
  token_endpoint_auth_method: 'private_key_jwt',
  jwks: { keys: [{ ...KEY, ...POINT }] },
};

const bench = new Workbench();
let database: Awaited<ReturnType<typeof createDatabase>>;
let env: Record<string, string>;
beforeAll(async () => {
  database = await createDatabase({ migrated: true });
  env = {
    DATABASE_URL: database.url,
    GATEHOUSE_DATA: await bench.dataFolder(),
    GATEHOUSE_ISSUER: 'https://id.example',
    GATEHOUSE_TRUSTED_PROXIES: '10.0.0.0/8',
  };
  for (const client of [LAX, STRICT]) {
    const input = JSON.stringify(client);
    expect(await gatehouse(['clients', 'create', '--file', '-'], { env, input })).toMatchObject({ code: 0 });
  }
});
afterAll(async () => {
  await bench.clear();
  await database.drop();
});

async function check(words: string, more: Record<string, string> = {}) {
  const parameters = ['profile', 'check', ...words.split(' ').filter((word) => word !== '')];
  const { code, stdout, stderr } = await gatehouse(parameters, { env: { ...env, ...more } });
  const rows: Row[] = JSON.parse(stdout);
  const problems = Object.fromEntries(
    rows.filter(({ holds }) => !holds).map(({ clause, problem }) => [clause, problem]),
  );
  return { code, rows, problems, stderr };
}

describe('the server', () => {
  it.concurrent.each(profiles.map(({ name }) => name))('holds what its own profile %s demands', async (name) => {
    const { code, rows, problems } = await check('', { GATEHOUSE_PROFILE: name });
    expect(problems).toEqual({});
    expect(rows.length).toBeGreaterThan(5);
    for (const { profile, clause, demand, problem } of rows)
      expect([profile, clause !== '', demand !== '', problem]).toEqual([name, true, true, '']);
    expect(code).toBe(0);
  });

  it('is told only the clauses that the profile demands, and where it is checked against none of FAPI', async () => {
    const lax = await check('');
    expect(lax.rows.filter(({ clause }) => /FAPI|JARM/.test(clause))).toEqual([]);
    expect(lax.stderr).toBe(
      'gatehouse: checked against oauth21, which is configured: for FAPI 2.0 add --profile fapi2-security or --profile fapi2-message-signing.\n',
    );
    const strict = await check('', { GATEHOUSE_PROFILE: 'fapi2-security' });
    expect(strict.rows.filter(({ clause }) => /FAPI 2.0 MS|OAuth 2.1/.test(clause))).toEqual([]);
    expect(strict.rows.length).toBeGreaterThan(lax.rows.length);
    expect(strict.stderr).toBe('');
    expect(await check('--profile oauth21')).toMatchObject({ code: 0, stderr: '' });
  });

  it('is told what a stricter profile would have to change', async () => {
    const { code, problems } = await check('--profile fapi2-message-signing');
    expect(problems).toEqual({
      'FAPI 2.0 SP 5.2.3-3': 'GATEHOUSE_PROFILE: oauth21 serves browser code',
      'FAPI 2.0 SP 5.3.2.1-3, 5.3.2.1-6':
        'GATEHOUSE_PROFILE: oauth21 offers client_secret_basic, client_secret_post, none',
      'FAPI 2.0 SP 5.3.2.1-4, 5.3.2.1-5': 'GATEHOUSE_PROFILE: oauth21 gives tokens that are bound to nothing',
      'FAPI 2.0 SP 5.3.2.1-8': 'GATEHOUSE_PROFILE: oauth21 takes other audiences',
      'FAPI 2.0 SP 5.3.2.1-9': 'GATEHOUSE_PROFILE: oauth21 replaces those of public clients',
      'FAPI 2.0 SP 5.3.2.2-2, 5.3.2.2-3': 'GATEHOUSE_PROFILE: oauth21 takes requests from browsers',
      'FAPI 2.0 SP 5.3.2.2-5': 'GATEHOUSE_PROFILE: oauth21 lets clients do without',
      'FAPI 2.0 SP 5.3.2.2-8': 'GATEHOUSE_PROFILE: oauth21 takes http ones on loopback of all clients',
      'FAPI 2.0 SP 5.4.1-1': 'GATEHOUSE_PROFILE: oauth21 offers RS256',
      'JARM 4, FAPI 2.0 MS 5.4.1': 'GATEHOUSE_PROFILE: oauth21 offers fragment.jwt',
      'FAPI 2.0 MS 5.3.1, 5.4.1, 5.5.1': 'GATEHOUSE_PROFILE: oauth21 does not ask it of them',
    });
    expect(code).toBe(1);
  });

  it('needs https, and somebody who does it', async () => {
    const { code, problems } = await check('', { GATEHOUSE_ISSUER: 'http://localhost:3000' });
    expect(problems).toEqual({
      'OAuth 2.1 1.5': expect.stringMatching(/^GATEHOUSE_ISSUER: http:\/\/localhost:3000 /),
    });
    expect(code).toBe(1);
    const proxyless = await check('', { GATEHOUSE_TRUSTED_PROXIES: '' });
    expect(Object.values(proxyless.problems)).toEqual([expect.stringMatching(/^GATEHOUSE_TLS_CERT: /)]);
  });

  it('is told of an API that was registered under another profile', async () => {
    const api = { resource: 'https://api.example', name: 'API', scopes: { read: 'Read' }, signing_alg: 'RS256' };
    await gatehouse(['resources', 'create', '--file', '-'], { env, input: JSON.stringify(api) });
    const { code, problems } = await check('', { GATEHOUSE_PROFILE: 'fapi2-security' });
    expect(problems).toEqual({
      'FAPI 2.0 SP 5.4.1-1': 'the resource https://api.example: its signing_alg RS256 is none of the profile',
    });
    expect(code).toBe(1);
    await gatehouse(['resources', 'delete', 'https://api.example'], { env });
  });
});

describe('a client', () => {
  it('that was registered under another profile is told every field', async () => {
    expect(await check('lax')).toMatchObject({ code: 0, problems: {} });
    const { code, problems } = await check('lax', { GATEHOUSE_PROFILE: 'fapi2-security' });
    expect(problems).toEqual({
      'FAPI 2.0 SP 5.3.2.1-3, 5.3.2.1-6': expect.stringMatching(/^token_endpoint_auth_method: /),
      'FAPI 2.0 SP 5.3.2.2-5': expect.stringMatching(/^require_pkce: /),
      'FAPI 2.0 SP 5.3.2.2-8': expect.stringMatching(/^redirect_uris: /),
      'FAPI 2.0 SP 5.4.1-1': expect.stringMatching(/^id_token_signed_response_alg: /),
    });
    expect(code).toBe(1);
    expect(await check('lax --profile fapi2-security')).toMatchObject({ code, problems });
  });

  it('that shares no secret holds the Security Profile, and must sign something for Message Signing', async () => {
    expect(await check('strict --profile fapi2-security')).toMatchObject({ code: 0, problems: {} });
    const { code, problems } = await check('strict --profile fapi2-message-signing');
    expect(problems).toEqual({
      'FAPI 2.0 MS 5.3.1, 5.4.1, 5.5.1': expect.stringMatching(/^require_signed_request_object: /),
    });
    expect(code).toBe(1);
  });

  it('that shares no secret is given none, and none can be made for it', async () => {
    const shown = await gatehouse(['clients', 'show', 'strict'], { env });
    expect(JSON.parse(shown.stdout).secrets).toEqual([]);
    expect(await gatehouse(['clients', 'rotate-secret', 'strict'], { env })).toMatchObject({
      code: 1,
      stderr: 'gatehouse: This client authenticates without a secret.\n',
    });
  });

  it('is named among all that a profile forbids, with one exit code', async () => {
    const all = async (words: string) => {
      const { code, stdout } = await gatehouse(['profile', 'check', '--all', ...words.split(' ')], { env });
      return { code, rows: JSON.parse(stdout) as unknown[] };
    };
    const forbidden = await all('--profile fapi2-security');
    expect(forbidden.rows).toEqual(
      expect.arrayContaining([
        {
          client_id: 'lax',
          profile: 'fapi2-security',
          holds: false,
          problem: expect.stringMatching(/require_pkce: .*; /),
        },
        { client_id: 'strict', profile: 'fapi2-security', holds: true, problem: '' },
      ]),
    );
    expect(forbidden.code).toBe(1);
    expect((await all('--profile oauth21')).code).toBe(0);
    const both = await gatehouse(['profile', 'check', 'lax', '--all'], { env });
    expect(both).toMatchObject({ code: 1, stderr: 'gatehouse: --all: goes without a client_id.\n' });
  });

  it('that shows certificates needs a server that they get to', async () => {
    const client = {
      client_id: 'certified',
      redirect_uris: ['https://certified.example/callback'],
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_subject_dn: 'CN=certified',
    };
    const words = ['clients', 'create', '--file', '-'];
    const created = await gatehouse(words, { env, input: JSON.stringify(client) });
    expect(created).toMatchObject({ code: 0, stderr: expect.stringMatching(/tls_client_auth needs a server with/) });
    const { code, problems } = await check('certified');
    expect(problems).toEqual({
      'RFC 8705 2, 3':
        'token_endpoint_auth_method: tls_client_auth needs a server with GATEHOUSE_TLS_CERT or GATEHOUSE_CLIENT_CERT_HEADER, and GATEHOUSE_MTLS_CA',
    });
    expect(code).toBe(1);
    const certificates = { GATEHOUSE_CLIENT_CERT_HEADER: 'rfc9440', GATEHOUSE_MTLS_CA: '/ca.pem' };
    expect(await check('certified', certificates)).toMatchObject({ code: 0, problems: {} });
    await gatehouse(['clients', 'delete', 'certified'], { env });
  });

  it('that does not exist is an error', async () => {
    const { code, stderr } = await gatehouse(['profile', 'check', 'nobody'], { env });
    expect(stderr).toMatch(/gatehouse: There is no such client/);
    expect(code).toBe(1);
  });

  it('is shown as a table to people', async () => {
    const { stdout, code } = await gatehouse(['profile', 'check', 'strict', '--format', 'table'], { env });
    const [head, first] = stdout.split('\n');
    expect(head).toMatch(/^PROFILE +CLAUSE +DEMAND +HOLDS +PROBLEM$/);
    expect(first).toMatch(/^oauth21 +OAuth 2\.1 4 +only grants of the profile +true$/);
    expect(code).toBe(0);
  });
});
