/**
 * What people do with browsers: several tabs, the back button, reloads, going away for too long. Every request keeps to
 * itself, is answered once, and what is over says so. Negative tests 19.
 */
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { errorCodeOn, setStage, signIn, signInAndAllow, textOf } from './stage.ts';

const stage = setStage();

async function onConsent(page: Page): Promise<void> {
  await page.waitForURL('**/consent?*');
}

/** The page says that this is over: no way on, no crash. */
async function expectFinished(page: Page): Promise<void> {
  expect(await errorCodeOn(page)).toBe('invalid_request');
  expect(await textOf(page.locator('main'))).toContain('This sign-in is finished.');
}

test('two apps in two tabs, step by step in turn, get an answer each', async () => {
  const [one, two] = [await stage.app(), await stage.app({ host: '127.0.0.1' })];
  const first = await stage.open();
  const second = await first.context().newPage();
  await first.goto(one.begin({ scope: 'openid photos.read' }));
  await second.goto(two.begin({ scope: 'openid storage.read' }));
  await signIn(first);
  await onConsent(first);
  await signIn(second);
  await onConsent(second);
  expect(await textOf(first.locator('main'))).toContain('See your photos');
  expect(await textOf(second.locator('main'))).toContain('Read your files');
  await second.locator('#consent-allow').click();
  expect((await two.arrivalOn(second)).scope).toEqual(['openid', 'storage.read']);
  await first.locator('#consent-allow').click();
  expect((await one.arrivalOn(first)).scope).toEqual(['openid', 'photos.read']);
  expect([one.arrivals.length, two.arrivals.length]).toEqual([1, 1]);
});

test('the same app in two tabs: one says no, the other yes', async () => {
  const app = await stage.app();
  const first = await stage.open();
  const second = await first.context().newPage();
  await first.goto(app.begin());
  await second.goto(app.begin());
  await signIn(first);
  await onConsent(first);
  await signIn(second);
  await onConsent(second);
  await first.locator('#consent-deny').click();
  expect((await app.arrivalOn(first)).error).toBe('access_denied');
  await second.locator('#consent-allow').click();
  expect((await app.arrivalOn(second)).sub).toBe(stage.world.alice);
});

test('a sign-in page that was open while another tab signed in still works', async () => {
  const [one, two] = [await stage.app(), await stage.app()];
  const first = await stage.open();
  const second = await first.context().newPage();
  await first.goto(one.begin());
  await second.goto(two.begin());
  await signIn(first);
  await first.locator('#consent-allow').click();
  await one.arrivalOn(first);
  await signIn(second);
  await second.locator('#consent-allow').click();
  expect((await two.arrivalOn(second)).sub).toBe(stage.world.alice);
  // The first tab is not signed out by it.
  await first.goto(one.begin());
  expect((await one.arrivalOn(first)).sub).toBe(stage.world.alice);
});

test('two people in two tabs of one browser each answer for themselves', async () => {
  const [one, two] = [await stage.app(), await stage.app()];
  const first = await stage.open();
  const second = await first.context().newPage();
  await first.goto(one.begin());
  await second.goto(two.begin());
  await signIn(first, 'alice', 'wonderland');
  await onConsent(first);
  await signIn(second, 'bob', 'builder');
  await onConsent(second);
  await first.locator('#consent-allow').click();
  expect((await one.arrivalOn(first)).sub).toBe(stage.world.alice);
  await second.locator('#consent-allow').click();
  expect((await two.arrivalOn(second)).sub).toBe(stage.world.bob);
});

test('Allow means the person that was shown: after somebody else signed in it is asked anew', async () => {
  const [before, app] = [await stage.app(), await stage.app()];
  const page = await stage.open();
  await signInAndAllow(page, before.begin());
  await before.arrivalOn(page);
  await page.goto(app.begin());
  expect(await textOf(page.locator('main'))).toContain('Alice Liddell');
  const other = await page.context().newPage();
  await other.goto(`${stage.world.issuer}/login`);
  await signIn(other, 'bob', 'builder');
  await other.waitForURL('**/account');

  await page.locator('#consent-allow').click();
  expect(await errorCodeOn(page)).toBe('access_denied');
  expect(app.arrivals).toEqual([]);
  await page.goBack();
  // Now there are two, and which one it is about has to be said first.
  await page.getByRole('button', { name: 'bob' }).click();
  await page.waitForURL('**/consent?*');
  expect(await textOf(page.locator('main'))).toContain('bob');
  await page.locator('#consent-allow').click();
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.bob);
});

test('signed out in another tab: Allow is refused, and the way back leads through sign-in', async () => {
  const app = await stage.app();
  const page = await stage.open();
  await page.goto(app.begin());
  await signIn(page);
  await onConsent(page);
  const other = await page.context().newPage();
  await other.goto(`${stage.world.issuer}/logout`);
  await other.locator('#logout-confirm').click();
  await other.getByRole('heading', { name: 'You have been signed out' }).waitFor();

  await page.locator('#consent-allow').click();
  expect(await errorCodeOn(page)).toBe('access_denied');
  expect(app.arrivals).toEqual([]);
  await page.goBack();
  await signIn(page);
  await page.locator('#consent-allow').click();
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
});

test('back after finishing: pages that say it is over, and no second code', async () => {
  const app = await stage.app();
  const page = await stage.open();
  await page.goto(`${app.origin}/`);
  await signInAndAllow(page, app.begin());
  await app.arrivalOn(page);
  await page.goBack();
  expect(new URL(page.url()).pathname).toBe('/consent');
  await expectFinished(page);
  await page.goBack();
  expect(new URL(page.url()).pathname).toBe('/login');
  await expectFinished(page);
  await page.goBack();
  expect(page.url()).toBe(`${app.origin}/`);
  expect(app.arrivals).toHaveLength(1);
});

test('a page of a finished request that is still open in another tab leads nowhere', async () => {
  const app = await stage.app();
  const page = await stage.open();
  await page.goto(app.begin());
  const login = await page.context().newPage();
  await login.goto(page.url());
  await signIn(page);
  await onConsent(page);
  const consent = await page.context().newPage();
  await consent.goto(page.url());
  await page.locator('#consent-allow').click();
  await app.arrivalOn(page);

  await signIn(login);
  await expectFinished(login);
  await consent.locator('#consent-deny').click();
  await expectFinished(consent);
  expect(app.arrivals).toHaveLength(1);
});

test('reloading a page changes nothing', async () => {
  const app = await stage.app();
  const page = await stage.open();
  await page.goto(app.begin());
  await page.reload();
  await signIn(page);
  await onConsent(page);
  await page.reload();
  await page.reload();
  await page.locator('#consent-allow').click();
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
  expect(app.arrivals).toHaveLength(1);
});

test('back from consent to sign-in, as somebody else', async () => {
  const app = await stage.app();
  const page = await stage.open();
  await page.goto(app.begin());
  await signIn(page, 'alice', 'wonderland');
  await onConsent(page);
  await page.goBack();
  await signIn(page, 'bob', 'builder');
  await page.locator('#consent-allow').click();
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.bob);
});

test('the address of a page is worth nothing in another browser', async () => {
  const app = await stage.app();
  const page = await stage.open();
  await page.goto(app.begin());
  const address = page.url();
  const stranger = await stage.open();
  await stranger.goto(address);
  expect(await errorCodeOn(stranger)).toBe('invalid_request');
  await signIn(page);
  await onConsent(page);
  await stranger.goto(page.url());
  expect(await errorCodeOn(stranger)).toBe('invalid_request');
});

test.each(['#login-submit', '#login-cancel', '#consent-allow'])(
  '%s after sixteen minutes: it has expired',
  async (button) => {
    const app = await stage.app();
    const page = await stage.open();
    await page.goto(app.begin());
    if (button === '#consent-allow') {
      await signIn(page);
      await onConsent(page);
    } else if (button === '#login-submit') {
      await page.locator('#username').fill('alice');
      await page.locator('#password').fill('wonderland');
    }
    stage.world.clock.advance(16 * 60);
    await page.locator(button).click();
    expect(await errorCodeOn(page)).toBe('invalid_request');
    expect(await textOf(page.locator('main'))).toContain('has expired');
    expect(app.arrivals).toEqual([]);
  },
);

test.each([
  ['after eight hours unused', [8 * 3600 + 60]],
  ['after twelve hours, however busy', [5 * 3600, 5 * 3600, 2 * 3600 + 60]],
])('a session ends %s: sign in again', async (_when, waits) => {
  const app = await stage.app({ metadata: { skip_consent: true } });
  const page = await stage.open();
  await page.goto(app.begin());
  await signIn(page);
  await app.arrivalOn(page);
  for (const [index, seconds] of waits.entries()) {
    stage.world.clock.advance(seconds);
    await page.goto(app.begin());
    if (index < waits.length - 1) await app.arrivalOn(page);
  }
  expect(await textOf(page.locator('h1'))).toBe('Sign in');
  await signIn(page);
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
});
