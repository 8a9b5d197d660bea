/** Signing out at an app's request, and what other apps' pages hear of it in their frames. */
import type { Page } from 'playwright-core';
import { describe, expect, test } from 'vitest';
import type { ClientApp, ClientAppOptions } from './client-app.ts';
import { eventually, setStage, signIn, signInAndAllow, textOf } from './stage.ts';

const stage = setStage();

/** An app with an address for afterwards, and one for frames. */
function listening(host: ClientAppOptions['host'] = 'localhost'): Promise<ClientApp> {
  return stage.app({
    host,
    metadata: (origin) => ({
      redirect_uris: [`${origin}/callback`],
      post_logout_redirect_uris: [`${origin}/bye`],
      frontchannel_logout_uri: `${origin}/sign-out`,
    }),
  });
}

/** Signs in at an app; what it knows afterwards. */
async function at(app: ClientApp, page: Page) {
  await page.goto(app.begin());
  await page.waitForURL((url) => ['/login', '/consent', '/callback'].includes(url.pathname));
  if (new URL(page.url()).pathname === '/login') await signIn(page);
  await page.waitForURL((url) => ['/consent', '/callback'].includes(url.pathname));
  if (new URL(page.url()).pathname === '/consent') await page.locator('#consent-allow').click();
  return app.arrivalOn(page);
}

function endSession(parameters: Record<string, string | undefined>): string {
  const given = Object.entries(parameters).filter((pair): pair is [string, string] => pair[1] !== undefined);
  return `${stage.world.issuer}/logout?${new URLSearchParams(given)}`;
}

describe('front-channel logout', () => {
  test.each(['localhost', '127.0.0.1'] as const)(
    'reaches every app on %s by iss and sid, and the browser ends at the post-logout address',
    async (host) => {
      const [one, two] = [await listening(host), await listening(host)];
      const page = await stage.open();
      const [first, second] = [await at(one, page), await at(two, page)];
      await page.goto(
        endSession({ id_token_hint: first.idToken, post_logout_redirect_uri: `${one.origin}/bye`, state: 'a b' }),
      );
      await page.waitForURL(`${one.origin}/bye?state=a%20b`);
      for (const [app, { sid }] of [
        [one, first],
        [two, second],
      ] as const) {
        expect(app.signOuts.map((query) => [...query])).toEqual([
          [
            ['iss', stage.world.issuer],
            ['sid', sid],
          ],
        ]);
      }
      await page.goto(`${stage.world.issuer}/account`);
      expect(new URL(page.url()).pathname).toBe('/login');
    },
  );

  test('follows a confirmation as well, and ends on our own page where no address was given', async () => {
    const app = await listening();
    const page = await stage.open();
    await at(app, page);
    await page.goto(endSession({}));
    await page.locator('#logout-confirm').click();
    await page.waitForURL(`${stage.world.issuer}/logout`);
    await page.locator('#sign-in-again').waitFor();
    expect(app.signOuts).toHaveLength(1);
  });

  test('goes on without scripts, by itself', async () => {
    const app = await listening();
    const page = await stage.open({ javaScriptEnabled: false });
    const { idToken } = await at(app, page);
    await page.goto(endSession({ id_token_hint: idToken, post_logout_redirect_uri: `${app.origin}/bye` }));
    await page.waitForURL(`${app.origin}/bye`);
    expect(app.signOuts).toHaveLength(1);
  });

  test('an app that lets nobody see its page keeps nobody waiting', async () => {
    const [app, silent] = [await listening(), await listening('127.0.0.1')];
    const page = await stage.open();
    const { idToken } = await at(app, page);
    await at(silent, page);
    // A receiver that never answers.
    await page.route(`${silent.signOutUri}**`, () => undefined);
    await page.goto(endSession({ id_token_hint: idToken, post_logout_redirect_uri: `${app.origin}/bye` }), {
      waitUntil: 'commit',
    });
    expect(await textOf(page.locator('h1'))).toBe('You have been signed out');
    expect(await page.locator('#logout-continue').getAttribute('href')).toBe(`${app.origin}/bye`);
    await page.waitForURL(`${app.origin}/bye`);
    await page.unrouteAll();
  });

  test('a frame cannot take the window away', async () => {
    const app = await listening();
    const page = await stage.open();
    const { idToken } = await at(app, page);
    await page.route(`${app.signOutUri}**`, (route) =>
      route.fulfill({
        contentType: 'text/html',
        body: `<script>try { top.location = 'https://evil.example/' } catch {}</script>`,
      }),
    );
    await page.goto(endSession({ id_token_hint: idToken, post_logout_redirect_uri: `${app.origin}/bye` }));
    await page.waitForURL(`${app.origin}/bye`);
    await stage.expectComplaint(/Unsafe attempt to initiate navigation/);
  });
});

describe('an app sends people here', () => {
  test('by a form of another site, and they are signed out and sent back', async () => {
    const app = await listening('127.0.0.1');
    const page = await stage.open();
    const { idToken } = await at(app, page);
    await page.goto(`${app.origin}/`);
    await page.evaluate(`(() => {
      const form = Object.assign(document.createElement('form'), { method: 'post', action: ${JSON.stringify(`${stage.world.issuer}/logout`)} });
      for (const [name, value] of Object.entries(${JSON.stringify({ id_token_hint: idToken, post_logout_redirect_uri: `${app.origin}/bye`, state: 'ü' })}))
        form.append(Object.assign(document.createElement('input'), { name, value }));
      document.body.append(form);
      form.submit();
    })()`);
    await page.waitForURL(`${app.origin}/bye?state=%C3%BC`);
    expect(app.signOuts).toHaveLength(1);
  });

  test('and with two people signed in, the form that asks may end at the app', async () => {
    const app = await stage.app({
      host: '127.0.0.1',
      metadata: (origin) => ({ post_logout_redirect_uris: [`${origin}/bye`] }),
    });
    const page = await stage.open();
    const { idToken } = await at(app, page);
    await page.goto(`${stage.world.issuer}/login`);
    await signIn(page, 'bob', 'builder');
    await page.waitForURL('**/account');
    await page.goto(endSession({ id_token_hint: idToken, post_logout_redirect_uri: `${app.origin}/bye` }));
    expect(await page.locator('.person').count()).toBe(2);
    await page.locator('#logout-confirm').click();
    await page.waitForURL(`${app.origin}/bye`);
  });

  test('with a mistake, and the page says so and still signs out', async () => {
    const app = await listening();
    const page = await stage.open();
    await signInAndAllow(page, app.begin());
    await app.arrivalOn(page);
    await page.goto(endSession({ post_logout_redirect_uri: `${app.origin}/bye` }));
    expect(await page.locator('#error-code').textContent()).toBe('invalid_request');
    expect(await page.locator('#error-reference').textContent()).toMatch(/^[\w-]{12}$/);
    await page.locator('#logout-confirm').click();
    await page.locator('#sign-in-again').waitFor();
    await eventually(() => app.signOuts).toHaveLength(1);
  });
});
