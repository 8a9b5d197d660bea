/**
 * Where the browser stands between Gatehouse and the origins of others: requests and responses that travel as forms,
 * what a page's policy lets through and stops, and frames. OAuth 2.0 Form Post Response Mode, RFC 9700 §4.7, §4.16.
 */
import { describe, expect, test } from 'vitest';
import { errorCodeOn, eventually, setStage, signIn, signInAndAllow } from './stage.ts';

const stage = setStage();

describe('response_mode=form_post', () => {
  test.each(['localhost', '127.0.0.1'] as const)('the response arrives as a form at an app on %s', async (host) => {
    const app = await stage.app({ host });
    const page = await stage.open();
    const addresses: string[] = [];
    page.on('framenavigated', (frame) => addresses.push(frame.url()));
    await signInAndAllow(page, app.begin({ response_mode: 'form_post' }));
    const arrival = await app.arrivalOn(page);
    expect(arrival).toMatchObject({ method: 'POST', sub: stage.world.alice });
    const code = arrival.answer.get('code') ?? '';
    expect(code.length).toBeGreaterThan(20);
    expect(
      addresses.filter((address) => address.includes(code)),
      'the code is in no address',
    ).toEqual([]);
  });

  test('without JavaScript, by its button', async () => {
    const app = await stage.app({ host: '127.0.0.1' });
    const page = await stage.open({ javaScriptEnabled: false });
    await signInAndAllow(page, app.begin({ response_mode: 'form_post' }));
    await page.locator('#form-post-continue').click();
    expect(await app.arrivalOn(page)).toMatchObject({ method: 'POST', sub: stage.world.alice });
  });

  test('an error travels the same way', async () => {
    const app = await stage.app();
    const page = await stage.open();
    await page.goto(app.begin({ response_mode: 'form_post' }));
    await page.locator('#login-cancel').click();
    const { method, error, answer } = await app.arrivalOn(page);
    expect([method, error, answer.get('iss')]).toEqual(['POST', 'access_denied', stage.world.issuer]);
  });

  test('a state full of markup comes back as it was, and runs nothing', async () => {
    const state = `"><script>document.title='run'</script><img src=x onerror=alert(1)>'&amp;</form>`;
    const app = await stage.app();
    const page = await stage.open();
    await page.goto(app.begin({ response_mode: 'form_post', prompt: 'none', state }));
    await page.waitForURL(app.redirectUri);
    expect(app.arrivals[0]?.answer.get('state')).toBe(state);
  });
});

describe('a request posted by the form of an app', () => {
  // From 127.0.0.1 to localhost is from one site to another: SameSite=Lax cookies do not come with a POST.
  test.each(['localhost', '127.0.0.1'] as const)('on %s: who is not signed in, signs in', async (host) => {
    const app = await stage.app({ host });
    const page = await stage.open();
    await page.goto(app.beginByForm());
    await page.locator('#go').click();
    await signIn(page);
    await page.locator('#consent-allow').click();
    expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
  });

  test.each(['localhost', '127.0.0.1'] as const)('on %s: who is signed in, stays it', async (host) => {
    const app = await stage.app({ host });
    const page = await stage.open();
    await signInAndAllow(page, app.begin());
    await app.arrivalOn(page);
    await page.goto(app.beginByForm());
    await page.locator('#go').click();
    expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
  });

  test('with a response by form as well', async () => {
    const app = await stage.app({ host: '127.0.0.1' });
    const page = await stage.open();
    await page.goto(app.beginByForm({ response_mode: 'form_post' }));
    await page.locator('#go').click();
    await signIn(page);
    await page.locator('#consent-allow').click();
    expect(await app.arrivalOn(page)).toMatchObject({ method: 'POST', sub: stage.world.alice });
  });
});

describe('the policy of the pages', () => {
  test('lets the sign-in form end at the app, also after a wrong password', async () => {
    // Nobody is asked for consent, so the redirects after the sign-in form itself lead to the other origin.
    const app = await stage.app({ host: '127.0.0.1', metadata: { skip_consent: true } });
    const page = await stage.open();
    await page.goto(app.begin());
    await signIn(page, 'alice', 'wrong');
    await page.getByRole('alert').waitFor();
    await signIn(page);
    expect((await app.arrivalOn(page)).sub).toBe(stage.world.alice);
  });

  test('lets no form go anywhere else', async () => {
    const [app, other] = [await stage.app(), await stage.app()];
    const page = await stage.open();
    await page.goto(app.begin());
    await page.evaluate(`document.forms[0].action = ${JSON.stringify(other.redirectUri)}`);
    await page.locator('#username').fill('alice');
    await page.locator('#password').fill('wonderland');
    await page.locator('#login-submit').click({ noWaitAfter: true });
    await stage.expectComplaint(/form-action/);
    expect(other.arrivals).toEqual([]);
    expect(new URL(page.url()).pathname).toBe('/login');
  });

  test('runs no script that was put into a page, loads no style, picture or frame from elsewhere', async () => {
    const app = await stage.app();
    const page = await stage.open();
    await page.goto(app.begin());
    await page.evaluate(`(() => {
      const add = (name, properties) => document.body.append(Object.assign(document.createElement(name), properties));
      add('script', { textContent: "document.title = 'run'" });
      add('script', { src: ${JSON.stringify(`${app.origin}/script.js`)} });
      add('style', { textContent: 'body { display: none }' });
      add('img', { src: ${JSON.stringify(`${app.origin}/picture.png`)} });
      add('iframe', { src: ${JSON.stringify(`${app.origin}/`)} });
      document.body.setAttribute('onclick', "document.title = 'run'");
    })()`);
    await page.locator('h1').click();
    await stage.expectComplaint(/Content Security Policy|: policy /);
    await eventually(
      () => new Set(stage.complaints.flatMap((text) => /: policy (\S+)/.exec(text)?.slice(1) ?? [])),
    ).toEqual(new Set(['frame-src', 'img-src', 'script-src-attr', 'script-src-elem', 'style-src-elem']));
    expect(await page.title()).toContain('Sign in');
    expect(await page.locator('h1').isVisible()).toBe(true);
  });

  test.each(['/login', '/logout', '/account', '/', '/authorize'])('%s is shown in no frame', async (path) => {
    const app = await stage.app();
    const page = await stage.open();
    await page.goto(`${stage.world.issuer}/login`);
    await signIn(page);
    await page.waitForURL('**/account');
    // Of the same site, so that the frame would come with the session.
    await page.goto(app.frame(stage.world.issuer + path));
    await stage.expectComplaint(/frame-ancestors/);
    const [, frame] = page.frames();
    expect(frame?.url()).toMatch(/^chrome-error:/);
  });
});

test('/userinfo is read by scripts of the app the token is of, and of no other', async () => {
  const [app, other] = [await stage.app(), await stage.app()];
  const page = await stage.open();
  await signInAndAllow(page, app.begin());
  const { accessToken } = await app.arrivalOn(page);
  const read = async (origin: string) => {
    await page.goto(origin);
    return page.evaluate(`fetch(${JSON.stringify(`${stage.world.issuer}/userinfo`)}, {
      headers: { authorization: ${JSON.stringify(`Bearer ${accessToken}`)} },
    }).then((response) => response.json(), (error) => error.name)`);
  };
  expect(await read(app.origin)).toEqual({ sub: stage.world.alice });
  expect(stage.complaints).toEqual([]);
  expect(await read(other.origin)).toBe('TypeError');
  await stage.expectComplaint(/CORS policy|ERR_FAILED/);
});

test.each(['localhost', '127.0.0.1'] as const)(
  'no form on %s signs anybody in or out or takes an access back',
  async (host) => {
    const app = await stage.app({ host });
    const page = await stage.open();
    await page.goto(`${stage.world.issuer}/login`);
    await signIn(page);
    await page.waitForURL('**/account');
    const send = async (path: string, fields: Record<string, string>) => {
      await page.goto(`${app.origin}/`);
      await page.evaluate(`(() => {
      const form = Object.assign(document.createElement('form'), { method: 'post', action: ${JSON.stringify(stage.world.issuer + path)} });
      for (const [name, value] of Object.entries(${JSON.stringify(fields)}))
        form.append(Object.assign(document.createElement('input'), { name, value }));
      document.body.append(form);
      form.submit();
    })()`);
      await page.waitForURL(`${stage.world.issuer}/**`);
    };
    for (const [path, fields] of [
      ['/login', { username: 'bob', password: 'builder', csrf: '' }],
      ['/account/access', { client_id: app.id, csrf: '' }],
      ['/consent', { decision: 'allow', pending: '', csrf: '' }],
    ] as const) {
      await send(path, fields);
      expect(await errorCodeOn(page), path).toBe('access_denied');
    }
    // Apps may send people here by form (RP-Initiated Logout §2); what that gives is the question.
    await send('/logout', { csrf: '' });
    await page.locator('#logout-confirm').waitFor();
    await page.goto(`${stage.world.issuer}/account`);
    expect(await page.locator('#account-username').textContent()).toBe('alice');
  },
);
