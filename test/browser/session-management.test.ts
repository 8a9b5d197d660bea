/**
 * OpenID Connect Session Management 1.0 as an app's page sees it. The app is on another origin of the same site: a browser
 * that tests drive keeps cookies from frames of other sites, as more and more browsers do, and the answer there is `changed`.
 */
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import type { ClientApp } from './client-app.ts';
import { setStage, signIn } from './stage.ts';

const stage = setStage();

const startApp = () => stage.app({ metadata: (origin) => ({ post_logout_redirect_uris: [`${origin}/bye`] }) });

/** Signs in at the app; its `session_state`. */
async function signedIn(app: ClientApp, page: Page) {
  await page.goto(app.begin());
  await signIn(page);
  await page.locator('#consent-allow').click();
  const { answer, idToken = '' } = await app.arrivalOn(page);
  return { sessionState: answer.get('session_state') ?? '', idToken };
}

/** A page of the app with ours in a frame; asks it, and waits for its answer. */
async function asking(app: ClientApp, page: Page): Promise<(text: string) => Promise<string>> {
  const tab = await page.context().newPage();
  await tab.goto(app.frame(`${stage.world.issuer}/session/check`));
  return (text) =>
    tab.evaluate(`new Promise((resolve, reject) => {
      addEventListener('message', ({ origin, data }) =>
        origin === ${JSON.stringify(stage.world.issuer)} ? resolve(data) : reject(new Error(origin)), { once: true });
      document.getElementById('frame').contentWindow.postMessage(${JSON.stringify(text)}, ${JSON.stringify(stage.world.issuer)});
    })`);
}

test('session-management-rp-initiated-logout: unchanged while signed in, changed after signing out', async () => {
  const app = await startApp();
  const page = await stage.open();
  const { sessionState, idToken } = await signedIn(app, page);
  const ask = await asking(app, page);
  const question = `${app.id} ${sessionState}`;
  expect(await ask(question)).toBe('unchanged');
  expect(await ask(question)).toBe('unchanged');
  const query = new URLSearchParams({ id_token_hint: idToken, post_logout_redirect_uri: `${app.origin}/bye` });
  await page.goto(`${stage.world.issuer}/logout?${query}`);
  await page.waitForURL(`${app.origin}/bye`);
  expect(await ask(question)).toBe('changed');
});

test('changed when somebody else signs in as well, and unchanged again for the session_state of that', async () => {
  const app = await startApp();
  const page = await stage.open();
  const { sessionState } = await signedIn(app, page);
  const ask = await asking(app, page);
  await page.goto(app.begin({ prompt: 'login' }));
  await signIn(page, 'bob', 'builder');
  await page.locator('#consent-allow').click();
  const { answer } = await app.arrivalOn(page);
  expect(await ask(`${app.id} ${sessionState}`)).toBe('changed');
  expect(await ask(`${app.id} ${answer.get('session_state')}`)).toBe('unchanged');
});

test('a question of another client, about another origin or without sense has another answer', async () => {
  const [app, other] = [await startApp(), await startApp()];
  const page = await stage.open();
  const { sessionState } = await signedIn(app, page);
  const ask = await asking(app, page);
  expect(await ask(`${app.id} ${sessionState}`)).toBe('unchanged');
  expect(await ask(`${other.id} ${sessionState}`)).toBe('changed');
  expect(await ask(`${app.id} ${'0'.repeat(64)}.${sessionState.split('.')[1]}`)).toBe('changed');
  for (const text of ['', 'x', `${app.id}`, `${app.id} x`, `${app.id} x.`, `${app.id} ${sessionState} x`, '<script>'])
    expect(await ask(text), text).toBe('error');
  const elsewhere = await asking(other, page);
  expect(await elsewhere(`${app.id} ${sessionState}`)).toBe('changed');
});

test('a browser that never signed in is told changed, and gets no cookie by asking', async () => {
  const app = await startApp();
  const page = await stage.open();
  const ask = await asking(app, page);
  expect(await ask(`${app.id} ${'0'.repeat(64)}.salt`)).toBe('changed');
  expect(await page.context().cookies()).toEqual([]);
});

test('the one cookie a script may read is the browser state, and no other page may be framed', async () => {
  const app = await startApp();
  const page = await stage.open();
  await signedIn(app, page);
  await page.goto(`${stage.world.issuer}/account`);
  const cookies = await page.context().cookies(stage.world.issuer);
  expect(cookies.filter(({ httpOnly }) => !httpOnly).map(({ name }) => name)).toEqual([
    expect.stringMatching(/^gatehouse_state_/),
  ]);
  await page.goto(app.frame(`${stage.world.issuer}/account`));
  await stage.expectComplaint(/frame-ancestors|X-Frame-Options|refused to connect/i);
  expect(page.frames().map((frame) => frame.url())).not.toContainEqual(expect.stringContaining('/account'));
});
