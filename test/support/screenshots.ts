/**
 * Pictures of every page for a person to look at, in ./screenshots (not kept in the repository):
 * `node --conditions=gatehouse-source --import tsx test/support/screenshots.ts [sample …]`
 */
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { launchChromium } from './chromium.ts';
import { viewSamples } from './view-samples.ts';
import { serveViews } from './view-server.ts';

const FOLDER = fileURLToPath(new URL('../../screenshots', import.meta.url));
const wanted = process.argv.slice(2);
const ids = [...viewSamples.map(({ id }) => id), 'form-post', 'frontchannel-logout'];

await mkdir(FOLDER, { recursive: true });
const server = await serveViews();
const browser = await launchChromium();
for (const [width, height] of [
  [390, 844],
  [1280, 800],
] as const) {
  for (const colorScheme of ['light', 'dark'] as const) {
    // Without scripts, so that form-post stays where it is.
    const page = await browser.newPage({ viewport: { width, height }, colorScheme, javaScriptEnabled: false });
    for (const id of ids.filter((each) => wanted.length === 0 || wanted.includes(each))) {
      await page.goto(`${server.url}/${id}`);
      await page.screenshot({ path: `${FOLDER}/${id}-${width}-${colorScheme}.png`, fullPage: true });
    }
    await page.close();
  }
}
await browser.close();
await server.close();
