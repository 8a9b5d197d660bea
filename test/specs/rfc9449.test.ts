/** DPoP: RFC 9449, one test for each thing it demands of an authorization server and of the protected resource it has. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { send } from '../support/attack-wire.ts';
import { post } from '../support/browser.ts';
import {
  askToken,
  askUserinfo,
  type Bound,
  boundTokens,
  follow,
  PAR,
  push,
  pushedPath,
  redeemWith,
  refreshWith,
  TOKEN,
  USERINFO,
} from '../support/dpop-world.ts';
import { athOf, type ProofKey, type ProofOptions, proofFor, proofKey, rawJws } from '../support/proof-key.ts';
import { getCode, introspect, startWorld, type World } from '../support/world.ts';

type Target = typeof TOKEN | typeof PAR | typeof USERINFO;

describe('RFC 9449', () => {
  let world: World;
  let key: ProofKey;
  let another: ProofKey;
  let token: Bound;
  beforeAll(async () => {
    world = await startWorld();
    [key, another] = [await proofKey(), await proofKey()];
    token = await boundTokens(world, key);
  });
  afterAll(() => world.close());

  const seconds = (offset = 0) => Math.floor(world.clock.now().getTime() / 1000) + offset;
  /** What each endpoint that reads proofs says to one. */
  async function answers(make: (target: Target) => string | Promise<string>) {
    const authorization = `DPoP ${token.access_token}`;
    return [
      await askToken(world, await make(TOKEN)),
      await push(world, { headers: { dpop: await make(PAR) } }),
      await fetch(`${world.issuer}/userinfo`, { headers: { authorization, dpop: await make(USERINFO) } }),
    ] as const;
  }
  const proof = (target: Target, options: ProofOptions = {}) =>
    proofFor(world, key, target, { ...(target === USERINFO && { accessToken: token.access_token }), ...options });

  async function expectRefused(make: (target: Target) => string | Promise<string>) {
    const [atToken, atPar, atUserinfo] = await answers(make);
    for (const { status, json } of [atToken, atPar]) expect([status, json.error]).toEqual([400, 'invalid_dpop_proof']);
    expect(atUserinfo.status).toBe(401);
    expect(atUserinfo.headers.get('www-authenticate')).toMatch(
      /^DPoP error="invalid_dpop_proof", error_description="[^"\\]+", algs="ES256 RS256 PS256 EdDSA Ed25519"$/,
    );
  }
  async function expectTaken(make: (target: Target) => string | Promise<string>) {
    expect((await answers(make)).map(({ status }) => status)).toEqual([200, 201, 200]);
  }
  const wrong = (options: (target: Target) => ProofOptions) => (target: Target) => proof(target, options(target));

  it('§4.3-1: there is one DPoP header at most, and it is not chosen from', async () => {
    const [one, two] = [await proof(USERINFO), await proof(USERINFO)];
    const headers = [
      ['authorization', `DPoP ${token.access_token}`],
      ['dpop', one],
      ['DPoP', two],
    ] as const;
    const userinfo = await send(world.issuer, { target: '/userinfo', headers });
    expect([userinfo.status, JSON.parse(userinfo.body).error]).toEqual([401, 'invalid_dpop_proof']);
    const credentials = Buffer.from(`${world.batch.id}:${world.batch.secret}`).toString('base64');
    const atToken = await send(world.issuer, {
      method: 'POST',
      target: '/token',
      headers: [
        ['content-type', 'application/x-www-form-urlencoded'],
        ['authorization', `Basic ${credentials}`],
        ['dpop', await proof(TOKEN)],
        ['dpop', await proof(TOKEN)],
      ],
      body: 'grant_type=client_credentials',
    });
    expect([atToken.status, JSON.parse(atToken.body).error]).toEqual([400, 'invalid_dpop_proof']);
  });

  describe('§4.3-2: it is a single well-formed JWT, not', () => {
    const malformed: [string, (good: string) => string][] = [
      ['nothing', () => ''],
      ['a word', () => 'proof'],
      ['two joined by a comma', (good) => `${good}, ${good}`],
      ['two parts', (good) => good.split('.').slice(0, 2).join('.')],
      ['five parts', (good) => `${good}.a.b`],
      ['a header that is no JSON', (good) => `bm9wZQ.${good.split('.').slice(1).join('.')}`],
      ['a very long text', (good) => good + 'A'.repeat(9000)],
    ];
    it.each(malformed)('%s', async (_what, change) => {
      await expectRefused(async (target) => change(await proof(target)));
    });
    it.each(['[]', 'null', '"x"', '{'])('claims that are %s', async (claims) => {
      await expectRefused(() => key.sign({ typ: 'dpop+jwt', alg: 'ES256', jwk: key.jwk }, claims));
    });
  });

  it.each(['jti', 'htm', 'htu', 'iat'])('§4.3-3: it has %s', async (name) => {
    await expectRefused(wrong(() => ({ claims: { [name]: undefined } })));
  });

  it.each([
    ['jti', 17],
    ['jti', ''],
    ['htm', ['POST', 'GET']],
    ['htu', ['x']],
    ['iat', '1700000000'],
    ['iat', null],
  ])('§4.2: %s is not %j', async (name, value) => {
    await expectRefused(wrong(() => ({ claims: { [name]: value } })));
  });

  it.each([undefined, 'JWT', 'jwt', 'at+jwt', 'dpop', 'client-authentication+jwt'])(
    '§4.3-4: its typ is dpop+jwt, not %s',
    async (typ) => {
      await expectRefused(wrong(() => ({ header: { typ } })));
    },
  );

  describe('§4.3-5: its alg is asymmetric and one that is announced, not', () => {
    it.each(['none', 'None', 'HS256', 'ES256K', 'RS1', ''])('%s', async (alg) => {
      await expectRefused(async (target) => {
        const [, claims = ''] = (await proof(target)).split('.');
        const header = { typ: 'dpop+jwt', alg, jwk: key.jwk };
        return rawJws(
          header,
          JSON.parse(Buffer.from(claims, 'base64url').toString()),
          alg === 'none' ? '' : 'signature',
        );
      });
    });
    it('ES384', async () => {
      const es384 = await proofKey('ES384');
      await expectRefused((target) => proofFor(world, es384, target, { accessToken: token.access_token }));
    });
    it('absent', async () => {
      await expectRefused(async (target) => {
        const [, claims = '', signature = ''] = (await proof(target)).split('.');
        const header = Buffer.from(JSON.stringify({ typ: 'dpop+jwt', jwk: key.jwk })).toString('base64url');
        return `${header}.${claims}.${signature}`;
      });
    });
  });

  it('§4.3-6: its signature is by the key in its header', async () => {
    await expectRefused(wrong(() => ({ header: { jwk: another.jwk } })));
    await expectRefused(async (target) => `${(await proof(target)).split('.').slice(0, 2).join('.')}.AAAA`);
  });

  it('§4.2: the key is in its header, as a key of its alg', async () => {
    const rsa = await proofKey('RS256');
    for (const jwk of [undefined, null, 'x', [key.jwk], {}, { ...key.jwk, crv: 'P-384' }, rsa.jwk])
      await expectRefused(wrong(() => ({ header: { jwk } })));
    await expectRefused(wrong(() => ({ header: { jwk: { ...key.jwk, alg: 'ES384' } } })));
    await expectRefused(wrong(() => ({ header: { jwk: { ...key.jwk, use: 'enc' } } })));
  });

  it('§4.3-7: the key is public', async () => {
    await expectRefused(wrong(() => ({ header: { jwk: key.privateJwk } })));
    await expectRefused(wrong(() => ({ header: { jwk: { ...key.jwk, k: 'c2VjcmV0' } } })));
  });

  it('RFC 7518 §3.3: an RSA key has 2048 bits at least', async () => {
    const { generateKeyPairSync, sign } = await import('node:crypto');
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
    await expectRefused(async (target) => {
      const [, claims = ''] = (await proof(target)).split('.');
      const header = { typ: 'dpop+jwt', alg: 'RS256', jwk: publicKey.export({ format: 'jwk' }) };
      const input = `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${claims}`;
      return `${input}.${sign('sha256', Buffer.from(input), privateKey).toString('base64url')}`;
    });
  });

  it.each(['PUT', 'post', 'get', 'POST ', 'GET,POST'])(
    '§4.3-8: its htm is the method, to the letter, not %j',
    async (htm) => {
      await expectRefused(wrong(() => ({ claims: { htm } })));
    },
  );
  it('§4.3-8: its htm is that of this request', async () => {
    await expectRefused(wrong((target) => ({ claims: { htm: target === USERINFO ? 'POST' : 'GET' } })));
  });

  describe('§4.3-9: its htu is the address', () => {
    const others: [string, (issuer: string, path: string) => string][] = [
      ['another path', (issuer) => `${issuer}/jwks`],
      ['a longer path', (issuer, path) => `${issuer}${path}/more`],
      ['a slash more', (issuer, path) => `${issuer}${path}/`],
      ['another case of the path', (issuer, path) => issuer + path.toUpperCase()],
      ['the issuer alone', (issuer) => issuer],
      ['the path alone', (_issuer, path) => path],
      ['another host', (_issuer, path) => `http://evil.example${path}`],
      ['another port', (issuer, path) => `${issuer.replace(/\d+$/, '1')}${path}`],
      ['another scheme', (issuer, path) => issuer.replace('http:', 'https:') + path],
      ['user information', (issuer, path) => issuer.replace('//', '//user@') + path],
      ['a backslash', (issuer, path) => `${issuer}\\${path.slice(1)}`],
      ['one slash too few', (issuer, path) => issuer.replace('//', '/') + path],
      ['a space around it', (issuer, path) => ` ${issuer}${path} `],
      ['an encoded slash', (issuer, path) => `${issuer}%2F${path.slice(1)}`],
    ];
    it.each(others)('not with %s', async (_what, address) => {
      await expectRefused(wrong(([, path]) => ({ claims: { htu: address(world.issuer, path) } })));
    });
    const same: [string, (issuer: string, path: string) => string][] = [
      ['a query', (issuer, path) => `${issuer}${path}?a=b`],
      ['a fragment', (issuer, path) => `${issuer}${path}#a`],
      ['scheme and host in upper case', (issuer, path) => issuer.toUpperCase() + path],
      ['dot segments', (issuer, path) => `${issuer}/x/..${path}`],
      ['escapes that say the same', (issuer, path) => `${issuer}/%${path.charCodeAt(1).toString(16)}${path.slice(2)}`],
    ];
    it.each(same)('also with %s', async (_what, address) => {
      await expectTaken(wrong(([, path]) => ({ claims: { htu: address(world.issuer, path) } })));
    });
    it('by the configuration, whatever the headers say', async () => {
      const headers = [
        ['host', 'evil.example'],
        ['x-forwarded-host', 'evil.example'],
        ['authorization', `DPoP ${token.access_token}`],
      ] as const;
      const ask = async (htu: string) =>
        send(world.issuer, {
          target: '/userinfo',
          headers: [...headers, ['dpop', await proof(USERINFO, { claims: { htu } })]],
        });
      expect((await ask('http://evil.example/userinfo')).status).toBe(401);
      expect((await ask(`${world.issuer}/userinfo`)).status).toBe(200);
    });
  });

  it('§4.3-10: a nonce it has is one of ours', async () => {
    const [atToken, atPar, atUserinfo] = await answers(wrong(() => ({ claims: { nonce: 'theirs' } })));
    for (const { status, json } of [atToken, atPar]) expect([status, json.error]).toEqual([400, 'use_dpop_nonce']);
    expect(atUserinfo.status).toBe(401);
    expect(atUserinfo.headers.get('www-authenticate')).toMatch(/^DPoP error="use_dpop_nonce"/);
  });

  it.each([-3600, -600, -62, 62, 600, 3600])('§4.3-11: its iat is not %i seconds from now', async (offset) => {
    await expectRefused(wrong(() => ({ claims: { iat: seconds(offset) } })));
  });
  it.each([-58, -10, 8, 10, 28])(
    '§4.3-11, FAPI 2.0 SP §5.3.2.1-13: its iat may be %i seconds from now',
    async (offset) => {
      await expectTaken(wrong(() => ({ claims: { iat: seconds(offset) } })));
    },
  );

  it('§4.2: nbf and exp are not asked for, and hold where they are there', async () => {
    await expectTaken(wrong(() => ({ claims: { nbf: seconds(-300), exp: seconds(300) } })));
    await expectRefused(wrong(() => ({ claims: { exp: seconds(-1) } })));
    await expectRefused(wrong(() => ({ claims: { exp: 'never' } })));
    await expectRefused(wrong(() => ({ claims: { nbf: seconds(120) } })));
  });

  it('§4.2: other claims and header parameters are ignored', async () => {
    await expectTaken(
      wrong(() => ({ claims: { sub: 'x', aud: 'y', cnf: { jkt: 'z' } }, header: { kid: 'a', x5u: 'b' } })),
    );
  });
  it('RFC 7515 §4.1.11: but not what says that it must not be ignored', async () => {
    await expectRefused(wrong(() => ({ header: { crit: ['x'], x: 1 } })));
    await expectRefused(wrong(() => ({ header: { crit: ['b64'], b64: true } })));
  });

  describe('§4.3-12: with an access token, its ath is the digest of that token, not', () => {
    it.each<[string, (issued: string) => unknown]>([
      ['absent', () => undefined],
      ['of another token', () => athOf('another')],
      ['padded', (issued) => `${athOf(issued)}=`],
      ['the token itself', (issued) => issued],
      ['a list', (issued) => [athOf(issued)]],
    ])('%s', async (_what, ath) => {
      const response = await askUserinfo(world, token.access_token, key, { claims: { ath: ath(token.access_token) } });
      expect(response.status).toBe(401);
      expect(response.headers.get('www-authenticate')).toMatch(/^DPoP error="invalid_dpop_proof"/);
    });
  });

  it('§4.3-12: its key is the one the access token is bound to', async () => {
    const response = await askUserinfo(world, token.access_token, another);
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toMatch(/^DPoP error="invalid_token", .*algs="/);
  });

  it('§5: a bound token has the type DPoP; without a proof it is a bearer token', async () => {
    expect((await askToken(world, await proof(TOKEN))).json.token_type).toBe('DPoP');
    const plain = await post(
      `${world.issuer}/token`,
      { grant_type: 'client_credentials', scope: 'storage.read' },
      {
        basic: world.batch,
      },
    );
    expect(plain.json.token_type).toBe('Bearer');
  });

  it('§5: a refresh token of a public client is bound to the key', async () => {
    const { refresh_token } = await boundTokens(world, key, 'spa');
    expect((await refreshWith(world, refresh_token, another, 'spa')).json.error).toBe('invalid_grant');
    expect((await refreshWith(world, refresh_token, undefined, 'spa')).json.error).toBe('invalid_grant');
    expect((await refreshWith(world, refresh_token, key, 'spa')).json.token_type).toBe('DPoP');
  });

  it('§5: a refresh token of a client that authenticates is not', async () => {
    expect((await refreshWith(world, token.refresh_token, another)).json.token_type).toBe('DPoP');
  });

  it('§5.1: the algorithms are announced', async () => {
    const metadata = (await (await fetch(`${world.issuer}/.well-known/oauth-authorization-server`)).json()) as object;
    expect(metadata).toMatchObject({
      dpop_signing_alg_values_supported: ['ES256', 'RS256', 'PS256', 'EdDSA', 'Ed25519'],
    });
  });

  it('§5.2: a client registered with dpop_bound_access_tokens gets no token without a proof', async () => {
    const metadata = { grant_types: ['client_credentials'], scope: 'storage.read', dpop_bound_access_tokens: true };
    const basic = await world.client(metadata);
    const { status, json } = await post(`${world.issuer}/token`, { grant_type: 'client_credentials' }, { basic });
    expect([status, json.error]).toEqual([400, 'invalid_request']);
  });

  it('§6.1, §6.2: the thumbprint of the key is in a JWT access token and in introspection', async () => {
    const { access_token } = await boundTokens(world, key, 'web', 'openid photos.read');
    const [, claims = ''] = access_token.split('.');
    expect(JSON.parse(Buffer.from(claims, 'base64url').toString()).cnf).toEqual({ jkt: key.jkt });
    expect(await introspect(world, access_token)).toMatchObject({ token_type: 'DPoP', cnf: { jkt: key.jkt } });
  });

  it.each(['DPoP', 'dpop', 'dPOP'])('§7.1: the scheme is %s, in any case', async (scheme) => {
    const headers = { authorization: `${scheme} ${token.access_token}`, dpop: await proof(USERINFO) };
    expect((await fetch(`${world.issuer}/userinfo`, { headers })).status).toBe(200);
  });

  it('§7.1: without a token the challenge says so, and no error', async () => {
    const challenge = (await fetch(`${world.issuer}/userinfo`)).headers.get('www-authenticate');
    expect(challenge).toMatch(/^Bearer realm="[^"]+", DPoP algs="[^"]+"$/);
  });

  it('§7.1: without a proof, or with a token that is not good, the error is invalid_token', async () => {
    for (const headers of [
      { authorization: `DPoP ${token.access_token}` },
      { authorization: 'DPoP unknown', dpop: await proof(USERINFO) },
    ]) {
      const response = await fetch(`${world.issuer}/userinfo`, { headers });
      expect(response.status).toBe(401);
      expect(response.headers.get('www-authenticate')).toMatch(/^DPoP error="invalid_token", .*algs="/);
    }
  });

  it('§7.1: a token that is bound to no key is not taken under the scheme', async () => {
    const { json } = await redeemWith(world, await getCode(world, { scope: 'openid' }), undefined);
    expect((await askUserinfo(world, String(json.access_token), key)).status).toBe(401);
  });

  it('§7.2: a bound token is no bearer token, with a proof beside it or not', async () => {
    for (const extra of [{}, { dpop: await proof(USERINFO) }]) {
      const headers = { authorization: `Bearer ${token.access_token}`, ...extra };
      const response = await fetch(`${world.issuer}/userinfo`, { headers });
      expect(response.status).toBe(401);
      expect(response.headers.get('www-authenticate')).toMatch(/^Bearer .*error="invalid_token".*, DPoP algs="/);
    }
    const form = await post(`${world.issuer}/userinfo`, { access_token: token.access_token });
    expect(form.status).toBe(401);
  });

  it('§8: use_dpop_nonce comes as JSON with exactly one nonce, which is good for the next proof', async () => {
    const refused = await askToken(world, await proof(TOKEN, { claims: { nonce: 'old' } }));
    expect([refused.status, refused.json.error]).toEqual([400, 'use_dpop_nonce']);
    expect(refused.headers.get('cache-control')).toContain('no-store');
    const nonce = refused.headers.get('dpop-nonce') ?? '';
    // One value, of the characters of §8.1.
    expect(nonce).toMatch(/^[\x21\x23-\x2B\x2D-\x5B\x5D-\x7E]{20,}$/);
    expect((await askToken(world, await proof(TOKEN, { claims: { nonce } }))).status).toBe(200);
  });

  it('§8.2, §9: nonces of the authorization server and of its protected resource are kept apart', async () => {
    const theirs = wrong(() => ({ claims: { nonce: 'old' } }));
    const [atToken, , atUserinfo] = await answers(theirs);
    const nonces = [atToken.headers.get('dpop-nonce') ?? '', atUserinfo.headers.get('dpop-nonce') ?? ''] as const;
    expect(nonces[0]).not.toBe(nonces[1]);
    expect((await askToken(world, await proof(TOKEN, { claims: { nonce: nonces[1] } }))).json.error).toBe(
      'use_dpop_nonce',
    );
    const taken = await askUserinfo(world, token.access_token, key, { claims: { nonce: nonces[1] } });
    expect(taken.status).toBe(200);
  });

  describe('§10: dpop_jkt', () => {
    const codeFor = (parameters: Record<string, string>) => getCode(world, { parameters });

    it('binds the code to the key', async () => {
      const flow = await codeFor({ dpop_jkt: key.jkt });
      for (const wrongKey of [another, undefined]) {
        const { status, json } = await redeemWith(world, flow, wrongKey);
        expect([status, json.error]).toEqual([400, 'invalid_grant']);
      }
      expect((await redeemWith(world, flow, key)).status).toBe(200);
    });

    it('binds a pushed request’s code too (§10.1)', async () => {
      const { uri, verifier } = await push(world, { fields: { dpop_jkt: key.jkt } });
      const { answer } = await follow(world, pushedPath(uri));
      const flow = { code: answer?.get('code') ?? '', verifier };
      expect((await redeemWith(world, flow, another)).json.error).toBe('invalid_grant');
      expect((await redeemWith(world, flow, key)).status).toBe(200);
    });

    it('is bound by a proof at the push (§10.1)', async () => {
      const { uri, verifier } = await push(world, { headers: { dpop: await proof(PAR) } });
      const { answer } = await follow(world, pushedPath(uri));
      const flow = { code: answer?.get('code') ?? '', verifier };
      expect((await redeemWith(world, flow, another)).json.error).toBe('invalid_grant');
      expect((await redeemWith(world, flow, key)).status).toBe(200);
    });

    it('and a proof at the push name the same key (§10.1)', async () => {
      const pushed = (dpop_jkt: string, dpop: string) => push(world, { fields: { dpop_jkt }, headers: { dpop } });
      expect((await pushed(key.jkt, await proof(PAR))).status).toBe(201);
      const { status, json } = await pushed(another.jkt, await proof(PAR));
      expect([status, json.error]).toEqual([400, 'invalid_dpop_proof']);
    });

    it('that is no thumbprint is refused', async () => {
      const { status, json } = await push(world, { fields: { dpop_jkt: 'x' } });
      expect([status, json.error]).toEqual([400, 'invalid_request']);
    });
  });

  it('§11.1: a proof is good once, at every endpoint', async () => {
    const made = new Map<Target, string>();
    for (const target of [TOKEN, PAR, USERINFO] as const) made.set(target, await proof(target));
    await expectTaken((target) => made.get(target) ?? '');
    await expectRefused((target) => made.get(target) ?? '');
  });

  it('§11.1: and so is its jti, for a key', async () => {
    const jti = 'the same';
    expect((await askToken(world, await proof(TOKEN, { claims: { jti } }))).status).toBe(200);
    const again = await askToken(world, await proof(TOKEN, { claims: { jti, iat: seconds(5) } }));
    expect(again.json.error).toBe('invalid_dpop_proof');
    const others = await askToken(world, await proofFor(world, another, TOKEN, { claims: { jti } }));
    expect(others.status).toBe(200);
  });
});
