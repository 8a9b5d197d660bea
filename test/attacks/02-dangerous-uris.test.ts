/**
 * The attacker may have a client registered and wants a page of ours to carry a link that runs script here, or a code
 * to travel in clear. Stopped by: schemes checked when a client is registered, escaped output, a CSP without inline
 * script.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { query } from '../support/attack-aftermath.ts';
import { expectPageHeaders } from '../support/attack-pages.ts';
import { authorizePath, pkce, TestBrowser } from '../support/browser.ts';
import { startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

describe('dangerous URIs in client metadata', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  const DANGEROUS = [
    'javascript:alert(1)',
    'JavaScript:alert(1)//https://app.example',
    'java\nscript:alert(1)',
    ' javascript:alert(1)',
    'data:text/html,<script>alert(1)</script>',
    'vbscript:msgbox(1)',
    'file:///etc/passwd',
    'blob:https://app.example/1',
    'about:blank',
    'http://app.example/',
    'http://10.0.0.1/',
    'ftp://app.example/',
    '//app.example/',
    '/callback',
    'https://user:secret@app.example/',
  ];
  const FIELDS = ['redirect_uris', 'client_uri', 'logo_uri', 'policy_uri', 'tos_uri', 'allowed_origins'];

  it.each(FIELDS.flatMap((field) => DANGEROUS.map((uri): [string, string] => [field, uri])))(
    '%s %j is refused, and no client is made',
    async (field, uri) => {
      const list = field === 'redirect_uris' || field === 'allowed_origins';
      const metadata = { client_id: 'evil', redirect_uris: ['https://app.example/callback'] };
      for (const application_type of ['web', 'native']) {
        await expect(
          world.client({ ...metadata, application_type, [field]: list ? [uri] : uri }),
        ).rejects.toMatchObject({
          code: field === 'redirect_uris' ? 'invalid_redirect_uri' : 'invalid_client_metadata',
        });
      }
      expect(await query(world, "SELECT id FROM clients WHERE id = 'evil'")).toEqual([]);
    },
  );

  it.each([
    ['a fragment', 'https://app.example/callback#x'],
    ['a wildcard host', 'https://*.app.example/callback'],
    ['a host that would add to a CSP', 'https://app.example;script-src/callback'],
    ['a list of hosts', 'https://app.example,evil.example/callback'],
    ['white space', 'https://app.example/call back'],
    ['a backslash', 'https://app.example\\callback'],
    ['dot segments', 'https://app.example/x/../callback'],
  ])('a redirect URI with %s is refused', async (_name, uri) => {
    await expect(world.client({ client_id: 'evil', redirect_uris: [uri] })).rejects.toMatchObject({
      code: 'invalid_redirect_uri',
    });
  });

  it('a private-use scheme needs a native client, a dot and one slash', async () => {
    for (const [application_type, uri] of [
      ['web', 'com.example.app:/callback'],
      ['native', 'myapp:/callback'],
      ['native', 'com.example.app://callback'],
    ]) {
      await expect(world.client({ client_id: 'evil', application_type, redirect_uris: [uri] })).rejects.toMatchObject({
        code: 'invalid_redirect_uri',
      });
    }
  });

  it('a public client that anybody on the device can claim may not skip consent', async () => {
    await expect(
      world.client({
        client_id: 'evil',
        application_type: 'native',
        token_endpoint_auth_method: 'none',
        skip_consent: true,
        redirect_uris: ['http://127.0.0.1/callback'],
      }),
    ).rejects.toMatchObject({ code: 'invalid_client_metadata' });
  });

  it('pages link only to https, without a referrer, under a policy without script', async () => {
    await world.client({
      client_id: 'linked',
      client_name: 'Linked',
      redirect_uris: [WEB_REDIRECT],
      client_uri: 'https://app.example/?q=\'"><script>alert(1)</script>',
      policy_uri: 'https://app.example/privacy',
      tos_uri: 'https://app.example/terms',
      scope: 'openid',
    });
    const page = await new TestBrowser(world).visit(
      authorizePath({
        client_id: 'linked',
        redirect_uri: WEB_REDIRECT,
        code_challenge: pkce().challenge,
        scope: 'openid',
      }),
    );
    expectPageHeaders(page.headers);
    expect(page.headers.get('content-security-policy')).not.toContain('script-src');
    const links = [...page.body.matchAll(/<a href="([^"]*)"([^>]*)>/g)];
    expect(links).toHaveLength(3);
    for (const [, href = '', rest] of links) {
      expect(href).toMatch(/^https:\/\/app\.example\//);
      expect(rest).toContain('rel="noopener noreferrer"');
    }
    expect(page.body).not.toContain('<script');
    expect(page.body).not.toMatch(/ on\w+=|style=/);
  });
});
