/**
 * Pictures of the running product for a person to look at, in ./screenshots/product (not kept in the repository): each
 * page as somebody meets it who uses the photos demo, at phone and desktop width, in light and dark.
 * `node --conditions=gatehouse-source --import tsx test/support/product-screenshots.ts`
 *
 * It starts `gatehouse dev` with a data folder of its own, and the demo on its fixed ports (4000 to 4003), which must be
 * free. Pages in all their variants are in screenshots.ts.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { startArchiveApi } from '../../examples/photos/archive-api.ts';
import { startPhotosApi } from '../../examples/photos/photos-api.ts';
import { startStorageApi } from '../../examples/photos/storage-api.ts';
import { startWebApp } from '../../examples/photos/web-app.ts';
import { launchChromium } from './chromium.ts';
import { freePort } from './ports.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const FOLDER = join(ROOT, 'screenshots', 'product');
const [WEB, PHOTOS, STORAGE, ARCHIVE] = [
  'http://localhost:4000',
  'http://localhost:4001',
  'http://localhost:4002',
  'http://localhost:4003',
] as const;
const WIDTHS = [
  [390, 844],
  [1280, 800],
] as const;

/** Takes one picture of whatever the page shows. */
type Shoot = (name: string) => Promise<void>;

async function startGatehouse(dataFolder: string): Promise<{ issuer: string; process: ChildProcess }> {
  const port = await freePort();
  const issuer = `http://localhost:${port}`;
  const env = { ...process.env, PORT: String(port), GATEHOUSE_DATA: dataFolder, LOG_LEVEL: 'warn' };
  const started = spawn(process.execPath, ['bin/gatehouse.js', 'dev'], {
    cwd: ROOT,
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  for (let tries = 0; tries < 120; tries += 1) {
    if (started.exitCode !== null) break;
    const ready = await fetch(`${issuer}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (ready) return { issuer, process: started };
    await sleep(250);
  }
  started.kill('SIGTERM');
  throw new Error('gatehouse dev did not become ready');
}

async function startPhotos(issuer: string, dataFolder: string): Promise<{ close(): Promise<unknown> }> {
  const demo = JSON.parse(await readFile(join(dataFolder, 'demo.json'), 'utf8')) as {
    clients: Record<string, { client_secret: string }>;
  };
  const as = (clientId: string) => ({ issuer, clientId, clientSecret: demo.clients[clientId]?.client_secret ?? '' });
  const servers = [
    await startArchiveApi({ issuer, port: 4003, resource: ARCHIVE }),
    await startStorageApi({ ...as('storage-api'), port: 4002, resource: STORAGE, archiveApi: ARCHIVE }),
    await startPhotosApi({
      ...as('photos-api'),
      port: 4001,
      resource: PHOTOS,
      storageApi: STORAGE,
      allowedOrigins: [WEB],
    }),
    await startWebApp({
      ...as('photos-web'),
      port: 4000,
      origin: WEB,
      photosApi: PHOTOS,
      spaClientId: 'photos-spa',
    }),
  ];
  return { close: () => Promise.all(servers.map((server) => server.close())) };
}

async function signIn(page: Page, username: string, password: string): Promise<void> {
  await page.locator('#username').fill(username);
  await page.locator('#password').fill(password);
  await page.locator('#login-submit').click();
}

/** One person's way through the product. */
async function walk(page: Page, issuer: string, shoot: Shoot): Promise<void> {
  await page.goto(issuer);
  await shoot('01-home');
  await page.goto(WEB);
  await shoot('02-photos');
  await page.locator('#sign-in').click();
  await page.locator('#login-submit').waitFor();
  await shoot('03-login');
  await signIn(page, 'alice', 'looking-glass');
  await page.getByRole('alert').waitFor();
  await shoot('04-login-wrong-password');
  await signIn(page, 'alice', 'wonderland');
  await page.locator('#consent-allow').waitFor();
  await shoot('05-consent');
  await page.locator('#consent-allow').click();
  await page.locator('#album').waitFor();
  await shoot('06-album');
  await page.goto(`${WEB}/spa`);
  await page.locator('#sign-in').click();
  await page.locator('#consent-allow').waitFor();
  await shoot('07-consent-on-this-device');
  await page.locator('#consent-allow').click();
  await page.locator('#album img').nth(8).waitFor();
  await shoot('08-album-by-script');
  await page.goto(issuer);
  await shoot('09-home-signed-in');
  await page.goto(`${issuer}/account`);
  await shoot('10-account');
  await page.getByRole('button', { name: 'Remove access of Photos in the Browser' }).click();
  await page.getByRole('status').waitFor();
  await shoot('11-account-access-removed');
  await page.goto(`${issuer}/login`);
  await signIn(page, 'bob', 'builder');
  await page.locator('#account-name').waitFor();
  await shoot('12-account-two-people');
  await page.goto(`${issuer}/authorize?client_id=nobody`);
  await shoot('13-error');
  await page.goto(`${issuer}/nothing-here`);
  await shoot('14-not-found');
  await page.goto(`${issuer}/logout`);
  await shoot('15-logout');
  await page.locator('#logout-confirm').click();
  await page.getByRole('heading', { name: 'You have been signed out' }).waitFor();
  await shoot('16-signed-out');
}

/** Everything afresh for the next walk: what alice allowed is asked again. */
async function forget(browser: Browser, issuer: string): Promise<void> {
  const page = await browser.newPage();
  await page.goto(`${issuer}/login`);
  await signIn(page, 'alice', 'wonderland');
  await page.locator('#account-name').waitFor();
  const remove = page.locator('#account-apps button');
  while ((await remove.count()) > 0) await remove.first().click();
  await page.close();
}

await mkdir(FOLDER, { recursive: true });
const dataFolder = await mkdtemp(join(tmpdir(), 'gatehouse-screenshots-'));
const gatehouse = await startGatehouse(dataFolder);
const { issuer } = gatehouse;
try {
  const photos = await startPhotos(issuer, dataFolder);
  const browser = await launchChromium();
  for (const [width, height] of WIDTHS) {
    for (const colorScheme of ['light', 'dark'] as const) {
      const page = await browser.newPage({ viewport: { width, height }, colorScheme, reducedMotion: 'reduce' });
      await walk(page, issuer, async (name) => {
        await page.screenshot({ path: join(FOLDER, `${name}-${width}-${colorScheme}.png`), fullPage: true });
      });
      await page.close();
      await forget(browser, issuer);
    }
  }
  await browser.close();
  await photos.close();
} finally {
  gatehouse.process.kill('SIGTERM');
  if (gatehouse.process.exitCode === null) await once(gatehouse.process, 'exit');
  await rm(dataFolder, { recursive: true, force: true });
}
