/** Several people at one browser, in Chromium. OpenID Connect Core §3.1.2.1, §3.1.2.3. */
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { setStage, signIn, textOf } from './stage.ts';

const stage = setStage();

/** Alice's browser, at which bob has signed in too. */
async function sharedBrowser(): Promise<Page> {
  const page = await stage.open();
  for (const [username, password] of [
    ['alice', 'wonderland'],
    ['bob', 'builder'],
  ] as const) {
    await page.goto(`${stage.world.issuer}/login`);
    await signIn(page, username, password);
    await page.waitForURL('**/account');
  }
  return page;
}

const firstParty = () => stage.app({ metadata: { client_name: 'Print Shop', skip_consent: true } });
const account = (page: Page, name: string) => page.getByRole('button', { name });

test('the app asks, the person chooses, and the app is told of that one', async () => {
  const [app, page] = [await firstParty(), await sharedBrowser()];
  await page.goto(app.begin());
  expect(await page.locator('h1').textContent()).toBe('Choose an account');
  expect(await textOf(page.locator('main'))).toContain('Print Shop');
  expect(await page.locator('button.choice').count()).toBe(2);
  await account(page, 'Alice Liddell').click();
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
  await page.goto(app.begin());
  await account(page, 'bob').click();
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.bob);
});

test('two tabs, two people', async () => {
  const [app, first] = [await firstParty(), await sharedBrowser()];
  const second = await first.context().newPage();
  await first.goto(app.begin());
  await second.goto(app.begin());
  await account(second, 'bob').click();
  expect((await app.arrivalOn(second)).sub).toBe(stage.world.bob);
  await account(first, 'Alice Liddell').click();
  expect((await app.arrivalOn(first)).sub).toBe(stage.world.alice);
});

test('another account signs in, and is offered the next time', async () => {
  const [app, page] = [await firstParty(), await stage.open()];
  await page.goto(app.begin());
  await signIn(page);
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
  await page.goto(app.begin({ prompt: 'select_account' }));
  expect(await page.locator('button.choice').count()).toBe(1);
  await page.locator('#account-other').click();
  await page.waitForURL('**/login?*');
  await page.locator('#username:focus').waitFor();
  await signIn(page, 'bob', 'builder');
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.bob);
  await page.goto(app.begin({ prompt: 'select_account' }));
  expect(await page.locator('button.choice').count()).toBe(2);
});

test('cancelled: the app is told access_denied', async () => {
  const [app, page] = [await firstParty(), await sharedBrowser()];
  await page.goto(app.begin());
  await page.locator('#login-cancel').click();
  expect((await app.arrivalOn(page)).error).toBe('access_denied');
});

test('by keyboard alone, without JavaScript', async () => {
  const [app, page] = [await firstParty(), await stage.open({ javaScriptEnabled: false })];
  for (const [username, password] of [
    ['alice', 'wonderland'],
    ['bob', 'builder'],
  ] as const) {
    await page.goto(`${stage.world.issuer}/login`);
    await signIn(page, username, password);
    await page.waitForURL('**/account');
  }
  await page.goto(app.begin());
  await account(page, 'Alice Liddell').focus();
  await page.keyboard.press('Enter');
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
});

test('the one who was chosen is asked for the password alone where the app wants a fresh sign-in', async () => {
  const [app, page] = [await firstParty(), await sharedBrowser()];
  stage.world.clock.advance(30);
  await page.goto(app.begin({ max_age: '20' }));
  await account(page, 'Alice Liddell').click();
  await page.waitForURL('**/login?*');
  expect(await page.locator('#username').inputValue()).toBe('alice');
  expect(await textOf(page.locator('main'))).toContain('confirm that it is you');
  await page.locator('#password:focus').waitFor();
  await page.keyboard.type('wonderland');
  await page.keyboard.press('Enter');
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
});
