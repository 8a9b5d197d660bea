/** Signing in, by a person in Chromium at an app on another origin. OpenID Connect Core §3.1.2.3, §3.1.2.6. */
import { expect, test } from 'vitest';
import { setStage, signIn, signInAndAllow, textOf } from './stage.ts';

const stage = setStage();

test.each([
  ['user name', 'alice'],
  ['e-mail', 'alice@people.example'],
  ['e-mail in capitals', 'Alice@People.Example'],
])('by %s', async (_kind, username) => {
  const app = await stage.app();
  const page = await stage.open();
  await page.goto(app.begin());
  expect(await page.locator('h1').textContent()).toBe('Sign in');
  await signIn(page, username);
  await page.locator('#consent-allow').click();
  expect(await app.arrivalOn(page)).toMatchObject({ sub: stage.world.alice, scope: ['openid', 'photos.read'] });
});

test('the page names the app that asks, and where it is', async () => {
  const app = await stage.app({ metadata: { client_name: 'Print Shop' } });
  const page = await stage.open();
  await page.goto(app.begin());
  const text = await textOf(page.locator('main'));
  expect(text).toContain('Print Shop');
  expect(text).toContain(new URL(app.origin).host);
});

test('a wrong password is said aloud, and only the password has to be typed again', async () => {
  const app = await stage.app({ metadata: { skip_consent: true } });
  const page = await stage.open();
  await page.goto(app.begin());
  await signIn(page, 'alice', 'looking-glass');
  const alert = page.getByRole('alert');
  expect(await textOf(alert)).toBe('The user name or the password is not right.');
  expect(await page.locator('#username').inputValue()).toBe('alice');
  expect(await page.locator('#password').inputValue()).toBe('');
  await page.locator('#password:focus').waitFor();
  // The request is not lost: the right password goes on where the wrong one stopped.
  await page.keyboard.type('wonderland');
  await page.keyboard.press('Enter');
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
});

test('an unknown name is told the same as a wrong password', async () => {
  const app = await stage.app();
  const page = await stage.open();
  await page.goto(app.begin());
  await signIn(page, 'nobody', 'looking-glass');
  expect(await textOf(page.getByRole('alert'))).toBe('The user name or the password is not right.');
});

test('by keyboard alone, from the first field to the app', async () => {
  const app = await stage.app();
  const page = await stage.open();
  await page.goto(app.begin());
  await page.locator('#username:focus').waitFor(); // nobody has to look for the first field
  await page.keyboard.type('alice');
  await page.keyboard.press('Tab');
  await page.keyboard.type('wonderland');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/consent?*');
  for (let presses = 0; presses < 20; presses += 1) {
    await page.keyboard.press('Tab');
    if ((await page.evaluate('document.activeElement.id')) === 'consent-allow') break;
  }
  expect(await page.evaluate('document.activeElement.id')).toBe('consent-allow');
  await page.keyboard.press('Enter');
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
});

test('without JavaScript', async () => {
  const app = await stage.app();
  const page = await stage.open({ javaScriptEnabled: false });
  await signInAndAllow(page, app.begin());
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
});

test('cancelled: the app is told access_denied, with its state and who says so', async () => {
  const app = await stage.app();
  const page = await stage.open();
  await page.goto(app.begin({ state: 'as it was sent' }));
  await page.locator('#login-cancel').click();
  await page.waitForURL(`${app.redirectUri}?*`);
  const answer = new URL(page.url()).searchParams;
  expect(answer.get('error')).toBe('access_denied');
  expect(answer.get('state')).toBe('as it was sent');
  expect(answer.get('iss')).toBe(stage.world.issuer);
  expect(answer.has('code')).toBe(false);
});

test('who is signed in goes straight through, to a second app as well', async () => {
  const [first, second] = [await stage.app(), await stage.app({ metadata: { skip_consent: true } })];
  const page = await stage.open();
  await signInAndAllow(page, first.begin());
  await first.arrivalOn(page);
  for (const app of [first, second]) {
    const visited: string[] = [];
    page.on('framenavigated', (frame) => visited.push(new URL(frame.url()).pathname));
    await page.goto(app.begin());
    expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
    expect(visited).toEqual(['/callback']);
    page.removeAllListeners('framenavigated');
  }
});

test('prompt=login asks again, once, and says why', async () => {
  const app = await stage.app();
  const page = await stage.open();
  await signInAndAllow(page, app.begin());
  await app.arrivalOn(page);
  await page.goto(app.begin({ prompt: 'login' }));
  expect(await textOf(page.locator('main'))).toContain('confirm that it is you');
  await signIn(page);
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
});

test('prompt=none: login_required without a session, a code with one', async () => {
  const app = await stage.app();
  const page = await stage.open();
  await page.goto(app.begin({ prompt: 'none' }));
  expect((await app.arrivalOn(page)).error).toBe('login_required');
  await signInAndAllow(page, app.begin());
  await app.arrivalOn(page);
  await page.goto(app.begin({ prompt: 'none' }));
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
});

test('a sign-in of its own, without an app, ends at the account page', async () => {
  const page = await stage.open();
  await page.goto(`${stage.world.issuer}/`);
  await page.locator('#home-sign-in').click();
  expect(await page.locator('#login-cancel').count()).toBe(0);
  await signIn(page);
  await page.waitForURL(`${stage.world.issuer}/account`);
  expect(await page.locator('#account-username').textContent()).toBe('alice');
  await page.goto(`${stage.world.issuer}/`);
  await page.locator('#home-account').click();
  await page.waitForURL(`${stage.world.issuer}/account`);
});

test('scripts cannot read the cookies, and the session cookie is another one after sign-in', async () => {
  const page = await stage.open();
  const session = async () => (await page.context().cookies()).find(({ name }) => name.includes('session'));
  await page.goto(`${stage.world.issuer}/login`);
  await signIn(page);
  await page.waitForURL(`${stage.world.issuer}/account`);
  expect(await page.evaluate('document.cookie')).toBe('');
  const before = await session();
  expect(before).toMatchObject({ httpOnly: true, sameSite: 'Lax', path: '/' });
  await page.goto(`${stage.world.issuer}/login`);
  await signIn(page);
  await page.waitForURL(`${stage.world.issuer}/account`);
  expect((await session())?.value).not.toBe(before?.value);
});
