/**
 * Every page as the running server shows it, in the state a person meets it in: axe finds nothing, in light and dark.
 * Pages with every text they must withstand are in views.test.ts.
 */
import { AxeBuilder } from '@axe-core/playwright';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import type { ClientApp } from './client-app.ts';
import { setStage, signIn, signInAndAllow } from './stage.ts';

const stage = setStage();

const STANDARDS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

async function expectAccessible(page: Page): Promise<void> {
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    // Legacy mode leaves out the search in frames, of which there are none.
    const { violations, passes } = await new AxeBuilder({ page }).setLegacyMode(true).withTags(STANDARDS).analyze();
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
    expect(found, colorScheme).toEqual([]);
    expect(
      passes.map(({ id }) => id),
      'what axe looked at',
    ).toContain('color-contrast');
  }
}

const native = {
  application_type: 'native',
  token_endpoint_auth_method: 'none',
  redirect_uris: ['com.example.photos:/callback'],
};

async function signedIn(page: Page): Promise<void> {
  await page.goto(`${stage.world.issuer}/login`);
  await signIn(page);
  await page.waitForURL('**/account');
}

/** Each state: its heading, and how a person comes to it. */
const states: readonly [
  name: string,
  heading: RegExp,
  reach: (page: Page, app: ClientApp, issuer: string) => Promise<unknown>,
][] = [
  ['sign-in for an app', /^Sign in$/, (page, app) => page.goto(app.begin())],
  ['sign-in without one', /^Sign in$/, (page, _app, issuer) => page.goto(`${issuer}/login`)],
  [
    'a wrong password',
    /^Sign in$/,
    async (page, app) => {
      await page.goto(app.begin());
      await signIn(page, 'alice', 'wrong');
      await page.getByRole('alert').waitFor();
    },
  ],
  [
    'asked once more',
    /^Sign in$/,
    async (page, app, issuer) => {
      await signedIn(page);
      expect(page.url()).toBe(`${issuer}/account`);
      await page.goto(app.begin({ prompt: 'login', login_hint: 'alice' }));
    },
  ],
  [
    'the account chooser',
    /^Choose an account$/,
    async (page, app, issuer) => {
      await signedIn(page);
      await page.goto(`${issuer}/login`);
      await signIn(page, 'bob', 'builder');
      await page.waitForURL('**/account');
      await page.goto(app.begin());
      await page.locator('#account-other').waitFor();
    },
  ],
  [
    'consent to claims asked for by name',
    /wants to access your account$/,
    async (page, app) => {
      await page.goto(app.begin({ claims: '{"userinfo":{"birthdate":null,"address":null}}' }));
      await signIn(page);
      await page.locator('#consent-allow').waitFor();
    },
  ],
  [
    'consent',
    /wants to access your account$/,
    async (page, app) => {
      await page.goto(app.begin({ scope: 'openid profile email photos.read photos.write storage.read' }));
      await signIn(page);
      await page.locator('#consent-allow').waitFor();
    },
  ],
  [
    'consent for an app on this device',
    /wants to access your account$/,
    async (page) => {
      const app = await stage.app({ metadata: native });
      await page.goto(app.begin({ redirect_uri: 'com.example.photos:/callback' }));
      await signIn(page);
      await page.locator('#consent-allow').waitFor();
    },
  ],
  ['an error', /^Something is wrong with this request$/, (page, _app, issuer) => page.goto(`${issuer}/authorize`)],
  ['a page that is not there', /^There is nothing here$/, (page, _app, issuer) => page.goto(`${issuer}/nothing`)],
  [
    'the question before signing out',
    /^Sign out\?$/,
    async (page, _app, issuer) => {
      await signedIn(page);
      await page.goto(`${issuer}/logout`);
    },
  ],
  [
    'signed out',
    /^You have been signed out$/,
    async (page, _app, issuer) => {
      await signedIn(page);
      await page.goto(`${issuer}/logout`);
      await page.locator('#logout-confirm').click();
      await page.locator('#sign-in-again').waitFor();
    },
  ],
  [
    'the account with apps',
    /^Alice Liddell$/,
    async (page, app, issuer) => {
      await signInAndAllow(page, app.begin());
      await app.arrivalOn(page);
      await page.goto(`${issuer}/account`);
      await page.locator('#account-apps li.app').first().waitFor();
    },
  ],
  [
    'an access taken back',
    /^Alice Liddell$/,
    async (page, app, issuer) => {
      await signInAndAllow(page, app.begin());
      await app.arrivalOn(page);
      await page.goto(`${issuer}/account`);
      await page.locator('#account-apps li.app button').first().click();
      await page.locator('#account-notice').waitFor();
    },
  ],
  ['home', /^Your account lives here$/, (page, _app, issuer) => page.goto(`${issuer}/`)],
  [
    'home, signed in',
    /^Your account lives here$/,
    async (page, _app, issuer) => {
      await signedIn(page);
      await page.goto(`${issuer}/`);
    },
  ],
];

test.each(states)('%s', async (_name, heading, reach) => {
  const app = await stage.app({
    metadata: { client_name: 'Print Shop', policy_uri: 'https://print-shop.example/privacy' },
  });
  const page = await stage.open({ viewport: { width: 390, height: 844 } });
  await reach(page, app, stage.world.issuer);
  expect(await page.locator('h1').textContent()).toMatch(heading);
  await expectAccessible(page);
});
