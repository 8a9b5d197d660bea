/**
 * The attacker reads the log (a collector, a backup, a colleague's screen) or a dump of the database, and wants something
 * that opens a door (RFC 9700 §4.2, §4.3; FAPI 2.0 attackers A3a, A5). Stopped by: the log has routes and ids, never a
 * query, a body or a header; the database has hashes, sealed keys and sealed successors.
 */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditOf, dump } from '../support/attack-aftermath.ts';
import { authorizePath, formTo, pkce, post, signIn, TestBrowser } from '../support/browser.ts';
import { TEST_COOKIE_KEY } from '../support/server.ts';
import { TEST_KEY_ENCRYPTION_KEY } from '../support/template.ts';
import {
  getCode,
  introspect,
  PHOTOS,
  redeem,
  refresh,
  STORAGE,
  startWorld,
  WEB_REDIRECT,
  type World,
} from '../support/world.ts';

describe('secrets', () => {
  let world: World;
  /** Every value somebody could use, by what it is. */
  const secrets = new Map<string, string>();
  /** Of a request in flight: not for the log, and in the database while it lasts. */
  const passing = new Map<string, string>();

  beforeAll(async () => {
    world = await startWorld({ env: { LOG_LEVEL: 'trace' } });
    const keep = (name: string, value: unknown) => {
      if (typeof value !== 'string' || value.length < 6) throw new Error(`no ${name}`);
      secrets.set(`${name} ${secrets.size}`, value);
    };
    for (const name of ['web', 'batch', 'photosApi', 'storageApi'] as const) keep('client secret', world[name].secret);
    keep('password', 'wonderland');
    keep('password of another', 'builder');
    keep('mistyped password', 'wunderland-mistyped');
    passing.set('state', 'state-that-nobody-logs');
    passing.set('nonce', 'nonce-that-nobody-logs');
    passing.set('login_hint', 'hint-that-nobody-logs');
    const parameters = {
      state: 'state-that-nobody-logs',
      nonce: 'nonce-that-nobody-logs',
      login_hint: 'hint-that-nobody-logs',
    };

    const scope = 'openid profile photos.read storage.read';
    for (const client of ['web', 'spa'] as const) {
      const browser = new TestBrowser(world);
      const mistyped = await browser.visit(
        authorizePath({
          client_id: 'web',
          redirect_uri: WEB_REDIRECT,
          scope,
          code_challenge: pkce().challenge,
          ...parameters,
        }),
      );
      for (const { value } of [...mistyped.body.matchAll(/name="csrf" value="([^"]+)"/g)].map(([, value]) => ({
        value,
      })))
        keep('form token', value);
      await signIn(browser, mistyped, 'alice', 'wunderland-mistyped');
      const flow = await getCode(world, { client, scope, browser, parameters });
      keep('code', flow.code);
      keep('verifier', flow.verifier);
      for (const value of browser.cookies.values()) keep('cookie', value);
      await redeem(world, { ...flow, verifier: 'w'.repeat(43) }, client);
      const issued = (await redeem(world, flow, client, { resource: PHOTOS })).json;
      const again = (await refresh(world, issued.refresh_token as string, client, { resource: STORAGE })).json;
      for (const { access_token, refresh_token, id_token } of [issued, again]) {
        keep('access token', access_token);
        keep('id token', id_token);
        if (refresh_token !== undefined) keep('refresh token', refresh_token);
      }
      await introspect(world, issued.access_token as string);
      await fetch(`${world.issuer}/userinfo`, { headers: { authorization: `Bearer ${issued.access_token}` } });
      await fetch(`${world.issuer}/userinfo?access_token=${issued.access_token}`);
      await fetch(`${world.issuer}/nowhere?code=${flow.code}`);
      await post(`${world.issuer}/token?code=${flow.code}`, { code: flow.code });
      await post(`${world.issuer}/token`, {
        grant_type: 'password',
        username: 'alice',
        password: 'wonderland',
        client_id: 'spa',
      });
      await redeem(world, flow, client);
      await post(`${world.issuer}/revoke`, { token: issued.refresh_token as string }, { basic: world.batch });
      const { action, fields } = formTo(await browser.visit('/logout'), '/logout');
      keep('form token', fields.csrf);
      await browser.submit({ action, fields });
    }
    const own = await post(
      `${world.issuer}/token`,
      { grant_type: 'client_credentials', resource: STORAGE },
      { basic: world.batch },
    );
    keep('access token', own.json.access_token);
    keep('key', TEST_COOKIE_KEY.toString('base64url'));
    keep('key', TEST_KEY_ENCRYPTION_KEY.toString('base64url'));
    keep('database password', new URL(world.databaseUrl).password || 'no-password-here');
    // And a fault of our own, whose error is logged whole.
    await auditOf(world, 'signed_in', async () => getCode(world, { scope }));
  });
  afterAll(() => world.close());

  /** A value as a log or a dump might hold it: as it is, form-encoded, in hexadecimal, and its secret part alone. */
  function forms(value: string): string[] {
    const [, raw] = /^gate_[a-z]{2}_(.{64})$/.exec(value) ?? [];
    return [
      value,
      encodeURIComponent(value),
      Buffer.from(value).toString('hex'),
      Buffer.from(value).toString('base64'),
      ...(raw === undefined
        ? []
        : [
            raw,
            raw.slice(-43),
            Buffer.from(raw, 'base64url').toString('hex'),
            Buffer.from(raw, 'base64url').subarray(16).toString('hex'),
          ]),
    ];
  }

  const found = (text: string, values: Map<string, string>) =>
    [...values].filter(([, value]) => forms(value).some((form) => text.includes(form))).map(([name]) => name);

  it('are many: the search below has something to look for', () => {
    const kinds = new Set([...secrets.keys()].map((name) => name.replace(/ \d+$/, '')));
    expect([...kinds].sort()).toEqual([
      'access token',
      'client secret',
      'code',
      'cookie',
      'database password',
      'form token',
      'id token',
      'key',
      'mistyped password',
      'password',
      'password of another',
      'refresh token',
      'verifier',
    ]);
  });

  it('are not in the log, whatever its level, and neither is what passes through', () => {
    const log = world.log.join('');
    expect(log.length).toBeGreaterThan(1000);
    expect(found(log, secrets)).toEqual([]);
    expect(found(log, passing)).toEqual([]);
    expect(log).not.toMatch(/cookie"|authorization"|Bearer |Basic [A-Za-z0-9]/);
  });

  it('are not in the database', async () => {
    const text = await dump(world);
    expect(text).toContain('alice');
    expect(found(text, secrets)).toEqual([]);
  });

  it('cannot be had from what the database holds in their place', async () => {
    const text = await dump(world);
    // A presented hash is no credential: the column is SHA-256 of the secret, and its value is refused.
    const [, hash = ''] = /authorization_codes\S* \(([0-9a-f-]{36}),/.exec(text) ?? [];
    expect(hash).not.toBe('');
    expect(text).toMatch(/\$argon2id\$v=19\$m=19456,/);
    expect(text).not.toMatch(/"d":|BEGIN (?:EC |RSA )?PRIVATE KEY/);
    const code = [...secrets].find(([name]) => name.startsWith('code'))?.[1] ?? '';
    const bytes = Buffer.from(code.slice(8), 'base64url');
    const digest = createHash('sha256').update(bytes.subarray(16)).digest();
    expect(text).toContain(digest.toString('hex'));
    const forged = `gate_ac_${Buffer.concat([bytes.subarray(0, 16), digest]).toString('base64url')}`;
    const answer = await redeem(world, { code: forged, verifier: 'w'.repeat(43), redirectUri: WEB_REDIRECT });
    expect(answer.json.error).toBe('invalid_grant');
  });

  it('are in no answer of JWKS or metadata', async () => {
    for (const path of ['/jwks', '/.well-known/openid-configuration', '/.well-known/oauth-authorization-server']) {
      const text = await (await fetch(`${world.issuer}${path}`)).text();
      expect(found(text, secrets)).toEqual([]);
      expect(text).not.toMatch(/"(?:d|p|q|dp|dq|qi|k)":/);
    }
  });
});
