import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  authorizePath,
  decide,
  formTo,
  pkce,
  responseOf,
  signIn,
  TestBrowser,
  type Visit,
} from '../support/browser.ts';
import { startWorld, type World } from '../support/world.ts';

describe('consent', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  let clients = 0;
  async function aClient(metadata: Record<string, unknown> = {}) {
    clients += 1;
    const redirect = `https://client${clients}.example/callback`;
    const client = await world.client({
      redirect_uris: [redirect],
      scope: 'openid profile email address phone photos.read photos.write',
      client_name: `Client ${clients}`,
      ...metadata,
    });
    const [redirectUri = redirect] = (metadata.redirect_uris as string[] | undefined) ?? [];
    return { id: client.id, redirectUri };
  }

  async function signedIn(username = 'alice', password = 'wonderland'): Promise<TestBrowser> {
    const browser = new TestBrowser(world);
    await signIn(browser, await browser.visit('/login'), username, password);
    return browser;
  }

  function ask(
    browser: TestBrowser,
    client: { id: string; redirectUri: string },
    scope: string,
    parameters: Record<string, string> = {},
  ): Promise<Visit> {
    return browser.visit(
      authorizePath({
        client_id: client.id,
        redirect_uri: client.redirectUri,
        scope,
        code_challenge: pkce().challenge,
        ...parameters,
      }),
    );
  }
  const isAsked = (page: Visit) => page.url.includes('/consent?pending=');
  const hasCode = (page: Visit) => responseOf(page).has('code');

  it('tells who asks and for what, in the words of the API', async () => {
    const client = await aClient({
      client_name: 'Prints & <b>More</b>',
      client_uri: 'https://prints.example/',
      policy_uri: 'https://prints.example/privacy',
      tos_uri: 'https://prints.example/terms',
    });
    const page = await ask(await signedIn(), client, 'openid photos.read');
    expect(isAsked(page)).toBe(true);
    for (const text of [
      'Prints &amp; &lt;b&gt;More&lt;/b&gt;',
      'prints.example',
      'https://prints.example/privacy',
      'https://prints.example/terms',
      'See your photos',
      'Know who you are',
      'photos.example',
      'Alice Liddell',
    ]) {
      expect(page.body).toContain(text);
    }
    expect(page.body).not.toContain('Add photos');
    expect(page.body).toMatch(/id="consent-allow"/);
    expect(page.body).toMatch(/id="consent-deny"/);
  });

  it('is asked once for a person, a client and a scope', async () => {
    const [client, other] = [await aClient(), await aClient()];
    const browser = await signedIn();
    expect(hasCode(await decide(browser, await ask(browser, client, 'openid photos.read')))).toBe(true);
    expect(hasCode(await ask(browser, client, 'openid photos.read'))).toBe(true);
    expect(hasCode(await ask(browser, client, 'photos.read'))).toBe(true);
    expect(hasCode(await ask(await signedIn(), client, 'openid photos.read'))).toBe(true);
    expect(isAsked(await ask(browser, other, 'openid photos.read'))).toBe(true);
    expect(isAsked(await ask(await signedIn('bob', 'builder'), client, 'openid photos.read'))).toBe(true);
  });

  it('is asked again for more, and then remembered for all', async () => {
    const client = await aClient();
    const browser = await signedIn();
    await decide(browser, await ask(browser, client, 'photos.read'));
    const more = await ask(browser, client, 'photos.write');
    expect(isAsked(more)).toBe(true);
    expect(hasCode(await decide(browser, more))).toBe(true);
    expect(hasCode(await ask(browser, client, 'photos.read photos.write'))).toBe(true);
  });

  it('denied goes back as access_denied, changes nothing, and is asked again the next time', async () => {
    const client = await aClient();
    const browser = await signedIn();
    await decide(browser, await ask(browser, client, 'photos.read'));
    const answer = responseOf(await decide(browser, await ask(browser, client, 'photos.write'), 'deny'));
    expect(Object.fromEntries(answer)).toMatchObject({
      error: 'access_denied',
      state: 'af0ifjsldkj',
      iss: world.issuer,
    });
    expect(answer.has('code')).toBe(false);
    expect(hasCode(await ask(browser, client, 'photos.read'))).toBe(true);
    expect(isAsked(await ask(browser, client, 'photos.write'))).toBe(true);
  });

  it('is not asked for a first-party client, unless it wants to', async () => {
    const client = await aClient({ skip_consent: true });
    const browser = await signedIn();
    expect(hasCode(await ask(browser, client, 'openid photos.read'))).toBe(true);
    expect(isAsked(await ask(browser, client, 'openid photos.read', { prompt: 'consent' }))).toBe(true);
  });

  it.each<[string, Record<string, unknown>]>([
    ['loopback', { redirect_uris: ['http://127.0.0.1/callback'], application_type: 'native' }],
    ['localhost', { redirect_uris: ['http://localhost:4000/callback'] }],
    ['a private-use scheme', { redirect_uris: ['com.example.app:/callback'], application_type: 'native' }],
  ])('is asked every time for a public client on %s: any app on the device could be it', async (_where, metadata) => {
    const client = await aClient({ ...metadata, token_endpoint_auth_method: 'none' });
    const browser = await signedIn();
    for (let times = 0; times < 3; times += 1) {
      const page = await ask(browser, client, 'photos.read');
      expect(isAsked(page), `time ${times}`).toBe(true);
      expect(hasCode(await decide(browser, page))).toBe(true);
    }
    const silent = await ask(browser, client, 'photos.read', { prompt: 'none' });
    expect(responseOf(silent).get('error')).toBe('consent_required');
  });

  it('of a native app goes to the port it listens on this time', async () => {
    const client = await aClient({
      redirect_uris: ['http://127.0.0.1/callback'],
      application_type: 'native',
      token_endpoint_auth_method: 'none',
    });
    const browser = await signedIn();
    const page = await ask(browser, { ...client, redirectUri: 'http://127.0.0.1:51234/callback' }, 'photos.read');
    const { location } = await decide(browser, page);
    expect(location?.startsWith('http://127.0.0.1:51234/callback?code=')).toBe(true);
  });

  it('taken back on the account page is asked again', async () => {
    const client = await aClient();
    const browser = await signedIn();
    await decide(browser, await ask(browser, client, 'photos.read'));
    const account = await browser.visit('/account');
    const after = await browser.submit(formTo(account, '/account/access'), { client_id: client.id });
    expect(after.body).toMatch(/no longer has access/);
    expect(isAsked(await ask(browser, client, 'photos.read'))).toBe(true);
  });

  it('is of the person who is signed in for this request, not of who came before', async () => {
    const client = await aClient();
    const browser = await signedIn();
    const page = await ask(browser, client, 'photos.read');
    // "Not you?": somebody else signs in for the very request that alice was asked about.
    const pending = new URL(page.url).searchParams.get('pending');
    const other = await signIn(browser, await browser.visit(`/login?pending=${pending}`), 'bob', 'builder');
    expect(isAsked(other)).toBe(true);
    expect(other.body).toContain('bob');
    // The form that was shown to alice is void.
    const stale = await browser.submit(formTo(page, '/consent'), { decision: 'allow' });
    expect(stale.status).toBe(403);
    expect(hasCode(await decide(browser, other))).toBe(true);
    expect(isAsked(await ask(await signedIn(), client, 'photos.read'))).toBe(true);
  });

  describe('to claims asked for by name (OpenID Connect Core §5.5)', () => {
    const claims = (request: object) => ({ claims: JSON.stringify(request) });
    const birthdate = claims({ userinfo: { birthdate: null } });

    it('is asked for in words, without repeating what a scope covers', async () => {
      const page = await ask(
        await signedIn(),
        await aClient(),
        'openid profile',
        claims({
          id_token: { phone_number: { essential: true }, auth_time: null, shoe_size: null },
          userinfo: { address: null, name: { essential: true } },
        }),
      );
      expect(isAsked(page)).toBe(true);
      expect(page.body).toContain('See your postal address, phone number');
      expect(page.body).not.toMatch(/shoe_size|phone_number|auth_time/);
    });

    it('is remembered, for each of them and for either answer they are put in', async () => {
      const client = await aClient();
      const browser = await signedIn();
      expect(hasCode(await decide(browser, await ask(browser, client, 'openid', birthdate)))).toBe(true);
      expect(hasCode(await ask(browser, client, 'openid', birthdate))).toBe(true);
      expect(hasCode(await ask(browser, client, 'openid'))).toBe(true);
      expect(hasCode(await ask(browser, client, 'openid', claims({ id_token: { birthdate: null } })))).toBe(true);
    });

    it('is asked again for more, and then remembered for all', async () => {
      const client = await aClient();
      const browser = await signedIn();
      await decide(browser, await ask(browser, client, 'openid', birthdate));
      const more = claims({ userinfo: { birthdate: null, email: null } });
      const page = await ask(browser, client, 'openid', more);
      expect(isAsked(page)).toBe(true);
      expect(page.body).toContain('See your birth date, e-mail address');
      await decide(browser, page);
      expect(hasCode(await ask(browser, client, 'openid', claims({ userinfo: { email: null } })))).toBe(true);
      expect(hasCode(await ask(browser, client, 'openid', more))).toBe(true);
    });

    it('is shown on the account page, and taken back there', async () => {
      const client = await aClient();
      const browser = await signedIn();
      await decide(browser, await ask(browser, client, 'openid', birthdate));
      const account = await browser.visit('/account');
      expect(account.body).toContain('See your birth date');
      await browser.submit(formTo(account, '/account/access'), { client_id: client.id });
      expect(isAsked(await ask(browser, client, 'openid', birthdate))).toBe(true);
    });

    it('is not given by a form that was shown without them', async () => {
      const client = await aClient();
      const browser = await signedIn();
      const [less, more] = [await ask(browser, client, 'openid'), await ask(browser, client, 'openid', birthdate)];
      const { csrf = '' } = formTo(less, '/consent').fields;
      const forged = await browser.submit(formTo(more, '/consent'), { csrf, decision: 'allow' });
      expect(forged.status).toBe(403);
      expect(isAsked(await ask(browser, client, 'openid', birthdate))).toBe(true);
    });

    it('denied goes back as access_denied', async () => {
      const browser = await signedIn();
      const page = await ask(browser, await aClient(), 'openid', birthdate);
      expect(responseOf(await decide(browser, page, 'deny')).get('error')).toBe('access_denied');
    });
  });

  it('is what was said first: a yes after a no, from the same page, changes nothing', async () => {
    const client = await aClient();
    const browser = await signedIn();
    const page = await ask(browser, client, 'photos.read');
    const form = formTo(page, '/consent');
    // Both are on their way before either answer is there.
    const no = await browser.send('POST', form.action, { ...form.fields, decision: 'deny' });
    const yes = await browser.send('POST', form.action, { ...form.fields, decision: 'allow' });
    expect([no.status, yes.status]).toEqual([303, 303]);
    expect(responseOf(await browser.visit(yes.location ?? '')).get('error')).toBe('access_denied');
    expect(isAsked(await ask(browser, client, 'photos.read'))).toBe(true);
  });
});
