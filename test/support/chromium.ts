/**
 * The browser of the tests: the one named by CHROMIUM_PATH, else an installed one, else the packaged one, so that the
 * tests run on a machine that has none.
 */
import { existsSync } from 'node:fs';
import packaged from '@sparticuz/chromium';
import { type Browser, chromium, type LaunchOptions } from 'playwright-core';

const INSTALLED = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/snap/bin/chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
];

/**
 * Starts a headless Chromium; the caller closes it.
 * @throws Error when CHROMIUM_PATH names no file: a wrong setting must not quietly become another browser
 */
export async function launchChromium(): Promise<Browser> {
  const named = process.env.CHROMIUM_PATH;
  if (named && !existsSync(named)) throw new Error(`CHROMIUM_PATH names no file: ${named}`);
  const path = named || INSTALLED.find((candidate) => existsSync(candidate));
  const options: LaunchOptions = path
    ? { executablePath: path }
    : { executablePath: await packaged.executablePath(), args: packaged.args };
  // Chromium's sandbox refuses to run as root, as in most containers.
  return chromium.launch({ ...options, headless: true, chromiumSandbox: process.getuid?.() !== 0 });
}
