/**
 * The attacker has seen tokens and proofs (a log, a proxy, an API that is not honest: FAPI 2.0 attackers A4, A5), and may send
 * them anywhere, but does not hold the key.
 * Stopped by: a proof is for one method, one address, one token, one minute and one use, on all nodes together; a bound token
 * is no bearer token anywhere; a code or refresh token that is bound is worth nothing without the key.
 */
import { createPrivateKey, type JsonWebKey, sign } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditOf, query, tally } from '../support/attack-aftermath.ts';
import { send } from '../support/attack-wire.ts';
import { post } from '../support/browser.ts';
import {
  askToken,
  askUserinfo,
  type Bound,
  boundTokens,
  PAR,
  push,
  redeemWith,
  refreshWith,
  TOKEN,
  USERINFO,
} from '../support/dpop-world.ts';
import { type ProofKey, proofFor, proofKey } from '../support/proof-key.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { getCode, startWorld, type World } from '../support/world.ts';

describe('stolen tokens and proofs', () => {
  let world: World;
  /** The same deployment, another process: it answers for the same issuer. */
  let node: TestServer;
  let key: ProofKey;
  let thief: ProofKey;
  let token: Bound;
  beforeAll(async () => {
    world = await startWorld();
    const { issuer, databaseUrl, clock } = world;
    node = await startTestServer({ databaseUrl, clock, env: { GATEHOUSE_ISSUER: issuer } });
    [key, thief] = [await proofKey(), await proofKey()];
    token = await boundTokens(world, key);
  });
  afterAll(async () => {
    await node.close();
    await world.close();
  });

  const at = (server: TestServer): World => ({ ...world, issuer: server.running.address });
  const userinfo = (server: TestServer, headers: Record<string, string>) =>
    fetch(`${server.running.address}/userinfo`, { headers });
  const proofOfUse = (accessToken = token.access_token) => proofFor(world, key, USERINFO, { accessToken });

  it('a token without its key is worth nothing, as DPoP or Bearer, and leaves an audit event', async () => {
    const { access_token } = token;
    const proofs: Record<string, string>[] = [
      { authorization: `Bearer ${access_token}` },
      { authorization: `DPoP ${access_token}` },
      { authorization: `Bearer ${access_token}`, dpop: await proofOfUse() },
      {
        authorization: `DPoP ${access_token}`,
        dpop: await proofFor(world, thief, USERINFO, { accessToken: access_token }),
      },
    ];
    const trail = await auditOf(world, 'invalid_token', async () => {
      for (const headers of proofs) expect((await userinfo(world, headers)).status).toBe(401);
    });
    expect(trail.some(({ event }) => event === 'invalid_token')).toBe(true);
    expect((await post(`${world.issuer}/userinfo`, { access_token })).status).toBe(401);
  });

  it('a proof that was seen is not good again, at any node or endpoint', async () => {
    const dpop = await proofOfUse();
    const headers = { authorization: `DPoP ${token.access_token}`, dpop };
    expect((await userinfo(world, headers)).status).toBe(200);
    for (const server of [world, node]) {
      const again = await userinfo(server, headers);
      expect([again.status, again.headers.get('www-authenticate')]).toEqual([
        401,
        expect.stringMatching(/^DPoP error="invalid_dpop_proof"/),
      ]);
    }
  });

  it('of twenty uses at once on two nodes exactly one is good', async () => {
    const headers = { authorization: `DPoP ${token.access_token}`, dpop: await proofOfUse() };
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => userinfo(index % 2 === 0 ? world : node, headers)),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(19).fill(401)]);
    const atToken = await proofFor(world, key, TOKEN);
    const tokens = await Promise.all(
      Array.from({ length: 20 }, (_, index) => askToken(at(index % 2 === 0 ? world : node), atToken)),
    );
    expect(tokens.map(({ status }) => status).sort()).toEqual([200, ...Array(19).fill(400)]);
    const atPar = await proofFor(world, key, PAR);
    const pushes = await Promise.all(
      Array.from({ length: 20 }, (_, index) => push(at(index % 2 === 0 ? world : node), { headers: { dpop: atPar } })),
    );
    expect(pushes.map(({ status }) => status).sort()).toEqual([201, ...Array(19).fill(400)]);
  });

  it('a proof for one address, method or token is none for another', async () => {
    const other = await boundTokens(world, key);
    const seen = [
      await proofFor(world, key, TOKEN),
      await proofFor(world, key, PAR),
      await proofOfUse(other.access_token),
    ];
    for (const dpop of seen)
      expect((await userinfo(world, { authorization: `DPoP ${token.access_token}`, dpop })).status).toBe(401);
    const post = await proofFor(world, key, ['POST', '/userinfo'], { accessToken: token.access_token });
    expect((await userinfo(world, { authorization: `DPoP ${token.access_token}`, dpop: post })).status).toBe(401);
  });

  it('a proof to an API of the attacker, by its host header, is none here', async () => {
    const htu = 'http://api.evil.example/userinfo';
    const dpop = await proofFor(world, key, USERINFO, { accessToken: token.access_token, claims: { htu } });
    for (const name of ['host', 'x-forwarded-host', 'forwarded']) {
      const value = name === 'forwarded' ? 'host=api.evil.example' : 'api.evil.example';
      const headers = [
        [name, value],
        ['authorization', `DPoP ${token.access_token}`],
        ['dpop', dpop],
      ] as const;
      expect((await send(world.issuer, { target: '/userinfo', headers })).status, name).toBe(401);
    }
  });

  it('proofs made in advance are too early now and too old soon', async () => {
    const claims = (offset: number) => ({ iat: Math.floor(world.clock.now().getTime() / 1000) + offset });
    for (const offset of [600, -600, 3600, -3600]) {
      const dpop = await proofFor(world, key, TOKEN, { claims: claims(offset) });
      expect((await askToken(world, dpop)).json.error, String(offset)).toBe('invalid_dpop_proof');
    }
    const dpop = await proofFor(world, key, TOKEN);
    world.clock.advance(120);
    expect((await askToken(world, dpop)).json.error).toBe('invalid_dpop_proof');
    token = await boundTokens(world, key);
  });

  it('a stolen code that is bound is redeemed by nobody else, and is not used up by trying', async () => {
    const flow = await getCode(world, { client: 'spa', scope: 'openid', parameters: { dpop_jkt: key.jkt } });
    const before = await tally(world);
    for (const wrong of [thief, undefined]) {
      const { status, json } = await redeemWith(world, flow, wrong, 'spa');
      expect([status, json.error]).toEqual([400, 'invalid_grant']);
    }
    expect(await tally(world)).toEqual(before);
    expect((await redeemWith(world, flow, key, 'spa')).status).toBe(200);
  });

  it('a stolen refresh token of a public client is worth nothing without the key', async () => {
    const { refresh_token } = await boundTokens(world, key, 'spa');
    const before = await tally(world);
    for (const wrong of [thief, undefined]) {
      const { status, json } = await refreshWith(world, refresh_token, wrong, 'spa');
      expect([status, json.error]).toEqual([400, 'invalid_grant']);
    }
    expect(await tally(world)).toEqual(before);
    expect((await refreshWith(world, refresh_token, key, 'spa')).status).toBe(200);
  });

  describe('a whole request that was caught, and is sent again as it was, ends nothing; with a proof of its own it ends all', () => {
    const stands = async ({ access_token }: { access_token: string }) =>
      (await userinfo(world, { authorization: `DPoP ${access_token}`, dpop: await proofOfUse(access_token) })).status;

    it('with a code', async () => {
      const flow = await getCode(world, { client: 'spa', scope: 'openid' });
      const caught = proofFor(world, key, TOKEN);
      const { status, json } = await redeemWith(world, flow, key, 'spa', caught);
      expect(status).toBe(200);
      const tokens = json as unknown as Bound;
      for (const server of [world, node])
        expect((await redeemWith(at(server), flow, key, 'spa', caught)).json.error).toBe('invalid_dpop_proof');
      expect(await stands(tokens)).toBe(200);
      expect((await redeemWith(world, flow, key, 'spa')).json.error).toBe('invalid_grant');
      expect(await stands(tokens)).toBe(401);
    });

    it('with a refresh token, after the time in which it may come again', async () => {
      const before = await boundTokens(world, key, 'spa');
      const caught = proofFor(world, key, TOKEN);
      const { json } = await refreshWith(world, before.refresh_token, key, 'spa', caught);
      const tokens = json as unknown as Bound;
      for (const seconds of [0, 15]) {
        world.clock.advance(seconds);
        expect((await refreshWith(world, before.refresh_token, key, 'spa', caught)).json.error).toBe(
          'invalid_dpop_proof',
        );
        expect(await stands(tokens)).toBe(200);
      }
      expect((await refreshWith(world, before.refresh_token, key, 'spa')).json.error).toBe('invalid_grant');
      expect(await stands(tokens)).toBe(401);
    });
  });

  it('a refused proof leaves no token, code or request behind', async () => {
    const all = async () => [await tally(world), await query(world, 'SELECT count(*) FROM pushed_requests')];
    const before = await all();
    const bad = await proofFor(world, key, ['POST', '/elsewhere']);
    expect((await askToken(world, bad)).status).toBe(400);
    expect((await push(world, { headers: { dpop: bad } })).status).toBe(400);
    expect(await all()).toEqual(before);
  });

  it('an old nonce is refused', async () => {
    const refused = await askToken(world, await proofFor(world, key, TOKEN, { claims: { nonce: 'x' } }));
    const nonce = refused.headers.get('dpop-nonce');
    world.clock.advance(301);
    const late = await askToken(world, await proofFor(world, key, TOKEN, { claims: { nonce } }));
    expect([late.status, late.json.error]).toEqual([400, 'use_dpop_nonce']);
    token = await boundTokens(world, key);
  });

  describe('no change to a good proof that changes what it says is accepted (properties)', () => {
    const RUNS = { numRuns: 60 };

    it('of its bytes', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
          fc.base64String(),
          async (place, text) => {
            const good = await proofFor(world, key, TOKEN);
            const position = Math.floor(place * good.length);
            const [letter = 'A'] = text.replace(/[+/=]/g, '_');
            const changed = good.slice(0, position) + letter + good.slice(position + 1);
            const same = changed === good;
            expect((await askToken(world, changed)).status).toBe(same ? 200 : 400);
          },
        ),
        RUNS,
      );
    });

    it('of its parts, by those of another good proof', async () => {
      await fc.assert(
        fc.asyncProperty(fc.subarray([0, 1, 2], { minLength: 1, maxLength: 2 }), async (swapped) => {
          const one = (await proofFor(world, key, TOKEN)).split('.');
          const other = (await proofFor(world, thief, TOKEN)).split('.');
          const mixed = one.map((part, index) => (swapped.includes(index) ? (other[index] ?? '') : part)).join('.');
          expect((await askToken(world, mixed)).json.error).toBe('invalid_dpop_proof');
        }),
        RUNS,
      );
    });

    it('of a claim, signed by the key itself', async () => {
      const name = fc.constantFrom('htm', 'htu', 'iat', 'jti');
      await fc.assert(
        fc.asyncProperty(name, fc.jsonValue(), async (claim, value) => {
          // A jti may be any text that was not used before.
          fc.pre(!(claim === 'jti' && typeof value === 'string' && value !== ''));
          const changed = await proofFor(world, key, TOKEN, { claims: { [claim]: value } });
          expect((await askToken(world, changed)).json.error).toBe('invalid_dpop_proof');
        }),
        RUNS,
      );
    });

    it('of a header parameter, signed by the key itself', async () => {
      const name = fc.constantFrom('typ', 'jwk', 'crit');
      await fc.assert(
        fc.asyncProperty(name, fc.jsonValue(), async (parameter, value) => {
          const [, claims = ''] = (await proofFor(world, key, TOKEN)).split('.');
          const header = { typ: 'dpop+jwt', alg: 'ES256', jwk: key.jwk, [parameter]: value };
          const changed = signed(key, header, claims);
          expect((await askToken(world, changed)).json.error).toBe('invalid_dpop_proof');
        }),
        RUNS,
      );
    });

    it('of ath, where a token is used', async () => {
      await fc.assert(
        fc.asyncProperty(fc.jsonValue(), async (ath) => {
          const response = await askUserinfo(world, token.access_token, key, { claims: { ath } });
          expect(response.status).toBe(401);
        }),
        RUNS,
      );
    });
  });
});

/** A JWS of any header, its signature good: no library would write some of these. */
function signed({ privateJwk }: ProofKey, header: object, claims: string): string {
  const input = `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${claims}`;
  const privateKey = createPrivateKey({ key: privateJwk as JsonWebKey, format: 'jwk' });
  const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}
