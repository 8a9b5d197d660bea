/**
 * The attacker holds some token of ours, and shows it where another kind is asked for: an ID token as an access token, a
 * code as a refresh token, a JWT of their own making (RFC 8725 §2.8, §3.11). Stopped by: prefixes for what is looked
 * up, `typ` + issuer + our own key by `kid` for what is signed, one algorithm for each key.
 */
import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ALIVE, DEAD, type Issued, refreshed, worth } from '../support/attack-tokens.ts';
import { post, type TestBrowser } from '../support/browser.ts';
import { getCode, PHOTOS, redeem, STORAGE, startWorld, type World } from '../support/world.ts';

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const decode = (part = '') => JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>;

describe('tokens of one kind where another is asked for', () => {
  let world: World;
  let browser: TestBrowser;
  let jwt: Issued;
  let opaque: Issued;
  let flow: Awaited<ReturnType<typeof getCode>>;
  let jwk: Record<string, string>;
  beforeAll(async () => {
    world = await startWorld();
    const scope = 'openid photos.read storage.read';
    const first = await getCode(world, { scope });
    browser = first.browser;
    jwt = (await redeem(world, first, 'web', { resource: PHOTOS })).json as unknown as Issued;
    opaque = (await redeem(world, await getCode(world, { scope, browser }), 'web', { resource: STORAGE }))
      .json as unknown as Issued;
    flow = await getCode(world, { scope, browser });
    const keys = (await (await fetch(`${world.issuer}/jwks`)).json()) as { keys: Record<string, string>[] };
    jwk = keys.keys.find(({ kid }) => kid === decode(jwt.access_token.split('.')[0]).kid) ?? {};
  });
  afterAll(() => world.close());

  it('the tokens themselves are good', async () => {
    expect(await worth(world, jwt.access_token)).toEqual(ALIVE);
    expect(await worth(world, opaque.access_token, world.storageApi)).toEqual(ALIVE);
  });

  /** A JWT with another header, signed by whoever. */
  function forged(header: object, signer: (input: string) => Buffer, claims: object = {}): string {
    const [, payload] = jwt.access_token.split('.');
    const input = `${encode({ ...decode(jwt.access_token.split('.')[0]), ...header })}.${encode({ ...decode(payload), ...claims })}`;
    return `${input}.${signer(input).toString('base64url')}`;
  }
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const byOwnKey = (input: string) =>
    sign('sha256', Buffer.from(input), { key: own.privateKey, dsaEncoding: 'ieee-p1363' });

  const wrong: [string, () => string][] = [
    ['an ID token', () => jwt.id_token],
    ['a refresh token', () => jwt.refresh_token],
    ['a code', () => flow.code],
    ['a session cookie', () => [...browser.cookies.values()].find((value) => value.startsWith('gate_si_')) ?? ''],
    ['a client secret', () => world.web.secret],
    ['an opaque token under another prefix', () => opaque.access_token.replace('gate_at_', 'gate_rt_')],
    ['an opaque token with another secret', () => opaque.access_token.slice(0, -43) + 'A'.repeat(43)],
    ['a JWT without a signature', () => `${jwt.access_token.split('.').slice(0, 2).join('.')}.`],
    ['alg none', () => forged({ alg: 'none' }, () => Buffer.from('x'))],
    [
      'HS256 with our public key',
      () => forged({ alg: 'HS256' }, (input) => createHmac('sha256', JSON.stringify(jwk)).update(input).digest()),
    ],
    ['another key under our kid', () => forged({}, byOwnKey)],
    ['an embedded key', () => forged({ jwk: own.publicKey.export({ format: 'jwk' }) }, byOwnKey)],
    ['a key address', () => forged({ kid: 'x', jku: 'https://evil.example/jwks' }, byOwnKey)],
    ['a key id that every object has', () => forged({ kid: '__proto__' }, byOwnKey)],
    ['critical extensions', () => forged({ crit: ['b64'], b64: false }, byOwnKey)],
    [
      'a changed payload',
      () => {
        const [header, payload, signature] = jwt.access_token.split('.');
        return `${header}.${encode({ ...decode(payload), scope: 'openid photos.write' })}.${signature}`;
      },
    ],
    ['a changed signature', () => `${jwt.access_token.slice(0, -4)}AAAA`],
    ['JSON', () => '{"active":true}'],
    ['a percent sign', () => '%'],
  ];
  it.each(wrong)('%s is no access token', async (_name, token) => {
    expect(await worth(world, token())).toEqual(DEAD);
    expect(await worth(world, token(), world.web)).toEqual(
      token() === jwt.refresh_token ? ['active', 'userinfo 401'] : DEAD,
    );
  });

  it.each([
    ['an access token', () => opaque.access_token],
    ['a signed access token', () => jwt.access_token],
    ['an ID token', () => jwt.id_token],
    ['a code', () => flow.code],
  ])('%s is no refresh token', async (_name, token) => {
    expect(await refreshed(world, token())).toBe('invalid_grant');
  });

  it.each([
    ['a refresh token', () => jwt.refresh_token],
    ['an access token', () => opaque.access_token],
  ])('%s is no code', async (_name, token) => {
    expect((await redeem(world, { ...flow, code: token() })).json.error).toBe('invalid_grant');
  });

  it('an ID token or a code at revocation ends nothing', async () => {
    for (const token of [jwt.id_token, flow.code]) {
      const answer = await post(`${world.issuer}/revoke`, { token }, { basic: world.web });
      expect(answer.status).toBeLessThan(500);
    }
    expect(await worth(world, jwt.access_token)).toEqual(ALIVE);
    expect((await redeem(world, flow, 'web', { resource: PHOTOS })).status).toBe(200);
  });

  it('a token for an API alone is not for userinfo', async () => {
    const alone = await redeem(world, await getCode(world, { browser }), 'web', { scope: 'photos.read' });
    expect(await worth(world, alone.json.access_token as string)).toEqual(['active', 'userinfo 403']);
  });

  it('a backend’s own token is not for userinfo, whatever it holds', async () => {
    for (const resource of [PHOTOS, STORAGE]) {
      const issued = await post(
        `${world.issuer}/token`,
        { grant_type: 'client_credentials', resource },
        { basic: world.batch },
      );
      const answer = await fetch(`${world.issuer}/userinfo`, {
        headers: { authorization: `Bearer ${issued.json.access_token}` },
      });
      expect([401, 403]).toContain(answer.status);
    }
  });
});
