/**
 * The attacker knows a client's id and its registered redirect URI, and sends the victim an authorization request whose
 * redirect_uri only looks like it: a code or an error that follows it would land with the attacker (RFC 9700 §4.1).
 * Stopped by: comparison of whole strings; until it succeeds errors are shown and never sent.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditOf, tally } from '../support/attack-aftermath.ts';
import { expectErrorPage } from '../support/attack-pages.ts';
import { authorizePath, pkce, TestBrowser } from '../support/browser.ts';
import { getCode, redeem, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

describe('a redirect_uri that is not the registered one', () => {
  let world: World;
  let signedIn: TestBrowser;
  beforeAll(async () => {
    world = await startWorld();
    // Signed in and consented: the next good request gives a code at once.
    signedIn = (await getCode(world)).browser;
    const native = { grant_types: ['authorization_code'], application_type: 'native', scope: 'openid' };
    await world.client({
      ...native,
      client_id: 'native',
      token_endpoint_auth_method: 'none',
      redirect_uris: ['http://127.0.0.1/callback', 'com.example.app:/callback'],
    });
    await world.client({ client_id: 'local-web', scope: 'openid', redirect_uris: ['http://127.0.0.1:4000/callback'] });
  });
  afterAll(() => world.close());

  function request(redirectUri: string, client = 'web') {
    return authorizePath({
      client_id: client,
      redirect_uri: redirectUri,
      scope: 'openid',
      code_challenge: pkce().challenge,
    });
  }

  const variants: [string, string, string?][] = [
    ['another site', 'https://evil.example/callback'],
    ['user information', 'https://web.example@evil.example/callback'],
    ['user information before the host', 'https://evil@web.example/callback'],
    ['a port that is user information', 'https://web.example:443@evil.example/callback'],
    ['a backslash', 'https://web.example\\@evil.example/callback'],
    ['a backslash for a slash', 'https://web.example\\callback'],
    ['a tab', 'https://web.example/\tcallback'],
    ['a newline', 'https://web.example/callback\n'],
    ['a carriage return and a header', 'https://web.example/callback\r\nSet-Cookie: a=b'],
    ['leading white space', ' https://web.example/callback'],
    ['dot segments', 'https://web.example/x/../callback'],
    ['encoded dot segments', 'https://web.example/x/%2e%2e/callback'],
    ['double encoding', 'https://web.example/x/%252e%252e/callback'],
    ['an encoded letter', 'https://web.example/%63allback'],
    ['another case of the path', 'https://web.example/Callback'],
    ['another case of the host', 'https://WEB.example/callback'],
    ['another case of the scheme', 'HTTPS://web.example/callback'],
    ['a trailing dot in the host', 'https://web.example./callback'],
    ['a suffix to the host', 'https://web.example.evil.example/callback'],
    ['a prefix to the host', 'https://evil-web.example/callback'],
    ['the default port', 'https://web.example:443/callback'],
    ['another port', 'https://web.example:8443/callback'],
    ['a fragment', 'https://web.example/callback#'],
    ['a fragment with text', 'https://web.example/callback#@evil.example'],
    ['an added query', 'https://web.example/callback?next=https://evil.example'],
    ['an empty query', 'https://web.example/callback?'],
    ['a trailing slash', 'https://web.example/callback/'],
    ['a longer path', 'https://web.example/callback/../../evil'],
    ['plain http', 'http://web.example/callback'],
    ['no scheme', '//web.example/callback'],
    ['a script', 'javascript:alert(1)//https://web.example/callback'],
    ['a look-alike letter', 'https://w\u0435b.example/callback'],
    ['a full-width full stop', 'https://web\uFF0Eexample/callback'],
    ['a loopback port, for a web client', 'http://127.0.0.1:4001/callback', 'local-web'],
    ['localhost for 127.0.0.1', 'http://localhost:4001/callback', 'native'],
    ['another loopback literal', 'http://[::1]:4001/callback', 'native'],
    ['another address of the loopback net', 'http://127.0.0.2:4001/callback', 'native'],
    ['127.0.0.1 in decimal', 'http://2130706433/callback', 'native'],
    ['127.0.0.1 shortened', 'http://127.1/callback', 'native'],
    ['a loopback port that is user information', 'http://127.0.0.1:80@evil.example/callback', 'native'],
    ['a loopback host that goes on', 'http://127.0.0.1.evil.example/callback', 'native'],
    ['a loopback port beyond 65535', 'http://127.0.0.1:65536/callback', 'native'],
    ['a loopback port and another path', 'http://127.0.0.1:4001/callback2', 'native'],
    ['a loopback port and a query', 'http://127.0.0.1:4001/callback?x', 'native'],
    ['loopback over https', 'https://127.0.0.1:4001/callback', 'native'],
    ['two slashes after a private-use scheme', 'com.example.app://callback', 'native'],
    ['another path of a private-use scheme', 'com.example.app:/callback2', 'native'],
  ];
  it.each(variants)('%s: an error page, and no code', async (_name, redirectUri, client) => {
    const before = await tally(world);
    const visit = await signedIn.send('GET', request(redirectUri, client));
    expectErrorPage(visit, 400, 'invalid_request');
    // Not even as text: what was sent does not come back.
    expect(visit.body).not.toMatch(/evil|javascript:|callback/i);
    expect(visit.headers.get('set-cookie')).toBeNull();
    expect(await tally(world)).toEqual(before);
  });

  it('an error of the request goes with it to no unregistered address either', async () => {
    const path = authorizePath({ client_id: 'web', redirect_uri: 'https://evil.example/callback', prompt: 'none' });
    expectErrorPage(await new TestBrowser(world).send('GET', path), 400, 'invalid_request');
  });

  it('the same by POST, repeated, missing, and for an unknown client', async () => {
    const { challenge } = pkce();
    const good = {
      response_type: 'code',
      client_id: 'web',
      redirect_uri: WEB_REDIRECT,
      scope: 'openid',
      code_challenge: challenge,
      code_challenge_method: 'S256',
    };
    const posted = { ...good, redirect_uri: 'https://evil.example/callback' };
    expectErrorPage(await signedIn.send('POST', '/authorize', posted), 400, 'invalid_request');
    const repeated = `${request(WEB_REDIRECT)}&redirect_uri=${encodeURIComponent('https://evil.example/callback')}`;
    expectErrorPage(await signedIn.send('GET', repeated), 400, 'invalid_request');
    expectErrorPage(await signedIn.send('GET', `${request(WEB_REDIRECT)}&client_id=spa`), 400, 'invalid_request');
    const missing = authorizePath({ client_id: 'web', scope: 'openid', code_challenge: challenge });
    expectErrorPage(await signedIn.send('GET', missing), 400, 'invalid_request');
    expectErrorPage(await signedIn.send('GET', request(WEB_REDIRECT, 'nobody')), 400, 'invalid_request');
  });

  it('leaves one event in the audit trail', async () => {
    const trail = await auditOf(world, 'invalid_request', () =>
      signedIn.send('GET', request('https://evil.example/callback')),
    );
    expect(trail).toEqual([
      expect.objectContaining({
        event: 'invalid_request',
        times: 1,
        detail: expect.objectContaining({ route: '/authorize' }),
      }),
    ]);
  });

  it('is no obstacle to the registered ones: another port for a native app on a loopback literal, the exact string else', async () => {
    const flow = await getCode(world, { browser: signedIn });
    expect((await redeem(world, flow)).status).toBe(200);
    const native = await signedIn.visit(request('http://127.0.0.1:4001/callback', 'native'));
    expect(native.url).toContain('/consent');
  });
});
