/** The applications of examples/photos, used by people in Chromium. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { decodeProtectedHeader } from 'jose';
import type { Page } from 'playwright-core';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { chainOf, runBatch } from '../../examples/photos/batch.ts';
import { addExchangePolicy } from '../../src/operator/exchange-policies.ts';
import { deleteExchangePolicy, findExchangePolicy } from '../../src/postgres/exchange-policies.pg.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { post } from '../support/browser.ts';
import { startPhotosHouse } from './photos-house.ts';
import { eventually, setStageWith, signIn, textOf } from './stage.ts';

const stage = setStageWith(startPhotosHouse);

afterEach(() => {
  vi.useRealTimers();
});

/** For everybody at once: Gatehouse, the web app and the APIs run in this process. */
function letTimePass(seconds: number): void {
  const now = Date.now();
  vi.useFakeTimers({ toFake: ['Date'] });
  vi.setSystemTime(now + seconds * 1000);
}

/** Longer than an access token lives. */
const SIX_MINUTES = 360;

/** What Gatehouse answered since `from` (a length of its log). */
function answeredSince(from: number): Record<string, unknown>[] {
  return stage.world.log.slice(from).map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Signs in at the web app, as far as the album. */
async function openAlbum(page: Page, username = 'alice', password = 'wonderland'): Promise<void> {
  await page.goto(stage.world.web);
  await page.locator('#sign-in').click();
  await signIn(page, username, password);
  await page.waitForURL((url) => url.pathname === '/consent' || url.pathname === '/photos');
  if (new URL(page.url()).pathname === '/consent') await page.locator('#consent-allow').click();
  await expectAlbum(page);
}

/** Nine photos, and each picture is really there. */
async function expectAlbum(page: Page): Promise<void> {
  await page.locator('#album img').nth(8).waitFor();
  await eventually(() =>
    page.evaluate("[...document.querySelectorAll('#album img')].map((image) => image.naturalWidth > 0)"),
  ).toEqual(Array.from({ length: 9 }, () => true));
}

describe('the web app', () => {
  test('alice signs in at Gatehouse, consents, and sees her photos', async () => {
    const page = await stage.open();
    await page.goto(stage.world.web);
    await page.locator('#sign-in').click();
    expect(new URL(page.url()).origin).toBe(stage.world.issuer);
    expect(await textOf(page.locator('main'))).toContain('Photos Web');
    await signIn(page);
    const consent = await textOf(page.locator('main'));
    for (const words of ['Photos Web', new URL(stage.world.web).host, 'Alice Liddell', 'See your photos'])
      expect(consent).toContain(words);
    expect(consent).not.toContain('Add photos');
    await page.locator('#consent-allow').click();
    await expectAlbum(page);
    expect(new URL(page.url()).href).toBe(`${stage.world.web}/photos`);
    expect(await textOf(page.locator('#who'))).toBe('Alice Liddell');
    expect(await page.locator('#who').getAttribute('title')).toBe('alice@people.example');
    const asked = answeredSince(0).filter(({ route }) => route === '/token_info');
    expect(new Set(asked.map(({ clientId }) => clientId)), 'only the storage, behind it all, asks').toEqual(
      new Set(['storage-api']),
    );
  });

  test('tells alice how her photos came to her, as the last of three APIs was told', async () => {
    const page = await stage.open();
    await openAlbum(page);
    const story = page.locator('#story');
    expect(await textOf(story.locator('p').first())).toContain('because you had signed in');
    const steps = await Promise.all((await story.locator('li').all()).map(textOf));
    expect(steps).toEqual([
      'You Alice Liddell, with Photos Web',
      'Photos API was asked for you by Photos Web',
      'Storage API was asked for you by the Photos API, which was asked by Photos Web',
      'Archive API was asked for you by the Storage API, which was asked by the Photos API, which was asked by Photos Web',
    ]);
    const command = await textOf(page.locator('#calls-show'));
    expect(command).toMatch(/^npx gatehouse calls show [0-9a-f-]{36}$/);
    const exchanges = answeredSince(0).filter(({ grantType }) => String(grantType).endsWith(':token-exchange'));
    expect(new Set(exchanges.map(({ clientId, status }) => `${clientId} ${status}`))).toEqual(
      new Set(['photos-api 200', 'storage-api 200']),
    );
    // One of each, however many pictures there are.
    const before = stage.world.log.length;
    await page.reload();
    await expectAlbum(page);
    expect(await textOf(page.locator('#calls-show')), 'the same token, the same call').toBe(command);
    expect(answeredSince(before).filter(({ route }) => route === '/token')).toEqual([]);
  });

  test('a new token begins a new call', async () => {
    const page = await stage.open();
    await openAlbum(page);
    const before = await textOf(page.locator('#calls-show'));
    letTimePass(SIX_MINUTES);
    await page.reload();
    await expectAlbum(page);
    expect(await textOf(page.locator('#calls-show'))).not.toBe(before);
  });

  test('no token ever reaches the browser', async () => {
    const page = await stage.open();
    const seen: Promise<string>[] = [];
    page.on('response', (response) => {
      if (response.url().startsWith(stage.world.web))
        seen.push(
          response.text().catch(() => ''),
          response.allHeaders().then(JSON.stringify),
        );
    });
    await openAlbum(page);
    expect(seen.length).toBeGreaterThan(4);
    const text = (await Promise.all(seen)).join('\n');
    expect(text).toContain('Your album');
    expect(text).not.toMatch(/\beyJ|access_token|refresh_token|id_token/);
    // On localhost a cookie is every port's: of Gatehouse scripts see the one that is for them, and it says nothing.
    expect(await page.evaluate('document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage })')).toMatch(
      /^gatehouse_state_[0-9a-f]{6}=[\w-]{43}\{\}$/,
    );
  });

  test('refreshes when the access token has ended, and nobody notices', async () => {
    const page = await stage.open();
    await openAlbum(page);
    const before = stage.world.log.length;
    await page.reload();
    await expectAlbum(page);
    expect(answeredSince(before).filter(({ route }) => route === '/token')).toEqual([]);
    letTimePass(SIX_MINUTES);
    await page.reload();
    await expectAlbum(page);
    const refreshes = answeredSince(before).filter(
      ({ grantType, clientId }) => grantType === 'refresh_token' && clientId === 'photos-web',
    );
    expect(refreshes).toMatchObject([{ route: '/token', status: 200 }]);
  });

  test('signing out there signs out here and leads back, and the next sign-in asks for the password', async () => {
    const page = await stage.open();
    await openAlbum(page);
    await page.locator('#sign-out').click();
    await page.locator('#sign-in').waitFor();
    expect(page.url()).toBe(`${stage.world.web}/`);

    await page.goto(`${stage.world.web}/photos`);
    expect(new URL(page.url()).pathname, 'out of the app').toBe('/');
    await page.locator('#sign-in').click();
    expect(await textOf(page.locator('h1')), 'out of Gatehouse').toBe('Sign in');
    await signIn(page);
    await expectAlbum(page);
  });

  test('with two people signed in it is asked; "Stay signed in" ends the session of the app only', async () => {
    const page = await stage.open();
    await openAlbum(page);
    await page.goto(`${stage.world.issuer}/login`);
    await signIn(page, 'bob', 'builder');
    await page.waitForURL('**/account');
    await page.goto(`${stage.world.web}/photos`);
    await page.locator('#sign-out').click();
    await page.waitForURL(`${stage.world.issuer}/logout?*`);
    const asked = await textOf(page.locator('main'));
    for (const words of ['Photos Web', new URL(stage.world.web).host, 'Alice Liddell', 'Bob Fischer'])
      expect(asked).toContain(words);
    await page.locator('#logout-stay').click();
    await page.waitForURL(`${stage.world.issuer}/account`);
    await page.goto(`${stage.world.web}/photos`);
    expect(new URL(page.url()).pathname, 'out of the app').toBe('/');
  });

  test('says so when bob refuses', async () => {
    const page = await stage.open();
    await page.goto(stage.world.web);
    await page.locator('#sign-in').click();
    await signIn(page, 'bob', 'builder');
    await page.locator('#consent-deny').click();
    expect(await textOf(page.locator('main'))).toContain('Gatehouse said: access_denied');
  });
});

describe('the account page', () => {
  test('lists what has access, and taking it back ends it at once', async () => {
    const page = await stage.open();
    await openAlbum(page, 'bob', 'builder');
    const account = await page.context().newPage();
    await account.goto(`${stage.world.issuer}/account`);
    expect(await textOf(account.locator('#account-name'))).toBe('Bob Fischer');
    const app = account.locator('#account-apps li.app', { hasText: 'Photos Web' });
    const text = await textOf(app);
    for (const words of [new URL(stage.world.web).host, 'See your photos', 'See your e-mail address'])
      expect(text).toContain(words);
    await app.getByRole('button', { name: 'Remove access of Photos Web' }).click();
    expect(await textOf(account.getByRole('status'))).toBe('Photos Web no longer has access.');
    expect(await account.locator('#account-apps li.app').count()).toBe(0);

    // The access token goes on to its end, for the API asks nobody; the refresh token is dead already.
    letTimePass(SIX_MINUTES);
    await page.reload();
    expect(await textOf(page.locator('h1'))).toBe('Please sign in again');
    await page.locator('#sign-in').click();
    await account.close();
    await page.waitForURL('**/consent?*');
  });
});

describe('the app in the browser alone', () => {
  /** The next answer of the token endpoint, which the page's own script has read. */
  async function tokens(page: Page, cause: () => Promise<unknown>): Promise<Record<string, string>> {
    const answer = page.waitForResponse(
      (response) => response.url() === `${stage.world.issuer}/token` && response.request().method() === 'POST',
    );
    await cause();
    const response = await answer;
    expect(response.status()).toBe(200);
    return (await response.json()) as Record<string, string>;
  }

  async function openSpa(page: Page): Promise<void> {
    await page.goto(`${stage.world.web}/spa`);
    await page.locator('#sign-in').click();
    await signIn(page);
  }

  test('code, photos and refresh by fetch, with a new refresh token each time', async () => {
    const page = await stage.open();
    await openSpa(page);
    const first = await tokens(page, () => page.locator('#consent-allow').click());
    expect(decodeProtectedHeader(first.access_token ?? '').typ).toBe('at+jwt');
    await expectAlbum(page);
    expect(page.url(), 'the code is out of the address').toBe(`${stage.world.web}/spa`);

    const held = [first];
    for (let time = 0; time < 2; time += 1) {
      held.push(await tokens(page, () => page.locator('#refresh').click()));
      await expectAlbum(page);
    }
    for (const name of ['access_token', 'refresh_token'] as const)
      expect(new Set(held.map((each) => each[name])).size, name).toBe(3);
  });

  test('after six minutes the button still works', async () => {
    const page = await stage.open();
    await openSpa(page);
    await page.locator('#consent-allow').click();
    await expectAlbum(page);
    letTimePass(SIX_MINUTES);
    await tokens(page, () => page.locator('#refresh').click());
    await expectAlbum(page);
    expect(await textOf(page.locator('#status'))).toMatch(/^9 photos, fetched at/);
  });

  test('says so when alice refuses', async () => {
    const page = await stage.open();
    await openSpa(page);
    await page.locator('#consent-deny').click();
    await eventually(() => textOf(page.locator('#status'))).toBe('Gatehouse said: access_denied');
  });

  describe('CORS', () => {
    /** What a script of the page that is open gets to see of an answer of Gatehouse. */
    function fetched(page: Page, path: string, options: Record<string, unknown> = {}): Promise<string> {
      return page.evaluate(
        `fetch(${JSON.stringify(stage.world.issuer + path)}, ${JSON.stringify(options)})
          .then(async (response) => response.status + ' ' + (await response.text()), (error) => error.name)`,
      );
    }
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const token = {
      method: 'POST',
      headers,
      body: 'client_id=photos-spa&grant_type=refresh_token&refresh_token=guess',
    };
    const userinfo = { headers: { authorization: 'Bearer guess' } };

    test('a script of the app reads refusals too', async () => {
      const page = await stage.open();
      await page.goto(`${stage.world.web}/spa`);
      expect(await fetched(page, '/token', token)).toMatch(/^400 .*"invalid_grant"/);
      await stage.expectComplaint(/\/token: 400$/);
    });

    test('a script of another app reads what is public, and nothing else', async () => {
      const other = await stage.app({ host: '127.0.0.1', metadata: { scope: 'openid' } });
      const page = await stage.open();
      await page.goto(`${other.origin}/`);
      expect(await fetched(page, '/.well-known/openid-configuration')).toMatch(/^200 /);
      expect(await fetched(page, '/jwks')).toMatch(/^200 /);
      expect(stage.complaints).toEqual([]);
      expect(await fetched(page, '/token', token)).toBe('TypeError');
      await stage.expectComplaint(/CORS policy|ERR_FAILED/);
    });

    test('a script of a stranger cannot even ask', async () => {
      const stranger = await stage.app({
        host: '127.0.0.1',
        metadata: { redirect_uris: ['https://elsewhere.example/'] },
      });
      const page = await stage.open();
      await page.goto(`${stranger.origin}/`);
      const asked: [path: string, options: Record<string, unknown>][] = [
        ['/token', token],
        ['/userinfo', userinfo],
        ['/revoke', { method: 'POST', headers: { authorization: 'Basic eDp5' }, body: 'token=guess' }],
        ['/login', {}],
        ['/account', { credentials: 'include' }],
      ];
      for (const [path, options] of asked) expect(await fetched(page, path, options), path).toBe('TypeError');
      await eventually(() => stage.complaints.filter((text) => text.includes('blocked by CORS policy'))).toHaveLength(
        asked.length,
      );
      await stage.expectComplaint(/CORS policy|ERR_FAILED/);
    });
  });
});

test('the servers end at once, whatever is under way', async () => {
  const house = await startPhotosHouse();
  const { web, photosApi, storageApi, archiveApi } = house;
  for (const origin of [web, photosApi, storageApi, archiveApi]) {
    const socket = connect(Number(new URL(origin).port), 'localhost').on('error', () => undefined);
    // A request that never comes to its end; the answer to the one before says that the server has its connection.
    socket.write('GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\nGET /nothing HTTP/1.1\r\n');
    await once(socket, 'data');
  }
  await house.close();
});

test('the batch job counts the photos in its own name, and the chain behind it has no user', async () => {
  const { photos, told } = await runBatch(stage.world.batch);
  expect(photos).toBe(9);
  expect(told.map(({ name, sub, actors, origin }) => [name, sub, actors, origin.client])).toEqual([
    ['Photos API', 'photos-batch', [], 'photos-batch'],
    ['Storage API', 'photos-batch', ['photos-api'], 'photos-batch'],
    ['Archive API', 'photos-batch', ['storage-api', 'photos-api'], 'photos-batch'],
  ]);
  expect(new Set(told.map(({ txn }) => txn)).size).toBe(1);
  expect(told[2]?.origin.grantType).toBe('client_credentials');
  expect(chainOf(told)).toBe('photos-batch -> photos-api -> storage-api -> Archive API, for photos-batch');
});

test('without its policy the storage is out of reach at once, also with a token that was had by it', async () => {
  const { issuer, photosApi, running, batch, clock } = stage.world;
  const { sql } = running.database;
  const basic = { id: batch.clientId, secret: batch.clientSecret };
  const { json } = await post(`${issuer}/token`, { grant_type: 'client_credentials' }, { basic });
  const headers = { authorization: `Bearer ${json.access_token}` };
  const list = async () => {
    const response = await fetch(`${photosApi}/photos`, { headers });
    // Read to its end: a body that nobody takes keeps its connection in use.
    await response.arrayBuffer();
    return response.status;
  };
  expect(await list()).toBe(200);
  const policy = await findExchangePolicy(sql, 'of-photos-api');
  await deleteExchangePolicy(sql, 'of-photos-api');
  await eventually(list).toBe(502);
  await addExchangePolicy(sql, policy, { profile: oauth21, issuer }, clock.now());
  await eventually(list).toBe(200);
});
