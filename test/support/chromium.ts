/**
 * The browser of the tests: the one CHROMIUM_PATH names, else an installed one, else the packaged one with the libraries
 * and fonts that come with it, so that the tests run on a machine that has none of them.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Browser, chromium, type LaunchOptions } from 'playwright-core';

const INSTALLED = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
];
const CACHE = fileURLToPath(new URL('../../node_modules/.cache', import.meta.url));

/**
 * Starts a headless Chromium; the caller closes it.
 * @throws Error when CHROMIUM_PATH names no file: a wrong setting must not quietly become another browser
 */
export async function launchChromium(): Promise<Browser> {
  const named = process.env.CHROMIUM_PATH;
  if (named && !existsSync(named)) throw new Error(`CHROMIUM_PATH names no file: ${named}`);
  const path = named || INSTALLED.find((candidate) => existsSync(candidate));
  const options = path ? { executablePath: path, chromiumSandbox: process.getuid?.() !== 0 } : await unpackChromium();
  return chromium.launch({ ...options, headless: true });
}

/**
 * Unpacks `@sparticuz/chromium` once for the checkout: into a folder of its own that is then renamed, since two test
 * workers may do it at the same time and the package itself would hand one of them the other's half-written file.
 *
 * Its own `args` are left out: they are for a cloud function that opens one page, and switch off web security, which
 * the tests are about. Its sandbox is off because it brings no helper that could set one up for a common user.
 */
async function unpackChromium(): Promise<LaunchOptions> {
  const home = `${CACHE}/chromium`;
  if (!existsSync(home)) {
    await mkdir(CACHE, { recursive: true });
    const staging = await mkdtemp(`${CACHE}/chromium-`);
    // The package unpacks into the temporary folder, and its libraries only where it believes to be in a build service.
    const script = fileURLToPath(new URL('./unpack-chromium.mjs', import.meta.url));
    await promisify(execFile)(process.execPath, [script], {
      env: { ...process.env, TMPDIR: staging, CODEBUILD_BUILD_IMAGE: 'nodejs20' },
    });
    await writeFile(`${staging}/fonts.xml`, fontConfiguration(home));
    await rename(staging, home).catch(async (error) => {
      await rm(staging, { recursive: true });
      if (!existsSync(home)) throw error;
    });
  }
  return {
    executablePath: `${home}/chromium`,
    chromiumSandbox: false,
    env: { ...process.env, LD_LIBRARY_PATH: `${home}/al2023/lib`, FONTCONFIG_FILE: `${home}/fonts.xml` },
  };
}

function fontConfiguration(home: string): string {
  const folders = ['/usr/share/fonts', `${home}/fonts`].map((folder) => `<dir>${folder}</dir>`).join('');
  return `<?xml version="1.0"?><fontconfig>${folders}<cachedir>${home}/fonts-cache</cachedir></fontconfig>`;
}
