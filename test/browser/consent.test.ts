/** Consent, read and answered by a person in Chromium. RFC 6749 §3.3, RFC 8252 §8.6, OpenID Connect Core §3.1.2.4. */
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { setStage, signIn, signInAndAllow, textOf } from './stage.ts';

const stage = setStage();

/** Whether a person is asked on the way back to the app; answers with Allow where that is so. */
async function isAsked(page: Page, address: string, origin: string): Promise<boolean> {
  await page.goto(address);
  await page.waitForURL((url) => url.origin === origin || url.pathname === '/consent');
  if (new URL(page.url()).origin === origin) return false;
  await page.locator('#consent-allow').click();
  return true;
}

test('says who asks, for what at which API, as whom, and where one goes afterwards', async () => {
  const app = await stage.app({ host: '127.0.0.1' });
  const other = await stage.app({
    metadata: {
      client_name: 'Print Shop',
      client_uri: 'https://print-shop.example/',
      policy_uri: 'https://print-shop.example/privacy',
      tos_uri: 'https://print-shop.example/terms',
      redirect_uris: [app.redirectUri],
    },
  });
  const page = await stage.open();
  await page.goto(
    other.begin({ redirect_uri: app.redirectUri, scope: 'openid email photos.read photos.write storage.read' }),
  );
  await signIn(page);
  expect(await textOf(page.locator('h1'))).toContain('Print Shop');
  const text = await textOf(page.locator('main'));
  for (const words of [
    'print-shop.example',
    'Alice Liddell',
    'Know who you are',
    'See your e-mail address',
    'Photos',
    'photos.example',
    'See your photos',
    'Add photos',
    'Storage',
    'storage.example',
    'Read your files',
    new URL(app.origin).host,
  ])
    expect(text).toContain(words);
  for (const scope of ['photos.read', 'storage.read', 'openid']) expect(text).not.toContain(scope);
  const links = await page.locator('main a[rel]').evaluateAll((all) => all.map((link) => link.getAttribute('href')));
  expect(links.sort()).toEqual([
    'https://print-shop.example/',
    'https://print-shop.example/privacy',
    'https://print-shop.example/terms',
  ]);
});

test('Allow gives what was asked for, and nothing more', async () => {
  const app = await stage.app();
  const page = await stage.open();
  await signInAndAllow(page, app.begin({ scope: 'openid photos.read' }));
  expect(await app.arrivalOn(page)).toMatchObject({ sub: stage.world.alice, scope: ['openid', 'photos.read'] });
});

test('Deny goes back with access_denied, state and iss, and is not held against the app', async () => {
  const app = await stage.app();
  const page = await stage.open();
  await page.goto(app.begin());
  await signIn(page);
  await page.locator('#consent-deny').click();
  const { error, answer } = await app.arrivalOn(page);
  expect(error).toBe('access_denied');
  expect(answer.get('iss')).toBe(stage.world.issuer);
  expect(answer.has('code')).toBe(false);
  expect(await isAsked(page, app.begin(), app.origin)).toBe(true);
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
});

test('is remembered, in another browser too', async () => {
  const app = await stage.app();
  const page = await stage.open();
  await signInAndAllow(page, app.begin());
  await app.arrivalOn(page);
  expect(await isAsked(page, app.begin(), app.origin)).toBe(false);
  expect(await isAsked(page, app.begin({ scope: 'openid' }), app.origin), 'for less').toBe(false);
  const elsewhere = await stage.open();
  await elsewhere.goto(app.begin());
  await signIn(elsewhere);
  expect((await app.arrivalOn(elsewhere)).sub).toBe(stage.world.alice);
});

test('is asked again for more, and then shows all of it', async () => {
  const app = await stage.app();
  const page = await stage.open();
  await signInAndAllow(page, app.begin({ scope: 'openid photos.read' }));
  await app.arrivalOn(page);
  await page.goto(app.begin({ scope: 'openid photos.read photos.write' }));
  const text = await textOf(page.locator('main'));
  for (const words of ['Know who you are', 'See your photos', 'Add photos']) expect(text).toContain(words);
  await page.locator('#consent-allow').click();
  expect((await app.arrivalOn(page)).scope).toEqual(['openid', 'photos.read', 'photos.write']);
});

test('prompt=consent asks once more', async () => {
  const app = await stage.app();
  const page = await stage.open();
  await signInAndAllow(page, app.begin());
  await app.arrivalOn(page);
  expect(await isAsked(page, app.begin({ prompt: 'consent' }), app.origin)).toBe(true);
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
});

test('"Not you?" lets somebody else sign in, and the code is theirs', async () => {
  const app = await stage.app();
  const page = await stage.open();
  await page.goto(app.begin());
  await signIn(page, 'alice', 'wonderland');
  expect(await textOf(page.locator('main'))).toContain('Alice Liddell');
  await page.locator('#account-other').click();
  await page.waitForURL('**/select-account?*');
  await page.locator('#account-other').click();
  await signIn(page, 'bob', 'builder');
  const text = await textOf(page.locator('main'));
  expect(text).toContain('bob');
  expect(text).not.toContain('Alice');
  await page.locator('#consent-allow').click();
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.bob);
  // Both are signed in with this browser; alice has allowed nothing.
  await page.goto(`${stage.world.issuer}/account`);
  expect(await page.locator('#account-sign-ins li').count()).toBe(2);
  const alice = await stage.open();
  await alice.goto(app.begin());
  await signIn(alice);
  await alice.waitForURL('**/consent?*');
});

test('one person may not need to be asked while another does', async () => {
  const app = await stage.app();
  const [alice, bob] = [await stage.open(), await stage.open()];
  await signInAndAllow(alice, app.begin());
  await app.arrivalOn(alice);
  await bob.goto(app.begin());
  await signIn(bob, 'bob', 'builder');
  await bob.waitForURL('**/consent?*');
});

test('a public client on loopback is always asked for: any program here could be it', async () => {
  // A native app: registered without a port, listening on whichever was free (RFC 8252 §7.3).
  const app = await stage.app({
    host: '127.0.0.1',
    metadata: {
      client_name: 'Photos Desktop',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      redirect_uris: ['http://127.0.0.1/callback'],
    },
  });
  const page = await stage.open();
  await page.goto(app.begin());
  await signIn(page);
  for (let time = 1; time <= 2; time += 1) {
    expect(await textOf(page.locator('main'))).toContain('an app on this device');
    await page.locator('#consent-allow').click();
    expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
    await page.goto(app.begin());
  }
  await page.goto(app.begin({ prompt: 'none' }));
  expect((await app.arrivalOn(page)).error).toBe('consent_required');
});

test('an app behind a scheme of its own is gone to when allowed, under the policy of the page', async () => {
  const app = await stage.app({
    metadata: {
      client_name: 'Photos Mobile',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      redirect_uris: ['com.example.photos:/callback'],
    },
  });
  const page = await stage.open();
  await page.goto(app.begin({ redirect_uri: 'com.example.photos:/callback' }));
  await signIn(page);
  const leaving = page.waitForResponse((response) => new URL(response.url()).pathname === '/authorize');
  // Chromium has nobody to hand the scheme to, so the page stays; the policy must not be what stopped it.
  await page.locator('#consent-allow').click({ noWaitAfter: true });
  const { location } = (await leaving).headers();
  expect(location).toMatch(/^com\.example\.photos:\/callback\?code=.+&iss=/);
});

test('a first-party client marked skip_consent never asks', async () => {
  const app = await stage.app({ metadata: { skip_consent: true } });
  const page = await stage.open();
  await page.goto(app.begin());
  await signIn(page);
  expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
  expect(await isAsked(page, app.begin({ scope: 'openid photos.write' }), app.origin)).toBe(false);
});
