/**
 * Every view with every sample in a real browser, under the content security policy of the pages. What is checked here
 * holds for a page whatever the server puts in it; the flows through the pages are checked elsewhere.
 */
import { AxeBuilder } from '@axe-core/playwright';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { FORM_POST_SCRIPT } from '../../src/protocol/page.ts';
import { launchChromium } from '../support/chromium.ts';
import { HOSTILE, RTL, viewSamples } from '../support/view-samples.ts';
import { serveViews, type ViewServer } from '../support/view-server.ts';

const PHONE = { width: 390, height: 844 };
const DESKTOP = { width: 1280, height: 800 };
const STANDARDS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const CONTROLS = 'a[href], button, input:not([type="hidden"])';
const ids = viewSamples.map(({ id }) => id);

let browser: Browser;
let server: ViewServer;
const complaints: string[] = [];

beforeAll(async () => {
  [browser, server] = await Promise.all([launchChromium(), serveViews()]);
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
});
afterEach(() => {
  expect(server.violations, 'reported against the content security policy').toEqual([]);
  expect(complaints.splice(0), 'said on the console, asked in a dialog, or not found').toEqual([]);
});

/** A page at a sample, in a browser profile of its own; what goes wrong on it fails the test it went wrong in. */
async function visit(path: string, options: BrowserContextOptions = {}): Promise<Page> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on('console', (message) => complaints.push(`${path}: ${message.text()}`));
  page.on('pageerror', (error) => complaints.push(`${path}: ${error.message}`));
  page.on('response', (response) => response.status() >= 400 && complaints.push(`${path}: ${response.url()}`));
  page.on('dialog', async (dialog) => {
    complaints.push(`${path}: dialog ${dialog.message()}`);
    await dialog.dismiss();
  });
  await page.goto(`${server.url}/${path}`);
  return page;
}

/** The same for the length of one test. */
async function open(path: string, options: BrowserContextOptions & { while: (page: Page) => Promise<void> }) {
  const page = await visit(path, options);
  await options.while(page).finally(() => page.context().close());
}

/** Structure and contrast in the light scheme; in the dark one nothing but the colours is different. */
async function expectAccessible(page: Page, circumstance: string): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    // Legacy mode leaves out the search in frames: those there are belong to others, and nobody sees them.
    const axe = new AxeBuilder({ page }).setLegacyMode(true);
    const chosen = colorScheme === 'light' ? axe.withTags(STANDARDS) : axe.withRules('color-contrast');
    const { violations, incomplete } = await chosen.analyze();
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`);
    expect(found, `${circumstance}, ${colorScheme}`).toEqual([]);
    // A contrast axe could not compute would be one it did not check.
    const unchecked = incomplete.filter(({ id }) => id === 'color-contrast').flatMap(({ nodes }) => nodes);
    expect(unchecked.map(({ html, any }) => `${html} ${any[0]?.message}`)).toEqual([]);
  }
}

describe.each(ids)('%s', (id) => {
  let page: Page;
  beforeAll(async () => {
    page = await visit(id);
  });
  afterAll(() => page.context().close());

  test.each([PHONE, DESKTOP])('axe finds nothing, in light and dark, $width pixels wide', async (viewport) => {
    await page.setViewportSize(viewport);
    await expectAccessible(page, `${viewport.width} pixels`);
  });

  test('the keyboard reaches every control, and shows where it is', async () => {
    await page.setViewportSize(PHONE);
    const controls = await page.locator(CONTROLS).count();
    const reached = new Set<number>();
    for (let presses = 0; presses <= controls; presses += 1) {
      await page.keyboard.press('Tab');
      const focus = await focused(page);
      if (focus === null) continue;
      expect(focus, `control ${focus.index}`).toMatchObject({ outline: 'solid 2px', visible: true });
      reached.add(focus.index);
    }
    expect(reached).toEqual(new Set(Array.from({ length: controls }, (_, index) => index)));
  });

  test('nothing is wider than the screen, at 320 pixels and with text at twice its size', async () => {
    await page.setViewportSize({ width: 320, height: 640 });
    expect(await tooWide(page), '320 pixels').toEqual([]);
    await page.setViewportSize(PHONE);
    await page.evaluate("document.documentElement.style.fontSize = '200%'");
    expect(await tooWide(page), 'twice the text').toEqual([]);
  });
});

/** What sticks out to the right, by class; an element may be wide inside one that clips, but none here clips. */
function tooWide(page: Page): Promise<string[]> {
  return page.evaluate(`(() => {
    const root = document.documentElement;
    const wide = [...document.querySelectorAll('body *')].filter((element) =>
      !element.closest('.unseen') && element.getBoundingClientRect().right > root.clientWidth + 0.5);
    return [...(root.scrollWidth > root.clientWidth ? ['the page'] : []), ...wide.map((element) => element.outerHTML)];
  })()`);
}

/** The focused control: its place among the controls, its outline, and whether it is on the screen. */
function focused(page: Page): Promise<{ index: number; outline: string; visible: boolean } | null> {
  return page.evaluate(`(() => {
    const element = document.activeElement;
    if (!element || element === document.body) return null;
    const { outlineStyle, outlineWidth } = getComputedStyle(element);
    const { top, bottom } = element.getBoundingClientRect();
    return {
      index: [...document.querySelectorAll(${JSON.stringify(CONTROLS)})].indexOf(element),
      outline: outlineStyle + ' ' + outlineWidth,
      visible: top < innerHeight && bottom > 0,
    };
  })()`);
}

describe('texts of strangers', () => {
  test.each(ids.filter((id) => id.endsWith('-hostile')))('%s shows markup as the characters it is', async (id) => {
    await open(id, {
      while: async (page) => {
        expect(await page.locator('main').getByText(HOSTILE).first().isVisible()).toBe(true);
        expect(await page.locator('script, style, main img, [onerror], [style], iframe').count()).toBe(0);
        for (const input of await page.locator('input[name="state"], input#username, input[name="client_id"]').all()) {
          expect([HOSTILE, 'print-shop', 'rtl']).toContain(await input.inputValue());
        }
      },
    });
  });

  test('a name that turns its direction around turns nothing else around', async () => {
    let seen = 0;
    for (const { id } of viewSamples.filter(({ page }) => JSON.stringify(page).includes(JSON.stringify(RTL)))) {
      await open(id, {
        while: async (page) => {
          const parents: string[] = await page.evaluate(`(() => {
            const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            const parents = [];
            while (texts.nextNode())
              if (texts.currentNode.data.includes('\\u202e')) parents.push(texts.currentNode.parentElement.localName);
            return parents;
          })()`);
          expect(new Set(parents)).toEqual(new Set(['bdi']));
          seen += parents.length;
        },
      });
    }
    expect(seen).toBeGreaterThan(3);
  });

  test('links of a client tell it nothing about the page', async () => {
    await open('consent', {
      while: async (page) => {
        const links = await page.locator('.links a').evaluateAll((all) => all.map((link) => link.getAttribute('rel')));
        expect(links).toEqual(Array.from({ length: 3 }, () => 'noopener noreferrer'));
      },
    });
  });
});

describe('sign-in', () => {
  test('a refused attempt says so to whoever is in the field', async () => {
    await open('login-error', {
      while: async (page) => {
        const message = await page.getByRole('alert').textContent();
        for (const field of ['#username', '#password']) {
          expect(await page.locator(field).getAttribute('aria-invalid')).toBe('true');
          const described = (await page.locator(field).getAttribute('aria-describedby')) ?? '';
          expect(await page.locator(`#${described}`).textContent()).toBe(message);
        }
        expect(await page.locator('#username').inputValue()).toBe('alice');
        expect(await page.locator('#password').inputValue()).toBe('');
        expect(await page.evaluate('document.activeElement.id')).toBe('password');
      },
    });
  });

  test('a throttled attempt blames no field', async () => {
    await open('login-throttled', {
      while: async (page) => {
        expect(await page.getByRole('alert').count()).toBe(1);
        expect(await page.locator('[aria-invalid]').count()).toBe(0);
      },
    });
  });

  test('there is something to cancel only where an app waits', async () => {
    await open('login', { while: async (page) => expect(await page.locator('#login-cancel').count()).toBe(1) });
    await open('login-account', { while: async (page) => expect(await page.locator('#login-cancel').count()).toBe(0) });
  });
});

test('Allow and Deny are equally easy to reach', async () => {
  await open('consent', {
    viewport: { width: 320, height: 640 },
    while: async (page) => {
      const [deny, allow] = [
        await page.locator('#consent-deny').boundingBox(),
        await page.locator('#consent-allow').boundingBox(),
      ];
      expect(deny?.width).toBe(allow?.width);
      expect(deny?.height).toBe(allow?.height);
      expect(deny?.y).toBe(allow?.y);
    },
  });
});

test('the reference of an error is selected as a whole', async () => {
  await open('error', {
    while: async (page) => {
      await page.locator('#error-reference').click();
      const reference = await page.locator('#error-reference').textContent();
      expect(reference).toMatch(/^[0-9a-f-]{36}$/);
      expect(await page.evaluate('getSelection().toString()')).toBe(reference);
    },
  });
});

describe('form_post', () => {
  test('sends itself where scripts run', async () => {
    await open('form-post', { while: (page) => arrival(page) });
  });

  test('is sent by its button where they do not', async () => {
    await open('form-post', {
      javaScriptEnabled: false,
      while: async (page) => {
        expect(await page.content()).toContain(`<script>${FORM_POST_SCRIPT}</script>`);
        await page.locator('#form-post-continue').click();
        await arrival(page);
      },
    });
  });

  test('is as accessible as the rest', async () => {
    await open('login', {
      while: async (page) => {
        // Without its script the page stays, and axe, which is a script as well, can look at it.
        await page.route('**/form-post', async (route) => {
          const response = await route.fetch();
          await route.fulfill({ response, body: (await response.text()).replace(/<script>.*<\/script>/, '') });
        });
        await page.goto(`${server.url}/form-post`);
        await expectAccessible(page, 'form-post');
      },
    });
  });

  async function arrival(page: Page): Promise<void> {
    await page.getByRole('heading', { name: 'Arrived' }).waitFor();
    expect([...(server.received.at(-1) ?? [])]).toEqual([
      ['code', 'cod_AZhn1f3Y'],
      ['state', HOSTILE],
      ['iss', 'https://id.example'],
    ]);
  }
});

describe('front-channel logout', () => {
  const arrived = (page: Page) => page.getByRole('heading', { name: 'Arrived' }).waitFor();

  test.each([true, false])('loads its frames, then goes on by itself (scripts: %s)', async (javaScriptEnabled) => {
    const before = server.visited.length;
    await open('frontchannel-logout', {
      javaScriptEnabled,
      while: async (page) => {
        await arrived(page);
        const visited = server.visited.slice(before);
        expect(visited.slice(0, -1).sort()).toEqual(['/out?sid=1', '/out?sid=2']);
        expect(visited.at(-1)).toBe('/bye?state=%22');
      },
    });
  });

  test('waits for no frame for long', async () => {
    await open('login', {
      while: async (page) => {
        await page.goto(`${server.url}/frontchannel-logout-hanging`, { waitUntil: 'commit' });
        await page.getByRole('heading', { name: 'You have been signed out' }).waitFor();
        await arrived(page);
      },
    });
  });

  test('is as accessible as the rest', async () => {
    await open('login', {
      while: async (page) => {
        // Kept where it is for axe, which is a script as well.
        await page.route('**/frontchannel-logout', async (route) => {
          const response = await route.fetch();
          const body = (await response.text()).replace(/<script>[\s\S]*<\/script>|<meta http-equiv[^>]*>/g, '');
          await route.fulfill({ response, body });
        });
        await page.goto(`${server.url}/frontchannel-logout`);
        expect(await page.locator('iframe').count()).toBe(2);
        expect(await page.locator('iframe').first().isVisible()).toBe(false);
        await expectAccessible(page, 'frontchannel-logout');
      },
    });
  });
});

describe('what a person asked their system for', () => {
  test.each(['no-preference', 'reduce'] as const)('motion: %s', async (reducedMotion) => {
    await open('login', {
      reducedMotion,
      while: async (page) => {
        const moving: number = await page.evaluate(`[...document.querySelectorAll('*')].filter((element) => {
          const { transitionDuration, animationName } = getComputedStyle(element);
          return transitionDuration.split(', ').some((time) => time !== '0s') || animationName !== 'none';
        }).length`);
        expect(moving > 0).toBe(reducedMotion === 'no-preference');
      },
    });
  });

  test('forced colours: controls keep their edges and the decoration goes', async () => {
    await open('select-account', {
      forcedColors: 'active',
      viewport: DESKTOP,
      while: async (page) => {
        expect(await page.locator('.vault').isVisible()).toBe(false);
        const edges = await page.evaluate("getComputedStyle(document.getElementById('login-cancel')).borderTopColor");
        expect(edges).not.toBe('rgba(0, 0, 0, 0)');
        await page.emulateMedia({ forcedColors: 'none' });
        expect(await page.locator('.vault').isVisible()).toBe(true);
      },
    });
  });

  test.each(['000000', 'ffffff', 'ffff00', '0000ff', 'ff5a5f', '7f7f7f'])(
    'a brand in #%s stays readable',
    async (accent) => {
      for (const id of ['consent', 'account']) {
        await open(`${id}?accent=${accent}`, { viewport: DESKTOP, while: (page) => expectAccessible(page, id) });
      }
    },
  );
});
