import { describe, expect, it } from 'vitest';
import { OAuthError } from '../../src/protocol/errors.ts';
import { Parameters } from '../../src/protocol/message.ts';
import { checkRedirectUri, formTarget, isClaimable, resolveReturnAddress } from '../../src/protocol/redirect-uri.ts';
import { clientOf } from './samples.ts';

describe('a redirect URI as it is registered (OAuth 2.1 §2.3, RFC 8252 §7)', () => {
  it.each([
    'https://app.example/callback',
    'https://app.example',
    'https://app.example/callback?tenant=a%20b',
    'https://app.example:8443/callback',
    'https://xn--caf-dma.example/callback',
    'http://localhost:4000/callback',
    'http://127.0.0.1/callback',
    'http://[::1]:4000/callback',
  ])('%s is good for every client', (uri) => {
    expect(() => checkRedirectUri(uri, 'web')).not.toThrow();
    expect(() => checkRedirectUri(uri, 'native')).not.toThrow();
  });

  it.each(['com.example.app:/callback', 'com.example.app:/'])('%s is good for a native app only', (uri) => {
    expect(() => checkRedirectUri(uri, 'native')).not.toThrow();
    expect(() => checkRedirectUri(uri, 'web')).toThrow(/application_type native/);
  });

  it.each([
    ['', 'nothing'],
    ['/callback', 'relative'],
    ['//app.example/callback', 'without a scheme'],
    ['app.example/callback', 'without a scheme'],
    ['https://app.example/callback#', 'an empty fragment'],
    ['https://app.example/callback#x', 'a fragment'],
    ['https://app.example/call back', 'a space'],
    ['https://app.example/callback\n', 'a line feed'],
    ['https://app.example/callback\t', 'a tab'],
    ['https://app.example/callback\0', 'NUL'],
    ['https://app.example\\@evil.example/', 'a backslash'],
    ['https://app.example\\.evil.example/', 'a backslash'],
    ['https://user@app.example/', 'user information'],
    ['https://user:password@app.example/', 'user information'],
    ['https://@app.example/', 'empty user information'],
    ['https://app.example/@evil.example', 'what a careless reader takes for user information'],
    ['https://App.example/callback', 'an upper-case host'],
    ['HTTPS://app.example/callback', 'an upper-case scheme'],
    ['https://app.example:443/callback', 'the default port'],
    ['https://app.example/a/../callback', 'dot segments'],
    ['https://app.example/a/%2e%2e/callback', 'encoded dot segments'],
    ['https:app.example/callback', 'no slashes'],
    ['https:/app.example/callback', 'one slash'],
    ['https:///app.example/callback', 'three slashes'],
    ['https://*.app.example/callback', 'a wildcard'],
    ['https://app.example;script-src/callback', 'a host that ends the policy it is printed in'],
    ['https://app.example,evil.example/callback', 'a host that is two'],
    ['https://app_example%2eevil/callback', 'an encoded dot'],
    ['https://café.example/callback', 'a host that is not ASCII'],
    ['https://аpp.example/callback', 'a Cyrillic letter'],
    ['http://app.example/callback', 'http abroad'],
    ['http://127.0.0.1.evil.example/callback', 'a loopback look-alike'],
    ['http://localhost.evil.example/callback', 'a loopback look-alike'],
    ['http://127.0.0.2/callback', 'another address of the loopback network'],
    ['http://0.0.0.0/callback', 'any address'],
    ['http://0x7f.1/callback', 'loopback in disguise'],
    ['http://2130706433/callback', 'loopback as a number'],
    ['http://[::ffff:127.0.0.1]/callback', 'loopback mapped into IPv6'],
    ['http://[0:0:0:0:0:0:0:1]/callback', 'loopback written out'],
    ['ftp://app.example/callback', 'another scheme'],
    ['ws://app.example/callback', 'another scheme'],
    ['javascript:alert(1)', 'a script'],
    ['JaVaScRiPt:alert(1)', 'a script'],
    ['javascript:/a.b/alert(1)', 'a script'],
    ['data:text/html,x', 'data'],
    ['vbscript:x', 'a script'],
    ['file:///etc/passwd', 'a file'],
    ['blob:https://app.example/x', 'a blob'],
    ['about:blank', 'about'],
    ['view-source:https://app.example/', 'view-source'],
    ['urn:ietf:wg:oauth:2.0:oob', 'out of band'],
    ['myapp:/callback', 'a scheme without a domain'],
    ['com.example.app://callback', 'a private-use scheme with an authority'],
    ['com.example.app:callback', 'a private-use scheme without a path'],
    ['Com.Example.App:/callback', 'a private-use scheme in upper case'],
  ])('%j is refused even for a native app (%s)', (uri) => {
    const check = () => checkRedirectUri(uri, 'native');
    expect(check).toThrow(OAuthError);
    expect(check).toThrow(/^redirect_uris: /);
    try {
      check();
    } catch (error) {
      expect((error as OAuthError).code).toBe('invalid_redirect_uri');
    }
  });
});

function address(
  registered: string[],
  parameters: Record<string, string> | [string, string][],
  metadata: Record<string, unknown> = {},
) {
  const pairs = Array.isArray(parameters) ? parameters : Object.entries(parameters);
  return resolveReturnAddress(clientOf({ redirect_uris: registered, ...metadata }), new Parameters(pairs));
}

describe('where an answer goes (OAuth 2.1 §4.1.3)', () => {
  const registered = 'https://app.example/callback?tenant=1';

  it('is the registered URI, character by character, with the state that was sent', () => {
    const resolved = address(['https://other.example/', registered], { redirect_uri: registered, state: ' a&b=c ' });
    expect(resolved).toMatchObject({ redirectUri: registered, state: ' a&b=c ' });
  });

  it.each([
    'https://app.example/callback?tenant=1&',
    'https://app.example/callback?tenant=1#x',
    'https://app.example/callback?tenant=2',
    'https://app.example/callback',
    'https://app.example/callback/?tenant=1',
    'https://app.example/Callback?tenant=1',
    'https://APP.example/callback?tenant=1',
    'HTTPS://app.example/callback?tenant=1',
    'https://app.example:443/callback?tenant=1',
    'https://app.example/%63allback?tenant=1',
    'https://app.example//callback?tenant=1',
    'https://app.example/x/../callback?tenant=1',
    'https://app.example.evil.example/callback?tenant=1',
    'https://evil.example/https://app.example/callback?tenant=1',
    'https://app.example@evil.example/callback?tenant=1',
    'http://app.example/callback?tenant=1',
    ' https://app.example/callback?tenant=1',
    'https://app.example/callback?tenant=1 ',
    'https://app.example/callback?tenant=1\n',
    '//app.example/callback?tenant=1',
    '/callback?tenant=1',
    '.*',
    '*',
  ])('%j is not it', (asked) => {
    for (const metadata of [{}, { application_type: 'native' }]) {
      expect(() => address([registered], { redirect_uri: asked }, metadata)).toThrow(/not registered/);
    }
  });

  it('is no address at all for a client without one', () => {
    expect(() => address([], { redirect_uri: 'https://app.example/' })).toThrow(/not registered/);
    expect(() => address([], {})).toThrow(/redirect_uri is required/);
  });

  it('may be left out only when there is one to choose from and nobody speaks OpenID Connect', () => {
    expect(address([registered], { scope: 'photos.read' })).toMatchObject({ redirectUri: registered });
    expect(() => address([registered], { scope: 'photos.read openid' })).toThrow(/required/);
    expect(() => address([registered, 'https://app.example/'], { scope: 'photos.read' })).toThrow(/required/);
  });

  it('forgets a state that was sent twice', () => {
    const pairs: [string, string][] = [
      ['redirect_uri', registered],
      ['state', 'a'],
      ['state', 'b'],
    ];
    expect(address([registered], pairs).state).toBeUndefined();
  });
});

describe('the port of a native app on a loopback literal (RFC 8252 §7.3)', () => {
  const native = { application_type: 'native' };

  it.each([
    ['http://127.0.0.1/callback', 'http://127.0.0.1:51234/callback'],
    ['http://127.0.0.1:4000/callback', 'http://127.0.0.1/callback'],
    ['http://127.0.0.1:4000/callback', 'http://127.0.0.1:65535/callback'],
    ['http://[::1]/callback?x=1', 'http://[::1]:51234/callback?x=1'],
    ['http://127.0.0.1', 'http://127.0.0.1:51234'],
  ])('registered %s, asked %s: the same', (registered, asked) => {
    expect(address([registered], { redirect_uri: asked }, native).redirectUri).toBe(asked);
    expect(() => address([registered], { redirect_uri: asked })).toThrow(/not registered/);
  });

  it.each([
    ['http://127.0.0.1/callback', 'http://[::1]:4000/callback'],
    ['http://127.0.0.1/callback', 'http://localhost:4000/callback'],
    ['http://localhost/callback', 'http://localhost:4000/callback'],
    ['http://localhost/callback', 'http://127.0.0.1:4000/callback'],
    ['http://127.0.0.1/callback', 'https://127.0.0.1:4000/callback'],
    ['http://127.0.0.1/callback', 'http://127.0.0.1:4000/callback/'],
    ['http://127.0.0.1/callback', 'http://127.0.0.1:4000/callback?x'],
    ['http://127.0.0.1/callback', 'http://127.0.0.1:4000'],
    ['http://127.0.0.1/callback', 'http://127.0.0.1:/callback'],
    ['http://127.0.0.1/callback', 'http://127.0.0.1:65536/callback'],
    ['http://127.0.0.1/callback', 'http://127.0.0.1:99999/callback'],
    ['http://127.0.0.1/callback', 'http://127.0.0.1:4000@evil.example/callback'],
    ['http://127.0.0.1/callback', 'http://127.0.0.1:4000.evil.example/callback'],
    ['http://127.0.0.1/callback', 'http://127.0.0.1.evil.example/callback'],
    ['http://127.0.0.1/callback', 'http://127.0.0.1:4000\\@evil.example/callback'],
    ['http://127.0.0.1/callback', 'http://evil.example/http://127.0.0.1:4000/callback'],
    ['http://127.0.0.1/callback', 'http://127.0.0.1:4000/callback\n'],
    ['http://127.0.0.1/callback', 'http://127.0.0.1:-1/callback'],
    ['http://127.0.0.1/callback', 'http://127.1:4000/callback'],
    ['https://app.example/callback', 'https://app.example:4000/callback'],
  ])('registered %s, asked %j: another address', (registered, asked) => {
    expect(() => address([registered], { redirect_uri: asked }, native)).toThrow(/not registered/);
  });
});

describe('what an address is called elsewhere', () => {
  it.each([
    ['https://app.example:8443/callback', 'https://app.example:8443', false],
    ['http://127.0.0.1:4000/callback', 'http://127.0.0.1:4000', true],
    ['http://localhost/callback', 'http://localhost', true],
    ['http://[::1]/callback', 'http://[::1]', true],
    ['com.example.app:/callback', 'com.example.app:', true],
  ])('%s: %s in form-action, claimable by any app on the device: %s', (uri, target, claimable) => {
    expect(formTarget(address([uri], { redirect_uri: uri }))).toBe(target);
    expect(isClaimable(uri)).toBe(claimable);
  });
});
