import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { features } from '../../src/features.ts';
import { setUserDisabled } from '../../src/postgres/people.pg.ts';
import {
  authorizePath,
  decide,
  formsOf,
  formTo,
  pkce,
  responseOf,
  signIn,
  TestBrowser,
  type Visit,
} from '../support/browser.ts';
import { redeem, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

const CHOOSER = '/select-account';
const verifiers = new Map<string, string>();

function requestOf(parameters: Record<string, string> = {}): string {
  const { verifier, challenge } = pkce();
  verifiers.set(challenge, verifier);
  return authorizePath({
    client_id: 'web',
    redirect_uri: WEB_REDIRECT,
    scope: 'openid',
    code_challenge: challenge,
    ...parameters,
  });
}

/** Who is offered, and the value that chooses them. */
function offered(page: Visit): Record<string, string> {
  const buttons = page.body.matchAll(/<button[^>]*name="account" value="([^"]*)"[^>]*>[\s\S]*?<\/button>/g);
  return Object.fromEntries(
    [...buttons].map(([button, value = '']) => [
      /alice/.test(button) ? 'alice' : /bob/.test(button) ? 'bob' : '?',
      value,
    ]),
  );
}

function choose(browser: TestBrowser, page: Visit, who: string): Promise<Visit> {
  const account = offered(page)[who];
  if (account === undefined) throw new Error(`${who} is not offered`);
  return browser.submit(formTo(page, CHOOSER), { account });
}

const otherOf = (page: Visit) =>
  (/<a[^>]*href="([^"]*)"[^>]*id="account-other"/.exec(page.body)?.[1] ?? '').replaceAll('&amp;', '&');

describe('the account chooser', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
    // Both have allowed the app what it asks for: what is left is who.
    for (const [username, password] of PEOPLE) {
      const browser = new TestBrowser(world);
      const page = await signIn(browser, await browser.visit(requestOf()), username, password);
      responseOf(await decide(browser, page));
    }
  });
  afterAll(() => world.close());

  const PEOPLE = [
    ['alice', 'wonderland'],
    ['bob', 'builder'],
  ] as const;

  async function browserOf(...usernames: string[]): Promise<TestBrowser> {
    const browser = new TestBrowser(world);
    for (const [username, password] of PEOPLE.filter(([name]) => usernames.includes(name)))
      await signIn(browser, await browser.visit('/login'), username, password);
    return browser;
  }

  /** Whom the client is told of. */
  async function answeredBy(visit: Visit, path: string): Promise<unknown> {
    const challenge = new URL(path, world.issuer).searchParams.get('code_challenge') ?? '';
    const code = responseOf(visit).get('code') ?? '';
    const flow = { code, verifier: verifiers.get(challenge) ?? '', redirectUri: WEB_REDIRECT };
    const { json } = await redeem(world, flow);
    const { sub } = decodeJwt(String(json.id_token));
    return { [world.alice]: 'alice', [world.bob]: 'bob' }[sub ?? ''];
  }

  it.each(['alice', 'bob'])('asks when several are signed in, and goes on as %s', async (who) => {
    const browser = await browserOf('alice', 'bob');
    const path = requestOf();
    const page = await browser.visit(path);
    expect(page.url).toContain(`${CHOOSER}?pending=`);
    expect(Object.keys(offered(page)).sort()).toEqual(['alice', 'bob']);
    expect(page.body).toContain('Alice Liddell');
    expect(page.body).toContain('web.example');
    expect(await answeredBy(await choose(browser, page, who), path)).toBe(who);
  });

  it('asks nobody where one is signed in, unless the client wants it (prompt=select_account)', async () => {
    const browser = await browserOf('bob');
    expect(responseOf(await browser.visit(requestOf())).has('code')).toBe(true);
    const path = requestOf({ prompt: 'select_account' });
    const page = await browser.visit(path);
    expect(offered(page)).toEqual({ bob: expect.any(String) });
    expect(await answeredBy(await choose(browser, page, 'bob'), path)).toBe('bob');
  });

  it('has nobody to offer where nobody is signed in: the sign-in form', async () => {
    const browser = new TestBrowser(world);
    const page = await browser.visit(requestOf({ prompt: 'select_account' }));
    expect(page.url).toContain('/login?pending=');
    const pending = new URL(page.url).searchParams.get('pending');
    const direct = await browser.visit(`${CHOOSER}?pending=${pending}`);
    expect(direct.url).toContain('/login?pending=');
    expect(responseOf(await signIn(browser, direct)).has('code')).toBe(true);
  });

  it('is passed by when the client hints at one of them, or names one by id_token_hint', async () => {
    const browser = await browserOf('alice', 'bob');
    const hinted = requestOf({ login_hint: 'alice@people.example' });
    expect(await answeredBy(await browser.visit(hinted), hinted)).toBe('alice');
    const path = requestOf();
    const challenge = new URL(path, world.issuer).searchParams.get('code_challenge') ?? '';
    const code = responseOf(await choose(browser, await browser.visit(path), 'bob')).get('code') ?? '';
    const flow = { code, verifier: verifiers.get(challenge) ?? '', redirectUri: WEB_REDIRECT };
    const { json } = await redeem(world, flow);
    const named = requestOf({ id_token_hint: String(json.id_token), prompt: 'none' });
    expect(await answeredBy(await browser.visit(named), named)).toBe('bob');
  });

  it('offers only who may answer: of a request about bob, bob', async () => {
    const browser = await browserOf('alice', 'bob');
    const claims = JSON.stringify({ id_token: { sub: { value: world.bob } } });
    const page = await browser.visit(requestOf({ prompt: 'select_account', claims }));
    expect(Object.keys(offered(page))).toEqual(['bob']);
  });

  it('leads to the sign-in form for somebody else, who then answers', async () => {
    const browser = await browserOf('alice');
    const path = requestOf({ prompt: 'select_account' });
    const page = await browser.visit(path);
    const login = await browser.visit(otherOf(page));
    expect(login.url).toMatch(/\/login\?pending=[0-9a-f-]{36}$/);
    expect(formsOf(login)[0]?.fields.username).toBe('');
    expect(await answeredBy(await signIn(browser, login, 'bob', 'builder'), path)).toBe('bob');
  });

  it('“Not you?” on the consent page leads here', async () => {
    const browser = await browserOf('alice', 'bob');
    const page = await browser.visit(requestOf({ prompt: 'consent', login_hint: 'alice' }));
    expect(page.url).toContain('/consent');
    const chooser = await browser.visit(otherOf(page));
    expect(chooser.url).toContain(CHOOSER);
    // A hint leaves nobody out.
    expect(Object.keys(offered(chooser)).sort()).toEqual(['alice', 'bob']);
  });

  it('cancelled goes back as access_denied', async () => {
    const browser = await browserOf('alice', 'bob');
    const page = await browser.visit(requestOf({ state: 'mine' }));
    expect(page.body).toContain('id="login-cancel"');
    const answer = responseOf(await browser.submit(formTo(page, `${CHOOSER}/cancel`)));
    expect(Object.fromEntries(answer)).toMatchObject({ error: 'access_denied', state: 'mine', iss: world.issuer });
  });

  it('is one answer of one request: another tab is asked for itself', async () => {
    const browser = await browserOf('alice', 'bob');
    const [first, second] = [requestOf(), requestOf()];
    const [one, two] = [await browser.visit(first), await browser.visit(second)];
    expect(await answeredBy(await choose(browser, one, 'alice'), first)).toBe('alice');
    expect(await answeredBy(await choose(browser, two, 'bob'), second)).toBe('bob');
    expect((await browser.visit(requestOf())).url).toContain(CHOOSER);
  });

  it('may be changed until the request is answered: the last choice counts', async () => {
    const browser = await browserOf('alice', 'bob');
    const path = requestOf({ prompt: 'consent' });
    const page = await browser.visit(path);
    expect((await choose(browser, page, 'alice')).body).toContain('Alice Liddell');
    const consent = await choose(browser, page, 'bob');
    expect(consent.url).toContain('/consent');
    expect(await answeredBy(await decide(browser, consent), path)).toBe('bob');
  });

  it('asks who was chosen for the password where the client wants a fresh sign-in', async () => {
    const browser = await browserOf('alice', 'bob');
    world.clock.advance(120);
    const path = requestOf({ max_age: '60' });
    const login = await choose(browser, await browser.visit(path), 'alice');
    expect(login.url).toContain('/login');
    expect(formsOf(login)[0]?.fields.username).toBe('alice');
    expect(login.body).toContain('confirm that it is you');
    expect(await answeredBy(await signIn(browser, login), path)).toBe('alice');
  });

  describe('refuses', () => {
    it.each<[string, (page: Visit, other: Visit, thiefs: Visit) => Record<string, string>]>([
      ['no account', () => ({})],
      ['an invented one', () => ({ account: 'A'.repeat(43) })],
      [
        'an account of another request of the same browser',
        (_page, other) => ({ account: offered(other).alice ?? '' }),
      ],
      ['an account of another browser', (_page, _other, thiefs) => ({ account: offered(thiefs).alice ?? '' })],
      ['the token of the form', (page) => ({ account: formTo(page, CHOOSER).fields.csrf ?? '' })],
      [
        'an account for the token of the form',
        (page) => ({ csrf: offered(page).alice ?? '', account: offered(page).alice ?? '' }),
      ],
      ['no token', (page) => ({ csrf: '', account: offered(page).alice ?? '' })],
      [
        'the token of another request',
        (page, other) => ({ csrf: formTo(other, CHOOSER).fields.csrf ?? '', account: offered(page).alice ?? '' }),
      ],
    ])('%s', async (_what, forged) => {
      const [browser, thief] = [await browserOf('alice', 'bob'), await browserOf('alice', 'bob')];
      const path = requestOf();
      const [page, other, thiefs] = [
        await browser.visit(path),
        await browser.visit(requestOf()),
        await thief.visit(requestOf()),
      ];
      const answer = await browser.submit(formTo(page, CHOOSER), forged(page, other, thiefs));
      expect([answer.status, answer.location]).toEqual([403, undefined]);
      // Nothing was recorded, and the page that was shown is as good as before.
      expect(
        (await browser.visit(`/authorize?pending=${new URL(page.url).searchParams.get('pending')}`)).url,
      ).toContain(CHOOSER);
      expect(await answeredBy(await choose(browser, page, 'bob'), path)).toBe('bob');
    });

    it('whoever has signed out since', async () => {
      const browser = await browserOf('alice', 'bob');
      const page = await browser.visit(requestOf());
      await browser.submit(formTo(await browser.visit('/logout'), '/logout'));
      const pending = new URL(page.url).searchParams.get('pending') ?? '';
      const { csrf = '' } = formTo(page, CHOOSER).fields;
      const answer = await browser.submit(
        { action: CHOOSER, fields: { csrf, pending } },
        { account: offered(page).alice ?? '' },
      );
      expect([answer.status, answer.location]).toEqual([403, undefined]);
    });

    it('whoever was disabled since', async () => {
      const dormant = await world.user({ username: 'dormant-bob', password: 'x' });
      const browser = await browserOf('alice');
      await signIn(browser, await browser.visit('/login'), 'dormant-bob', 'x');
      const page = await browser.visit(requestOf());
      const { bob = '' } = offered(page);
      await setUserDisabled(world.running.database.sql, dormant, true, world.clock.now());
      const answer = await browser.submit(formTo(page, CHOOSER), { account: bob });
      expect([answer.status, answer.location]).toEqual([403, undefined]);
    });

    it.each([
      ['no request', CHOOSER],
      ['an unknown one', `${CHOOSER}?pending=01890000-0000-7000-8000-000000000000`],
    ])('%s', async (_what, path) => {
      const page = await (await browserOf('alice')).visit(path);
      expect([page.status, page.location]).toEqual([400, undefined]);
      expect(page.body).toContain('invalid_request');
    });

    it('another browser, for the page and for the form', async () => {
      const [browser, thief] = [await browserOf('alice', 'bob'), await browserOf('alice', 'bob')];
      const page = await browser.visit(requestOf());
      expect((await thief.visit(page.url)).status).toBe(400);
      const chosen = await thief.submit(formTo(page, CHOOSER), { account: offered(page).alice ?? '' });
      expect(chosen.status).toBe(403);
      expect((await thief.submit(formTo(page, `${CHOOSER}/cancel`))).status).toBe(403);
      expect(responseOf(await choose(browser, page, 'bob')).has('code')).toBe(true);
    });
  });
});

describe('without the room', () => {
  it('who is one of several signs in for the request: no dead end, no circle', async () => {
    const world = await startWorld({
      features: features.filter((line) => line.toString().includes('selectAccount') === false),
    });
    try {
      expect(world.running.features).not.toContain('select-account');
      const browser = new TestBrowser(world);
      await signIn(browser, await browser.visit('/login'), 'alice', 'wonderland');
      await signIn(browser, await browser.visit('/login'), 'bob', 'builder');
      for (const parameters of [{}, { prompt: 'select_account' }]) {
        const login = await browser.visit(requestOf(parameters));
        expect(login.url).toContain('/login?pending=');
        const after = await signIn(browser, login);
        const answer = after.url.includes('/consent') ? await decide(browser, after) : after;
        expect(responseOf(answer).has('code')).toBe(true);
      }
      const consent = await browser.visit(requestOf({ prompt: 'consent', login_hint: 'alice' }));
      const login = await browser.visit(otherOf(consent));
      expect([login.status, new URL(login.url).pathname]).toEqual([200, '/login']);
    } finally {
      await world.close();
    }
  });
});
