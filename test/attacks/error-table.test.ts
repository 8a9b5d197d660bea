/**
 * The attacker sends whatever might make a server stumble, and reads its errors for what they tell. Every row of
 * OAuth's error tables that this version can produce, at every endpoint: the right code and status, JSON for clients,
 * a page for people, a challenge for bearers; never a 500, never our inside, nothing half done.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { query, tally } from '../support/attack-aftermath.ts';
import { errorCodeOf, expectErrorPage, expectNoInside, expectPageHeaders } from '../support/attack-pages.ts';
import { send, type WireAnswer, type WireRequest } from '../support/attack-wire.ts';
import { authorizePath, formTo, pkce, post, responseOf, TestBrowser } from '../support/browser.ts';
import { getCode, PHOTOS, redeem, STORAGE, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

const FORM: [string, string] = ['Content-Type', 'application/x-www-form-urlencoded'];
const KIB = 1024;

const CLIENT = ['/token', '/token_info', '/introspect', '/revoke'];
const BEARER = ['/userinfo'];
const BROWSER: [string, string][] = [
  ['/', 'GET'],
  ['/authorize', 'GET, POST'],
  ['/login', 'GET, POST'],
  ['/login/cancel', 'POST'],
  ['/consent', 'GET, POST'],
  ['/logout', 'GET, POST'],
  ['/account', 'GET'],
  ['/account/access', 'POST'],
];
const PUBLIC = ['/jwks', '/.well-known/openid-configuration', '/.well-known/oauth-authorization-server'];

describe('bad input', () => {
  let world: World;
  let bearer: string;
  beforeAll(async () => {
    world = await startWorld();
    bearer = (await redeem(world, await getCode(world))).json.access_token as string;
    await world.client({
      client_id: 'no-code',
      grant_types: ['client_credentials'],
      scope: 'photos.read',
      redirect_uris: [WEB_REDIRECT],
    });
  });
  afterAll(() => world.close());

  const wire = (request: WireRequest) => send(world.issuer, request);

  function expectJson(answer: WireAnswer, status: number, error: string): void {
    expectNoInside(answer.body);
    expect([answer.status, JSON.parse(answer.body).error]).toEqual([status, error]);
    expect(Object.keys(JSON.parse(answer.body)).sort()).toEqual(['error', 'error_description']);
    expect(answer.headers).toMatchObject({
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    });
    expect(answer.headers['x-request-id']).toMatch(/^[\w-]{12}$/);
  }

  function expectPage(answer: WireAnswer, status: number, error = 'invalid_request'): void {
    expectNoInside(answer.body);
    expect([answer.status, errorCodeOf(answer.body)]).toEqual([status, error]);
    expect(answer.headers['content-type']).toMatch(/^text\/html/);
    expect(answer.headers.location).toBeUndefined();
    expectPageHeaders(new Headers(answer.headers));
  }

  /** Rows of everything that a request could leave behind. */
  const everything = async () => [
    await tally(world),
    await query(world, 'SELECT count(*) FROM pending_authorizations'),
    await query(world, 'SELECT count(*) FROM sessions'),
    await query(world, 'SELECT count(*) FROM consents'),
  ];

  describe('methods', () => {
    const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
    const rows: [string, string, (answer: WireAnswer) => void][] = [
      ...['/token', '/revoke'].map((path): [string, string, (answer: WireAnswer) => void] => [
        path,
        'POST, OPTIONS',
        (answer) => expectJson(answer, 405, 'invalid_request'),
      ]),
      ...['/token_info', '/introspect'].map((path): [string, string, (answer: WireAnswer) => void] => [
        path,
        'POST',
        (answer) => expectJson(answer, 405, 'invalid_request'),
      ]),
      ['/userinfo', 'GET, POST, OPTIONS', (answer) => expectJson(answer, 405, 'invalid_request')],
      ...PUBLIC.map((path): [string, string, (answer: WireAnswer) => void] => [
        path,
        'GET, HEAD',
        (answer) => expectJson(answer, 405, 'invalid_request'),
      ]),
      ...BROWSER.map(([path, allowed]): [string, string, (answer: WireAnswer) => void] => [
        path,
        allowed,
        (answer) => expectPage(answer, 405),
      ]),
    ];
    it.each(rows)('%s takes %s and answers 405 to the others', async (path, allowed, expectRefusal) => {
      const before = await everything();
      for (const method of METHODS.filter((name) => !allowed.split(', ').includes(name))) {
        const answer = await wire({ method, target: path, headers: [FORM], body: 'a=b' });
        expect([method, answer.status, answer.headers.allow]).toEqual([method, 405, allowed]);
        if (method !== 'HEAD') expectRefusal(answer);
      }
      expect(await everything()).toEqual(before);
    });

    it.each(['TRACE', 'PROPFIND', 'LINK', 'GARBAGE', 'get'])('%s is nothing anywhere', async (method) => {
      for (const target of ['/token', '/authorize', '/userinfo']) {
        const { status, body } = await wire({ method, target });
        expect([400, 404, 405]).toContain(status);
        expectNoInside(body);
      }
    });
  });

  describe('addresses', () => {
    it.each([
      '/nowhere',
      '/token/',
      '/TOKEN',
      '/authorize/',
      '/.env',
      '/../../etc/passwd',
      '/assets/../package.json',
      '/assets/x/gatehouse.css',
      '/client-logos/',
      '/client-logos/nobody',
      '/client-logos/%00',
      '/client-logos/..%2f..%2fpackage.json',
      '/__proto__',
      '/constructor',
    ])('%s: 404, a page', async (target) => {
      expectPage(await wire({ target }), 404);
    });

    it.each(['/%', '/%ff', '/client-logos/%c3%28', '/token%'])(
      '%s does not decode: 400, and no echo',
      async (target) => {
        const answer = await wire({ target });
        expect([answer.status, JSON.parse(answer.body)]).toEqual([
          400,
          { error: 'invalid_request', error_description: 'The address is malformed.' },
        ]);
        expect(answer.headers['x-content-type-options']).toBe('nosniff');
      },
    );

    it('of more than 8 KiB are refused', async () => {
      const long = 'a'.repeat(9 * KIB);
      expectPage(await wire({ target: `/authorize?client_id=${long}` }), 414);
      const { status } = await wire({ target: `/userinfo?x=${long}` });
      expect(status).toBe(414);
      for (const target of ['/authorize', '/token', '/userinfo', '/jwks']) {
        expect((await wire({ target: `${target}?x=${'a'.repeat(20 * KIB)}` })).status).toBe(431);
      }
    });
  });

  describe('bodies', () => {
    const good = 'grant_type=client_credentials&client_id=x&token=x';
    const bodies: [string, readonly [string, string][], string | Buffer][] = [
      ['JSON', [['Content-Type', 'application/json']], '{"grant_type":"client_credentials"}'],
      ['JSON that pollutes a prototype', [['Content-Type', 'application/json']], '{"__proto__":{"client_id":"spa"}}'],
      ['broken JSON', [['Content-Type', 'application/json']], '{'],
      ['a multipart form', [['Content-Type', 'multipart/form-data; boundary=x']], '--x\r\n\r\n--x--'],
      ['plain text', [['Content-Type', 'text/plain']], good],
      [
        'XML with an entity',
        [['Content-Type', 'application/xml']],
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
      ],
      ['no type', [], good],
      ['a type that only begins like a form', [['Content-Type', 'application/x-www-form-urlencodedX']], good],
      ['a malformed type', [['Content-Type', ';;;']], good],
      ['broken percent encoding', [FORM], 'grant_type=%'],
      ['broken percent encoding in a name', [FORM], '%zz=x'],
      ['percent-encoded bytes that are not UTF-8', [FORM], 'grant_type=%ff'],
      ['overlong UTF-8', [FORM], 'grant_type=%c0%ae'],
      ['a percent-encoded surrogate', [FORM], 'grant_type=%ed%a0%80'],
      ['raw bytes that are not UTF-8', [FORM], Buffer.from([0x61, 0x3d, 0xff, 0xfe])],
      ['NUL', [FORM], 'client_id=spa%00'],
      ['NUL in a name', [FORM], 'client_id%00=spa'],
      ['raw NUL', [FORM], Buffer.from('client_id=spa\0')],
      ['a parameter twice', [FORM], 'client_id=spa&client_id=web'],
      ['a parameter twice with equal values', [FORM], 'client_id=spa&client_id=spa'],
      ['an unknown parameter twice', [FORM], 'token=x&x=1&x=2'],
      ['a parameter 2000 times', [FORM], Array(2000).fill('a=b').join('&')],
    ];
    it.each(bodies)(
      '%s: 400 invalid_request at every endpoint for clients and bearers',
      async (_name, headers, body) => {
        const before = await everything();
        for (const target of [...CLIENT, ...BEARER]) {
          const answer = await wire({ method: 'POST', target, headers: [...headers], body });
          expectJson(answer, 400, 'invalid_request');
          if (target === '/userinfo')
            expect(answer.headers['www-authenticate']).toMatch(/^Bearer realm="[^"]+", error="invalid_request"/);
        }
        expect(await everything()).toEqual(before);
      },
    );

    it.each(bodies)('%s: a refusal, on a page, at every form', async (_name, headers, body) => {
      const before = await everything();
      for (const [target, methods] of BROWSER) {
        if (!methods.includes('POST')) continue;
        const answer = await wire({ method: 'POST', target, headers: [...headers], body });
        // Signed out, the logout form has nothing to check: the page says so.
        if (target === '/logout' && (answer.status === 200 || answer.headers.location === '/logout')) continue;
        // Without cookies it is asked again by GET, and that refuses.
        if (target === '/logout' && answer.headers.location !== undefined) {
          expect(answer.headers.location).toMatch(/^\/logout\?client_id=/);
          expectPage(await wire({ target: answer.headers.location }), 400);
          continue;
        }
        expect([400, 403]).toContain(answer.status);
        expectPage(answer, answer.status, answer.status === 403 ? 'access_denied' : 'invalid_request');
      }
      expect(await everything()).toEqual(before);
    });

    it.each([...CLIENT, ...BEARER])('%s takes 16 KiB and no more, announced or not', async (target) => {
      const before = await everything();
      const over = `a=${'x'.repeat(16 * KIB - 1)}`;
      expectJson(await wire({ method: 'POST', target, headers: [FORM], body: over }), 413, 'invalid_request');
      const chunked = await fetch(`${world.issuer}${target}`, {
        method: 'POST',
        headers: { 'content-type': FORM[1] },
        body: new Blob([over]).stream(),
        duplex: 'half',
      } as RequestInit);
      expect(chunked.status).toBe(413);
      const most = await wire({ method: 'POST', target, headers: [FORM], body: over.slice(0, -1) });
      expect(most.status).toBe(401);
      expect(await everything()).toEqual(before);
    });

    it.each(BROWSER.filter(([, methods]) => methods.includes('POST')).map(([path]) => path))(
      '%s takes 64 KiB and no more',
      async (target) => {
        const over = `a=${'x'.repeat(64 * KIB - 1)}`;
        expectPage(await wire({ method: 'POST', target, headers: [FORM], body: over }), 413);
        expect((await wire({ method: 'POST', target, headers: [FORM], body: over.slice(0, -1) })).status).toBeLessThan(
          404,
        );
      },
    );

    it('a megabyte is not read to its end', async () => {
      for (const target of [...CLIENT, ...BEARER, '/authorize', '/login']) {
        const { status } = await wire({
          method: 'POST',
          target,
          headers: [FORM],
          body: `token=${'x'.repeat(KIB * KIB)}`,
        });
        expect(status).toBe(413);
      }
    });
  });

  describe('endpoints for clients', () => {
    const basic = (id: string, secret: string): [string, string] => [
      'Authorization',
      `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
    ];

    it.each(CLIENT)('%s takes nothing from the address', async (path) => {
      const credentials = `client_id=batch&client_secret=${world.batch.secret}&grant_type=client_credentials&token=x`;
      for (const [target, body] of [
        [`${path}?${credentials}`, ''],
        [`${path}?x=1`, credentials],
        [`${path}?client_id=batch`, credentials],
      ] as const) {
        expectJson(await wire({ method: 'POST', target, headers: [FORM], body }), 400, 'invalid_request');
      }
    });

    it.each(CLIENT)('%s takes one client authentication', async (path) => {
      const { id, secret } = world.batch;
      const fields = `grant_type=client_credentials&token=x&resource=${encodeURIComponent(PHOTOS)}`;
      const twice = `${fields}&client_id=${id}&client_secret=${secret}`;
      expectJson(
        await wire({ method: 'POST', target: path, headers: [FORM, basic(id, secret)], body: twice }),
        400,
        'invalid_request',
      );
      const headers = [FORM, basic(id, secret), basic(id, secret)];
      expectJson(await wire({ method: 'POST', target: path, headers, body: fields }), 400, 'invalid_request');
    });

    const failures: [string, [string, string][], string][] = [
      ['none', [], ''],
      ['an unknown client', [basic('nobody', 'x')], ''],
      ['a wrong secret', [basic('batch', 'x')], ''],
      ['an empty secret', [basic('batch', '')], ''],
      ['a method it is not registered with', [], 'client_id=batch&client_secret=SECRET'],
      ['another client_id beside', [], 'BASIC&client_id=web'],
      ['a secret for a public client', [basic('spa', 'x')], ''],
      ['the public method for a confidential client', [], 'client_id=batch'],
      ['another scheme', [['Authorization', 'Bearer x']], ''],
      ['no base64', [['Authorization', 'Basic !!!']], ''],
      ['no colon', [['Authorization', `Basic ${Buffer.from('batch').toString('base64')}`]], ''],
      ['an empty header', [['Authorization', '']], ''],
      ['a name that every object has', [basic('__proto__', 'x')], ''],
      ['a client_id of 10000 characters', [], `client_id=${'x'.repeat(10_000)}`],
    ];
    it.each(failures.flatMap((row) => CLIENT.map((path) => [path, ...row] as const)))(
      '%s with %s: 401 invalid_client with a challenge',
      async (path, _name, headers, fields) => {
        const given = fields.startsWith('BASIC') ? [basic('batch', world.batch.secret)] : headers;
        const body = `grant_type=client_credentials&token=x&${fields.replace('BASIC', '').replace('SECRET', world.batch.secret)}`;
        const answer = await wire({ method: 'POST', target: path, headers: [FORM, ...given], body });
        expectJson(answer, 401, 'invalid_client');
        expect(answer.headers['www-authenticate']).toBe(`Basic realm="${world.issuer}", charset="UTF-8"`);
        expect(JSON.parse(answer.body).error_description).toBe('Client authentication failed.');
      },
    );

    it('a browser’s script gets no challenge that would open the browser’s own password box', async () => {
      const answer = await wire({
        method: 'POST',
        target: '/token',
        headers: [FORM, ['Origin', 'https://spa.example']],
        body: 'client_id=nobody',
      });
      expectJson(answer, 401, 'invalid_client');
      expect(answer.headers['www-authenticate']).toBeUndefined();
    });

    type As = 'web' | 'spa' | 'batch' | 'photosApi';
    const codes: [string, As, Record<string, string>, string][] = [
      ['no grant_type', 'web', {}, 'invalid_request'],
      ['an empty grant_type', 'web', { grant_type: '' }, 'invalid_request'],
      [
        'the password grant',
        'web',
        { grant_type: 'password', username: 'alice', password: 'wonderland' },
        'unsupported_grant_type',
      ],
      ['the implicit grant', 'web', { grant_type: 'implicit' }, 'unsupported_grant_type'],
      ['an unknown grant', 'web', { grant_type: 'urn:example:grant' }, 'unsupported_grant_type'],
      ['a grant that every object has', 'web', { grant_type: 'constructor' }, 'unsupported_grant_type'],
      ['a grant in another case', 'web', { grant_type: 'Authorization_code' }, 'unsupported_grant_type'],
      ['a grant it is not registered for', 'web', { grant_type: 'client_credentials' }, 'unauthorized_client'],
      ['a public client as a backend', 'spa', { grant_type: 'client_credentials' }, 'unauthorized_client'],
      ['a backend with a code', 'batch', { grant_type: 'authorization_code', code: 'x' }, 'unauthorized_client'],
      ['no code', 'web', { grant_type: 'authorization_code' }, 'invalid_request'],
      ['an unknown code', 'web', { grant_type: 'authorization_code', code: 'x' }, 'invalid_grant'],
      ['no refresh token', 'web', { grant_type: 'refresh_token' }, 'invalid_request'],
      ['an unknown refresh token', 'web', { grant_type: 'refresh_token', refresh_token: 'x' }, 'invalid_grant'],
      ['an unknown scope', 'batch', { grant_type: 'client_credentials', scope: 'nothing' }, 'invalid_scope'],
      [
        'a scope it may not have',
        'batch',
        { grant_type: 'client_credentials', scope: 'photos.write' },
        'invalid_scope',
      ],
      [
        'a person’s scope without a person',
        'batch',
        { grant_type: 'client_credentials', scope: 'openid' },
        'invalid_scope',
      ],
      ['a malformed scope', 'batch', { grant_type: 'client_credentials', scope: 'photos.read "x"' }, 'invalid_scope'],
      [
        '3000 scopes',
        'batch',
        { grant_type: 'client_credentials', scope: Array.from({ length: 3000 }, (_, n) => n.toString(36)).join(' ') },
        'invalid_scope',
      ],
      ['scopes of two APIs', 'batch', { grant_type: 'client_credentials' }, 'invalid_target'],
      [
        'an unknown API',
        'batch',
        { grant_type: 'client_credentials', resource: 'https://evil.example' },
        'invalid_target',
      ],
      [
        'an API with a slash more',
        'batch',
        { grant_type: 'client_credentials', resource: `${PHOTOS}/` },
        'invalid_target',
      ],
      [
        'an API with a fragment',
        'batch',
        { grant_type: 'client_credentials', resource: `${PHOTOS}#x` },
        'invalid_target',
      ],
      [
        'an API that is no address',
        'batch',
        { grant_type: 'client_credentials', resource: 'photos' },
        'invalid_target',
      ],
      [
        'an API it may ask nothing of',
        'photosApi',
        { grant_type: 'client_credentials', resource: PHOTOS },
        'invalid_target',
      ],
    ];
    it.each(codes)('/token with %s (%s): 400 with its code', async (_name, as, fields, error) => {
      const before = await tally(world);
      const answer =
        as === 'spa'
          ? await post(`${world.issuer}/token`, { ...fields, client_id: 'spa' })
          : await post(`${world.issuer}/token`, fields, { basic: world[as] });
      expect([answer.status, answer.json.error]).toEqual([400, error]);
      expect(answer.headers.get('cache-control')).toBe('no-store');
      expectNoInside(answer.text);
      expect(await tally(world)).toEqual(before);
    });

    it('/token for two APIs at once: invalid_target', async () => {
      const body = `grant_type=client_credentials&resource=${encodeURIComponent(PHOTOS)}&resource=${encodeURIComponent(STORAGE)}`;
      const answer = await post(`${world.issuer}/token`, body, { basic: world.batch });
      expect([answer.status, answer.json.error]).toEqual([400, 'invalid_target']);
    });

    it.each(['/token_info', '/introspect', '/revoke'])('%s without a token: invalid_request', async (path) => {
      const answer = await post(`${world.issuer}${path}`, { token_type_hint: 'access_token' }, { basic: world.web });
      expect([answer.status, answer.json.error]).toEqual([400, 'invalid_request']);
    });
  });

  describe('/userinfo', () => {
    const authorization = (value: string): [string, string] => ['Authorization', value];

    it('without a token: 401 and a challenge without an error', async () => {
      for (const request of [
        { target: '/userinfo' },
        { method: 'POST', target: '/userinfo' },
        { method: 'POST', target: '/userinfo', headers: [FORM], body: '' },
        { target: '/userinfo', headers: [authorization('Basic eDp4')] },
        { target: '/userinfo', headers: [authorization('')] },
      ]) {
        const answer = await wire(request);
        expect([answer.status, answer.body]).toEqual([401, '']);
        expect(answer.headers['www-authenticate']).toMatch(/^Bearer realm="[^"]+", DPoP algs="[^"]+"$/);
      }
    });

    const cases: [string, () => WireRequest, number, string][] = [
      ['a token in the address', () => ({ target: `/userinfo?access_token=${bearer}` }), 400, 'invalid_request'],
      [
        'a token in the address of a POST',
        () => ({ method: 'POST', target: `/userinfo?access_token=${bearer}`, headers: [FORM], body: 'a=b' }),
        400,
        'invalid_request',
      ],
      [
        'a token in the address beside one in the header',
        () => ({ target: `/userinfo?access_token=x`, headers: [authorization(`Bearer ${bearer}`)] }),
        400,
        'invalid_request',
      ],
      [
        'two tokens, header and form',
        () => ({
          method: 'POST',
          target: '/userinfo',
          headers: [FORM, authorization(`Bearer ${bearer}`)],
          body: `access_token=${bearer}`,
        }),
        400,
        'invalid_request',
      ],
      [
        'two tokens in the form',
        () => ({
          method: 'POST',
          target: '/userinfo',
          headers: [FORM],
          body: `access_token=${bearer}&access_token=${bearer}`,
        }),
        400,
        'invalid_request',
      ],
      [
        'two headers',
        () => ({
          target: '/userinfo',
          headers: [authorization(`Bearer ${bearer}`), authorization(`Bearer ${bearer}`)],
        }),
        400,
        'invalid_request',
      ],
      [
        'no token after the scheme',
        () => ({ target: '/userinfo', headers: [authorization('Bearer')] }),
        400,
        'invalid_request',
      ],
      [
        'two tokens after the scheme',
        () => ({ target: '/userinfo', headers: [authorization(`Bearer ${bearer} x`)] }),
        400,
        'invalid_request',
      ],
      ['an unknown token', () => ({ target: '/userinfo', headers: [authorization('Bearer x')] }), 401, 'invalid_token'],
      [
        'a token with a quote',
        () => ({ target: '/userinfo', headers: [authorization('Bearer x", error="none')] }),
        400,
        'invalid_request',
      ],
    ];
    it.each(cases)('with %s', async (_name, request, status, error) => {
      const answer = await wire(request());
      expectJson(answer, status, error);
      expect(answer.headers['www-authenticate']).toMatch(
        new RegExp(`^Bearer realm="[^"]+", error="${error}", error_description="[^"]+"(, DPoP algs="[^"]+")?$`),
      );
    });

    it('with a token that lacks openid: 403 insufficient_scope', async () => {
      const issued = await redeem(world, await getCode(world, { scope: 'photos.read' }));
      const answer = await wire({
        target: '/userinfo',
        headers: [authorization(`Bearer ${issued.json.access_token}`)],
      });
      expectJson(answer, 403, 'insufficient_scope');
      expect(answer.headers['www-authenticate']).toMatch(/error="insufficient_scope".*, scope="openid"$/);
    });

    it('the scheme in any case, and one token in a form, are good', async () => {
      for (const scheme of ['Bearer', 'bearer', 'BEARER']) {
        expect((await wire({ target: '/userinfo', headers: [authorization(`${scheme} ${bearer}`)] })).status).toBe(200);
      }
      const form = await wire({ method: 'POST', target: '/userinfo', headers: [FORM], body: `access_token=${bearer}` });
      expect(form.status).toBe(200);
    });
  });

  describe('/authorize', () => {
    const parameters = (changes: Record<string, string | undefined> = {}) => ({
      client_id: 'web',
      redirect_uri: WEB_REDIRECT,
      scope: 'openid',
      code_challenge: pkce().challenge,
      ...changes,
    });

    const shown: [string, Record<string, string | undefined>][] = [
      ['no client', { client_id: undefined }],
      ['an unknown client', { client_id: 'nobody' }],
      ['a client that every object has', { client_id: 'constructor' }],
      ['no redirect_uri with openid', { redirect_uri: undefined }],
      ['an unknown response_mode', { response_mode: 'web_message' }],
      ['a response_mode that every object has', { response_mode: 'toString' }],
      ['the fragment mode', { response_mode: 'fragment' }],
    ];
    it.each(shown)('%s is shown, by GET and by POST', async (_name, changes) => {
      const before = await everything();
      const browser = new TestBrowser(world);
      expectErrorPage(await browser.send('GET', authorizePath(parameters(changes))), 400, 'invalid_request');
      const body = authorizePath(parameters(changes)).slice('/authorize?'.length);
      expectPage(await wire({ method: 'POST', target: '/authorize', headers: [FORM], body }), 400);
      expect(await everything()).toEqual(before);
    });

    const sent: [string, Record<string, string | undefined>, string][] = [
      ['no response_type', { response_type: undefined }, 'invalid_request'],
      ['response_type token', { response_type: 'token' }, 'unsupported_response_type'],
      ['response_type id_token', { response_type: 'id_token' }, 'unsupported_response_type'],
      ['response_type code token', { response_type: 'code token' }, 'unsupported_response_type'],
      ['a response_type that every object has', { response_type: '__proto__' }, 'unsupported_response_type'],
      ['a client without the code grant', { client_id: 'no-code', scope: 'photos.read' }, 'unauthorized_client'],
      ['an unknown scope alone', { scope: 'nothing' }, 'invalid_scope'],
      ['a malformed scope', { scope: 'openid "' }, 'invalid_scope'],
      ['200 scopes', { scope: Array.from({ length: 200 }, (_, n) => `s${n}`).join(' ') }, 'invalid_scope'],
      ['an unknown API', { resource: 'https://evil.example' }, 'invalid_target'],
      ['a request object', { request: 'eyJhbGciOiJub25lIn0.e30.' }, 'request_not_supported'],
      ['a request_uri', { request_uri: 'http://169.254.169.254/' }, 'request_uri_not_supported'],
      ['a registration', { registration: '{}' }, 'registration_not_supported'],
      ['an unknown prompt', { prompt: 'create' }, 'invalid_request'],
      ['prompt none with another', { prompt: 'none login' }, 'invalid_request'],
      ['a negative max_age', { max_age: '-1' }, 'invalid_request'],
      ['a max_age that is no number', { max_age: '1e3' }, 'invalid_request'],
      ['a max_age of 40 digits', { max_age: '9'.repeat(40) }, 'invalid_request'],
      ['a nonce of 513 characters', { nonce: 'n'.repeat(513) }, 'invalid_request'],
      ['prompt none and nobody signed in', { prompt: 'none' }, 'login_required'],
    ];
    it.each(sent)('%s is sent to the client', async (_name, changes, error) => {
      const before = await everything();
      for (const response_mode of [undefined, 'query']) {
        const visit = await new TestBrowser(world).send(
          'GET',
          authorizePath(parameters({ ...changes, response_mode })),
        );
        expect(visit.status).toBe(303);
        expect(visit.location?.startsWith(`${WEB_REDIRECT}?`)).toBe(true);
        const { error_description = '', ...rest } = Object.fromEntries(responseOf(visit));
        expect(rest).toEqual({ error, state: 'af0ifjsldkj', iss: world.issuer });
        expect(error_description).toMatch(/^[\x20-\x21\x23-\x5B\x5D-\x7E]+$/);
        expect(visit.headers.get('referrer-policy')).toBe('no-referrer');
        expect(visit.headers.get('cache-control')).toBe('no-store');
      }
      const posted = await new TestBrowser(world).send(
        'GET',
        authorizePath(parameters({ ...changes, response_mode: 'form_post' })),
      );
      expect(formTo(posted, WEB_REDIRECT).fields).toMatchObject({ error, state: 'af0ifjsldkj', iss: world.issuer });
      expect(await everything()).toEqual(before);
    });

    it('consent_required and access_denied are sent, too', async () => {
      const client = await world.client({
        client_id: 'new',
        redirect_uris: ['https://new.example/cb'],
        scope: 'openid',
      });
      const { browser } = await getCode(world);
      const changes = { client_id: client.id, redirect_uri: 'https://new.example/cb' };
      const silent = await browser.send('GET', authorizePath(parameters({ ...changes, prompt: 'none' })));
      expect(responseOf(silent).get('error')).toBe('consent_required');
      const login = await new TestBrowser(world).visit(authorizePath(parameters(changes)));
      expect(login.status).toBe(200);
      const stranger = new TestBrowser(world);
      const page = await stranger.visit(authorizePath(parameters(changes)));
      const cancelled = await stranger.submit(formTo(page, '/login/cancel'));
      expect(responseOf(cancelled).get('error')).toBe('access_denied');
    });

    it('a repeated state comes back not at all: which one would it be', async () => {
      const visit = await new TestBrowser(world).send('GET', `${authorizePath(parameters())}&state=other`);
      expect(responseOf(visit).get('error')).toBe('invalid_request');
      expect(responseOf(visit).has('state')).toBe(false);
    });
  });

  describe('a fault of our own', () => {
    it('tells nobody anything but server_error, and is over when the fault is', async () => {
      const flow = await getCode(world);
      const token = (await redeem(world, await getCode(world))).json.access_token as string;
      await query(world, 'ALTER TABLE grants RENAME TO grants_away');
      try {
        const headers: [string, string][] = [['Authorization', `Bearer ${token}`]];
        const failed = await redeem(world, flow);
        expect([failed.status, failed.json.error]).toEqual([500, 'server_error']);
        expectNoInside(failed.text);
        expectJson(await wire({ target: '/userinfo', headers }), 500, 'server_error');
        const sent = await flow.browser.send('GET', authorizePath(parametersOf()));
        expect(Object.fromEntries(responseOf(sent))).toMatchObject({
          error: 'server_error',
          state: 'af0ifjsldkj',
          iss: world.issuer,
        });
        expect(sent.location).not.toMatch(/grants|relation/);
      } finally {
        await query(world, 'ALTER TABLE grants_away RENAME TO grants');
      }
      // Nothing was half done: the code is still good.
      expect((await redeem(world, flow)).status).toBe(200);
      expect(world.log.join('\n')).toContain('grants');
    });

    it('is shown as a page with a reference where nobody can be told', async () => {
      const { browser } = await getCode(world);
      await query(world, 'ALTER TABLE sessions RENAME TO sessions_away');
      try {
        expectErrorPage(await browser.send('GET', '/account'), 500, 'server_error');
      } finally {
        await query(world, 'ALTER TABLE sessions_away RENAME TO sessions');
      }
      expect((await browser.visit('/account')).status).toBe(200);
    });

    const parametersOf = () => ({
      client_id: 'web',
      redirect_uri: WEB_REDIRECT,
      scope: 'openid photos.read',
      code_challenge: pkce().challenge,
    });
  });
});
