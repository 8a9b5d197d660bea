/** OpenID Connect Front-Channel Logout 1.0; in Chromium it is in test/browser/logout.test.ts. */
import { createHash } from 'node:crypto';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GO_ON_SCRIPT } from '../../src/protocol/page.ts';
import { expectPageHeaders } from '../support/attack-pages.ts';
import { authorizePath, formTo, pkce, responseOf, signIn, TestBrowser, type Visit } from '../support/browser.ts';
import { startWorld, type World } from '../support/world.ts';
import { relyingParty, tokensOf } from './relying-party.ts';

const BYE = 'https://one.example/bye';

let world: World;
const parties: Record<string, oidc.Configuration> = {};
beforeAll(async () => {
  world = await startWorld();
  const register = async (name: string, metadata: Record<string, unknown>) => {
    const client = await world.client({
      client_id: name,
      client_name: `App ${name}`,
      redirect_uris: [`https://${name}.example/callback`],
      scope: 'openid profile',
      ...metadata,
    });
    parties[name] = await relyingParty(world, client);
  };
  await register('one', {
    frontchannel_logout_uri: 'https://one.example/out?tenant=a%20b',
    frontchannel_logout_session_required: true,
    post_logout_redirect_uris: [BYE],
  });
  await register('two', { frontchannel_logout_uri: 'https://two.example/out' });
  await register('deaf', {});
});
afterAll(() => world.close());

/** Signs in at one of the apps. */
async function at(name: string, browser: TestBrowser, who: [string, string] = ['alice', 'wonderland']) {
  const party = parties[name] ?? expect.fail();
  const { tokens } = await tokensOf(party, `https://${name}.example/callback`, 'openid', { browser, who });
  return { idToken: tokens.id_token ?? '', sid: tokens.claims()?.sid };
}

const framesOf = ({ body }: Visit) =>
  [...body.matchAll(/<iframe src="([^"]*)"[^>]* hidden>/g)].map(([, address = '']) => address.replaceAll('&amp;', '&'));

function logout(name: string, parameters: Record<string, string>): string {
  return oidc.buildEndSessionUrl(parties[name] ?? expect.fail(), parameters).href;
}

describe('signing out', () => {
  it('frontchannel-rp-initiated-logout: loads the address of each client with exactly iss and sid, then goes on', async () => {
    const browser = new TestBrowser(world);
    const one = await at('one', browser);
    const two = await at('two', browser);
    await at('deaf', browser);
    const page = await browser.visit(
      logout('one', { id_token_hint: one.idToken, post_logout_redirect_uri: BYE, state: 'a&b"' }),
    );
    expect(page.status).toBe(200);
    expect(page.body).toContain('<h1>You have been signed out</h1>');
    const iss = encodeURIComponent(world.issuer);
    expect(framesOf(page).sort()).toEqual([
      `https://one.example/out?tenant=a%20b&iss=${iss}&sid=${one.sid}`,
      `https://two.example/out?iss=${iss}&sid=${two.sid}`,
    ]);
    expect(one.sid).not.toBe(two.sid);
    const onward = `${BYE}?state=a%26b%22`;
    expect(page.body).toContain(`<meta http-equiv="refresh" content="1;url=${onward}">`);
    expect(page.body).toContain(`href="${onward}" id="logout-continue"`);
    expect((await browser.visit('/account')).url).toContain('/login');
  });

  it('relaxes the policy of that page by the origins of the frames and the one script, and by nothing else', async () => {
    const browser = new TestBrowser(world);
    const { idToken } = await at('one', browser);
    await at('two', browser);
    const page = await browser.visit(logout('one', { id_token_hint: idToken }));
    expectPageHeaders(page.headers);
    const hash = createHash('sha256').update(GO_ON_SCRIPT).digest('base64');
    const policy = (page.headers.get('content-security-policy') ?? '').split('; ');
    const frames = policy.find((directive) => directive.startsWith('frame-src')) ?? '';
    expect(frames.split(' ').slice(1).sort()).toEqual(['https://one.example', 'https://two.example']);
    expect(policy.filter((directive) => directive !== frames)).toEqual([
      "default-src 'none'",
      "style-src 'self'",
      "img-src 'self' data:",
      `script-src 'sha256-${hash}'`,
      "form-action 'self'",
      "frame-ancestors 'none'",
      "base-uri 'none'",
    ]);
    expect(page.body).toContain(`<script>${GO_ON_SCRIPT}</script>`);
  });

  it('stays within what proxies take as a header, with sixty clients of long names', async () => {
    const browser = new TestBrowser(world);
    await signIn(browser, await browser.visit('/login'));
    const addresses: string[] = [];
    for (let count = 0; count < 60; count += 1) {
      const origin = `https://${'a-long-name.'.repeat(6)}client-${count}.example`;
      const client = await world.client({
        redirect_uris: [`${origin}/callback`],
        scope: 'openid',
        skip_consent: true,
        frontchannel_logout_uri: `${origin}/out`,
      });
      const { challenge } = pkce();
      const path = authorizePath({
        client_id: client.id,
        redirect_uri: `${origin}/callback`,
        scope: 'openid',
        code_challenge: challenge,
      });
      expect(responseOf(await browser.visit(path)).has('code')).toBe(true);
      addresses.push(`${origin}/out`);
    }
    const ended = await browser.submit(formTo(await browser.visit('/logout'), '/logout'));
    expect(
      framesOf(ended)
        .map((address) => address.split('?')[0])
        .sort(),
    ).toEqual(addresses.sort());
    const policy = ended.headers.get('content-security-policy') ?? '';
    expect(policy.length).toBeLessThan(4000);
    expect(policy.split('; ')).toContain('frame-src https:');
    expectPageHeaders(ended.headers);
  });

  it('asks clients of everybody who was signed in, each once for each person', async () => {
    const browser = new TestBrowser(world);
    const first = await at('one', browser);
    await at('one', browser);
    await signIn(browser, await browser.visit('/login'), 'bob', 'builder');
    const page = await browser.visit('/logout');
    const ended = await browser.submit(formTo(page, '/logout'));
    expect(framesOf(ended)).toHaveLength(1);
    expect(framesOf(ended)[0]).toContain(`sid=${first.sid}`);
    expect(ended.body).toContain('href="/logout" id="logout-continue"');
  });

  it('shows no such page where no client has asked for it', async () => {
    const browser = new TestBrowser(world);
    const { idToken } = await at('deaf', browser);
    const page = await browser.visit(logout('deaf', { id_token_hint: idToken }));
    expect(framesOf(page)).toEqual([]);
    expect(page.body).not.toContain('<script');
  });

  it('asks no client that only got access, not an ID token', async () => {
    const browser = new TestBrowser(world);
    const party = parties.one ?? expect.fail();
    await tokensOf(party, 'https://one.example/callback', 'profile', { browser });
    const ended = await browser.submit(formTo(await browser.visit('/logout'), '/logout'));
    expect(framesOf(ended)).toEqual([]);
  });
});

describe('registration of frontchannel_logout_uri', () => {
  const register = (uri: unknown, redirectUri = 'https://app.example/callback') =>
    world.client({ redirect_uris: [redirectUri, 'https://second.example:8443/'], frontchannel_logout_uri: uri });

  it.each([
    'https://elsewhere.example/out',
    'http://app.example/out',
    'https://app.example:8443/out',
    'https://sub.app.example/out',
    'https://app.example.evil.example/out',
    'https://app.example/out#here',
    'https://user@app.example/out',
    'javascript:alert(1)',
    'data:text/html,x',
    'https://app.example/a b',
    'https://app.example;script-src/*',
    '/out',
    '',
    7,
  ])('refuses %j, naming the field', async (uri) => {
    await expect(register(uri)).rejects.toMatchObject({
      code: 'invalid_client_metadata',
      message: expect.stringMatching(/^frontchannel_logout_uri/),
    });
  });

  it.each([
    ['https://app.example/out?x=1', undefined],
    ['https://second.example:8443/out', undefined],
    ['http://localhost:4000/out', 'http://localhost:4000/callback'],
  ])('takes %s', async (uri, redirectUri) => {
    await expect(register(uri, redirectUri)).resolves.toBeDefined();
  });
});

it('frontchannel-logout-discovery-endpoint-verification: the metadata says that it is supported, with sessions', () => {
  expect(parties.one?.serverMetadata()).toMatchObject({
    frontchannel_logout_supported: true,
    frontchannel_logout_session_supported: true,
    end_session_endpoint: `${world.issuer}/logout`,
  });
});
