/**
 * The house rules, held. Every import rule is proven by a planted violation: a rule that cannot fail holds nothing. And
 * every line of src/features.ts can be dropped: the server still starts, and says less of itself by just that.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { features } from '../src/features.ts';
import { profiles } from '../src/protocol/profile.ts';
import { startTestServer } from './support/server.ts';

const run = promisify(execFile);
const ROOT = new URL('..', import.meta.url).pathname;

/** Rule → the files that break it. */
const PLANTS: Record<string, Record<string, string>> = {
  'no-cycles': {
    'src/http/one.ts': `import { two } from './two.ts';\nexport const one = () => two;`,
    'src/http/two.ts': `import { one } from './one.ts';\nexport const two = () => one;`,
  },
  'pure-inside': { 'src/protocol/impure.ts': `import { sql } from 'kysely';\nexport const x = sql;` },
  'kernel-knows-no-room': {
    'src/protocol/nosy.ts': `import { room } from '../features/alpha/index.ts';\nexport const x = room;`,
    'src/features/alpha/index.ts': 'export const room = 1;',
  },
  'rooms-share-no-doors': {
    'src/features/beta/index.ts': `import { room } from '../gamma/index.ts';\nexport const x = room;`,
    'src/features/gamma/index.ts': 'export const room = 1;',
  },
  'sql-enters-by-composition': {
    'src/features/delta/index.ts': `import { rows } from './delta.pg.ts';\nexport const x = rows;`,
    'src/features/delta/delta.pg.ts': 'export const rows = 1;',
  },
  'sql-knows-its-room': {
    'src/features/epsilon/epsilon.pg.ts': `import { edge } from '../../http/edge.ts';\nexport const x = edge;`,
    'src/http/edge.ts': 'export const edge = 1;',
  },
  'one-door-for-jose': { 'src/http/signs.ts': `import { SignJWT } from 'jose';\nexport const x = SignJWT;` },
  'one-door-for-argon2': { 'src/http/hashes.ts': `import { hash } from '@node-rs/argon2';\nexport const x = hash;` },
  'one-door-for-ajv': { 'src/http/validates.ts': `import { Ajv } from 'ajv';\nexport const x = Ajv;` },
  'fastify-stays-at-the-edge': {
    'src/postgres/serves.ts': `import Fastify from 'fastify';\nexport const x = Fastify;`,
  },
  'resource-server-stands-alone': {
    'src/resource-server/leans.ts': `import { kernel } from '../protocol/kernel.ts';\nexport const x = kernel;`,
    'src/protocol/kernel.ts': 'export const kernel = 1;',
  },
  'product-does-not-import-tests-or-examples': {
    'src/http/tested.ts': `import { help } from '../../test/help.ts';\nexport const x = help;`,
    'test/help.ts': 'export const help = 1;',
  },
  'no-undeclared-dependency': {
    'src/http/undeclared.ts': `import { chromium } from 'playwright-core';\nexport const x = chromium;`,
  },
};

describe('import rules', () => {
  const rules = createRequire(import.meta.url)('../.dependency-cruiser.cjs') as {
    forbidden: { name: string; comment: string }[];
  };
  let folder: string;
  let violations: { rule: { name: string }; from: string }[];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-plants-'));
    await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    for (const file of ['.dependency-cruiser.cjs', 'tsconfig.json', 'package.json'])
      await cp(join(ROOT, file), join(folder, file));
    for (const [path, source] of Object.values(PLANTS).flatMap((files) => Object.entries(files))) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), source);
    }
    const cruise = [
      join(ROOT, 'node_modules/.bin/depcruise'),
      '--config',
      '.dependency-cruiser.cjs',
      '--output-type',
      'json',
      'src',
    ];
    const output = await run(process.execPath, cruise, { cwd: folder, maxBuffer: 1e8 }).catch(
      (error: { stdout: string }) => error,
    );
    violations = JSON.parse(output.stdout).summary.violations;
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('has a plant for every rule, and a comment saying what to do instead', () => {
    expect(Object.keys(PLANTS).sort()).toEqual(rules.forbidden.map(({ name }) => name).sort());
    for (const { comment } of rules.forbidden) expect(comment.length).toBeGreaterThan(40);
  });

  it.each(Object.entries(PLANTS))('%s catches its plant', (rule, files) => {
    const [culprit] = Object.keys(files);
    expect(violations.filter(({ from }) => from === culprit).map((violation) => violation.rule.name)).toContain(rule);
  });

  it('finds nothing in the house itself', async () => {
    const depcruise = join(ROOT, 'node_modules/.bin/depcruise');
    const { stdout } = await run(
      process.execPath,
      [depcruise, '--config', '.dependency-cruiser.cjs', '--output-type', 'json', 'src'],
      {
        cwd: ROOT,
        maxBuffer: 1e8,
      },
    );
    const { summary } = JSON.parse(stdout);
    expect(summary.violations).toEqual([]);
    // A cruise that reads no TypeScript finds nothing either.
    expect(summary.totalCruised).toBeGreaterThan(80);
  });
});

describe('what a text search can hold', () => {
  /** [what, where it is looked for, where it may stand] */
  const BANS: [title: string, pattern: RegExp, among: RegExp, except: RegExp][] = [
    ['the database is never asked for the time', /(?<![.\w])now\(\)|current_timestamp/i, /\.pg\.ts$/, /^$/],
    ['columns are enumerated', /SELECT\s+\*|RETURNING\s+\*/i, /^src\//, /^$/],
    ['the environment is read by the commands only', /process\.env/, /^src\//, /^src\/cli\//],
    [
      "a profile's name stands in profile.ts only",
      new RegExp(profiles.map(({ name }) => `'${name}'`).join('|')),
      /^src\//,
      /profile\.ts$/,
    ],
    [
      'time and chance come from Context',
      /Date\.now\(|new Date\(\)|Math\.random|randomBytes|randomUUID/,
      /^src\/(protocol|features)\//,
      /^$/,
    ],
    ['token paths never NOTIFY', /pg_notify/i, /^src\//, /catalogue-version\.ts$/],
  ];

  const violates = (pattern: RegExp, source: string) => pattern.test(source.replace(/^\s*(\/?\*|\/\/).*$/gm, ''));

  it.each(BANS)('%s', async (_title, pattern, among, except) => {
    const files = (await readdir(join(ROOT, 'src'), { recursive: true }))
      .map((file) => `src/${file}`)
      .filter((file) => file.endsWith('.ts'));
    const searched = files.filter((file) => among.test(file) && !except.test(file));
    expect(searched.length).toBeGreaterThan(5);
    const found = [];
    for (const file of searched) {
      if (violates(pattern, await readFile(join(ROOT, file), 'utf8'))) found.push(file);
    }
    expect(found).toEqual([]);
  });

  it.each([
    ['SELECT x FROM t WHERE at < now()', 0],
    ['SELECT * FROM t', 1],
    ['const url = process.env.X', 2],
    ["if (profile === 'oauth21')", 3],
    ['const at = new Date();', 4],
    ["SELECT pg_notify('x', '')", 5],
  ])('would catch %s', (source, ban) => {
    expect(violates(BANS[ban]?.[1] ?? /$^/, source)).toBe(true);
  });
});

describe('features.ts', () => {
  const metadataOf = async (issuer: string) => {
    const response = await fetch(`${issuer}/.well-known/openid-configuration`);
    return response.ok ? ((await response.json()) as Record<string, unknown>) : undefined;
  };

  /** What the metadata loses with a line: top-level names, or members of the lists, by themselves or under their name. */
  const LOSES: Record<string, string[]> = {
    'client-secret': ['client_secret_basic', 'client_secret_post'],
    'private-key-jwt': ['private_key_jwt', 'token_endpoint_auth_signing_alg_values_supported'],
    'public-client': ['token_endpoint_auth_methods_supported none'],
    mtls: ['self_signed_tls_client_auth', 'tls_client_certificate_bound_access_tokens'],
    'authorization-endpoint': [
      'authorization_endpoint',
      'authorization_response_iss_parameter_supported',
      'request_uri_parameter_supported',
      'claims_parameter_supported',
      'prompt_values_supported',
      'acr_values_supported',
    ],
    'token-endpoint': [
      'token_endpoint',
      'token_endpoint_auth_methods_supported',
      'openid',
      'subject_types_supported',
      'id_token_signing_alg_values_supported',
      'id_token_encryption_alg_values_supported',
      'at_hash',
    ],
    'authorization-code': ['code', 'query', 'authorization_code', 'code_challenge_methods_supported'],
    jar: [
      'request_parameter_supported',
      'request_object_signing_alg_values_supported',
      'request_object_encryption_alg_values_supported',
      'request_object_encryption_enc_values_supported',
    ],
    jarm: ['jwt', 'authorization_signing_alg_values_supported'],
    'form-post': ['form_post'],
    par: ['pushed_authorization_request_endpoint', 'require_pushed_authorization_requests'],
    'refresh-token': ['refresh_token', 'offline_access'],
    'client-credentials': ['client_credentials'],
    'token-exchange': ['urn:ietf:params:oauth:grant-type:token-exchange'],
    'jwt-bearer': ['urn:ietf:params:oauth:grant-type:jwt-bearer'],
    dpop: ['dpop_signing_alg_values_supported'],
    introspection: ['introspection_endpoint', 'introspection_endpoint_auth_methods_supported'],
    revocation: ['revocation_endpoint', 'revocation_endpoint_auth_methods_supported'],
    userinfo: ['userinfo_endpoint', 'userinfo_signing_alg_values_supported', 'email', 'email_verified'],
    discovery: ['issuer', 'jwks_uri'],
    'key-rotation': [],
    login: [],
    'select-account': [],
    consent: [],
    logout: ['end_session_endpoint'],
    'backchannel-logout': ['backchannel_logout_supported', 'backchannel_logout_session_supported'],
    'frontchannel-logout': ['frontchannel_logout_supported', 'frontchannel_logout_session_supported'],
    'session-management': ['check_session_iframe'],
    account: [],
  };

  const words = (metadata: Record<string, unknown> | undefined) =>
    new Set(
      Object.entries(metadata ?? {}).flatMap(([name, value]) => [
        name,
        ...(Array.isArray(value) ? value.flatMap((member) => [String(member), `${name} ${member}`]) : []),
      ]),
    );

  /** What is offered only where it can work, can work here: client certificates, from a proxy. */
  const env = { GATEHOUSE_TRUSTED_PROXIES: '127.0.0.1', GATEHOUSE_CLIENT_CERT_HEADER: 'rfc9440' };

  it('boots without any one line, and the metadata loses just that', async () => {
    const whole = await startTestServer({ env });
    const all = words(await metadataOf(whole.issuer));
    const names = whole.running.features;
    await whole.close();
    expect(names).toEqual(Object.keys(LOSES));
    for (const [index, name] of names.entries()) {
      const server = await startTestServer({ env, features: features.filter((_line, position) => position !== index) });
      const left = words(await metadataOf(server.issuer));
      await server.close();
      const lost = [...all].filter((word) => !left.has(word));
      if (name === 'discovery') expect(left.size).toBe(0);
      else {
        for (const word of LOSES[name] ?? []) expect(lost, name).toContain(word);
        if (LOSES[name]?.length === 0) expect(lost, name).toEqual([]);
      }
      expect(
        [...left].filter((word) => !all.has(word)),
        name,
      ).toEqual([]);
    }
  }, 120_000);
});
