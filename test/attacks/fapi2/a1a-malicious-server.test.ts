/**
 * FAPI 2.0 attacker A1a: all that A1 has, and an authorization server of their own, which honest clients use beside ours. It
 * gets what clients send it (assertions, proofs, codes, references), answers what it likes, and sends people to us.
 *
 * Stopped by: answers say who gives them (RFC 9207, JARM) and clients look; assertions name one server, as a string; proofs name
 * the address they are for; references and codes belong to a client and a transaction; tokens are bound to a key that the
 * client uses with one server only.
 */
import { randomUUID } from 'node:crypto';
import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Api, startApi } from '../../resource-server/api.ts';
import { tally } from '../../support/attack-aftermath.ts';
import { expectErrorPage } from '../../support/attack-pages.ts';
import { responseOf, TestBrowser } from '../../support/browser.ts';
import { clientKey } from '../../support/client-key.ts';
import { pushedPath } from '../../support/dpop-world.ts';
import {
  askTokens,
  assertionOf,
  BOB,
  codeFor,
  type FapiWorld,
  goThrough,
  PHOTOS,
  pushAs,
  redeemAs,
  redemption,
  seconds,
  sendAs,
  startFapiWorld,
  tokensFor,
} from '../../support/fapi-world.ts';
import { proofFor, proofKey } from '../../support/proof-key.ts';

const EVIL = 'https://evil-as.example';

describe('A1a, a malicious server that the client uses too', () => {
  let world: FapiWorld;
  let api: Api;
  beforeAll(async () => {
    world = await startFapiWorld();
    api = await startApi({ issuer: world.issuer, resource: PHOTOS, token: { kind: 'jwt' }, bindings: ['dpop'] });
  });
  afterAll(async () => {
    await api.close();
    await world.close();
  });

  const client: oauth.Client = { client_id: 'app', authorization_signed_response_alg: 'PS256' };
  /** What the client knows of the malicious server, which names our endpoints where it likes. */
  const evil = (): oauth.AuthorizationServer => ({
    issuer: EVIL,
    authorization_endpoint: `${world.issuer}/authorize`,
    pushed_authorization_request_endpoint: `${world.issuer}/par`,
    token_endpoint: `${EVIL}/token`,
    jwks_uri: `${world.issuer}/jwks`,
  });
  const refusalOf = async (answer: Promise<{ status: number; json: Record<string, unknown> }>) => {
    const { status, json } = await answer;
    expect(json).not.toHaveProperty('access_token');
    return [status, json.error];
  };

  it('A1a-1 AZ AN: our answer is not taken for the malicious server’s, so the code is not sent there', async () => {
    const { uri } = await pushAs(world, world.app);
    const answer = new URL((await goThrough(new TestBrowser(world), pushedPath(uri, 'app'))).location ?? '');
    expect(() => oauth.validateAuthResponse(evil(), client, answer, 'af0ifjsldkj')).toThrow(/"iss"/);
    const known = { ...evil(), authorization_response_iss_parameter_supported: true };
    expect(() => oauth.validateAuthResponse(known, client, answer, 'af0ifjsldkj')).toThrow(/"iss"/);
    // And the one that was meant takes it.
    const honest = { ...known, issuer: world.issuer };
    expect(oauth.validateAuthResponse(honest, client, answer, 'af0ifjsldkj').get('code')).not.toBeNull();
  });

  it('A1a-1 AZ AN: an error of ours says who it is from, too', async () => {
    const { uri } = await pushAs(world, world.app, { prompt: 'consent' });
    const page = await goThrough(new TestBrowser(world), pushedPath(uri, 'app'), undefined, 'deny');
    expect([responseOf(page).get('error'), responseOf(page).get('iss')]).toEqual(['access_denied', world.issuer]);
    const answer = new URL(page.location ?? '');
    expect(() => oauth.validateAuthResponse(evil(), client, answer, 'af0ifjsldkj')).toThrow(/"iss"/);
  });

  it('A1a-1 AZ AN: nor is a signed one', async () => {
    const { uri } = await pushAs(world, world.app, { response_mode: 'jwt' });
    const answer = new URL((await goThrough(new TestBrowser(world), pushedPath(uri, 'app'))).location ?? '');
    const insecure = { [oauth.allowInsecureRequests]: true };
    const read = (as: oauth.AuthorizationServer) =>
      oauth.validateJwtAuthResponse(as, client, answer, 'af0ifjsldkj', insecure);
    await expect(read(evil())).rejects.toThrow(/"iss"/);
    expect((await read({ ...evil(), issuer: world.issuer })).get('code')).not.toBeNull();
  });

  it('A1a-2 AZ: an assertion that was made for the malicious server, or for both, is not taken', async () => {
    const { issuer } = world;
    const audiences = [
      EVIL,
      `${EVIL}/token`,
      [EVIL, issuer],
      [issuer, EVIL],
      [issuer],
      `${issuer}/token`,
      `${issuer}/par`,
      `${issuer}/`,
    ];
    const before = await tally(world);
    for (const aud of audiences)
      for (const [path, fields] of [
        ['/par', {}],
        ['/token', { grant_type: 'client_credentials' }],
        ['/token_info', { token: 'x' }],
        ['/revoke', { token: 'x' }],
      ] as const) {
        const assertion = await assertionOf(world, world.app, { aud });
        expect([aud, ...(await refusalOf(sendAs(world, world.app, path, fields, { assertion })))]).toEqual([
          aud,
          401,
          'invalid_client',
        ]);
      }
    expect(await tally(world)).toEqual(before);
  });

  it('A1a-2 AZ: a client (oauth4webapi) that is told our endpoints are the malicious server’s gets nowhere', async () => {
    const auth = oauth.PrivateKeyJwt({ key: world.app.key.privateKey, kid: 'app-key' });
    const asked = { response_type: 'code', redirect_uri: world.app.redirectUri, scope: 'openid' };
    const insecure = { [oauth.allowInsecureRequests]: true };
    const response = await oauth.pushedAuthorizationRequest(evil(), client, auth, asked, insecure);
    expect(response.status).toBe(401);
    await response.text();
  });

  it('A1a-3 AZ: a proof made for the malicious server’s endpoint is not one for ours', async () => {
    const flow = await codeFor(world, world.app);
    for (const htu of [
      `${EVIL}/token`,
      `${EVIL}/token?${world.issuer}/token`,
      `${world.issuer}.evil-as.example/token`,
    ]) {
      const dpop = await proofFor(world, world.app.proof, ['POST', '/token'], { claims: { htu } });
      const answer = sendAs(world, world.app, '/token', redemption(world.app, flow), { dpop });
      expect(await refusalOf(answer)).toEqual([400, 'invalid_dpop_proof']);
    }
    expect((await redeemAs(world, world.app, flow)).status).toBe(200);
  });

  it('A1a-4 AZ: a reference the malicious server got here for its own client does not work for another one', async () => {
    const { uri } = await pushAs(world, world.evil);
    const victim = (await codeFor(world, world.app)).browser;
    const before = await tally(world);
    expectErrorPage(await victim.visit(pushedPath(uri, 'app')), 400, 'invalid_request_uri');
    expect(await tally(world)).toEqual(before);
  });

  it('A1a-5 AN: an ID token of the malicious server makes nobody alice at a client of ours', async () => {
    const forger = await clientKey('PS256', 'forged');
    const as = { ...evil(), issuer: world.issuer, id_token_signing_alg_values_supported: ['PS256'] };
    const now = seconds(world);
    const answerWith = async (claims: Record<string, unknown>) => {
      const id_token = await forger.sign({
        iss: world.issuer,
        sub: world.alice,
        aud: 'app',
        iat: now,
        exp: now + 60,
        ...claims,
      });
      return Response.json({ access_token: 'x', token_type: 'bearer', id_token });
    };
    await expect(oauth.processAuthorizationCodeResponse(as, client, await answerWith({ iss: EVIL }))).rejects.toThrow(
      /"iss"/,
    );
    // In our name: the keys are ours, and this is none of them.
    const response = await answerWith({});
    await oauth.processAuthorizationCodeResponse(as, client, response);
    await expect(
      oauth.validateApplicationLevelSignature(as, response, { [oauth.allowInsecureRequests]: true }),
    ).rejects.toThrow();
    await expect(
      oauth.processUserInfoResponse(as, client, world.bob, Response.json({ sub: world.alice })),
    ).rejects.toThrow(/"sub"/);
  });

  it('A1a-6 AZ: a stolen token that the malicious server hands to the client opens nothing (cuckoo token)', async () => {
    const ask = async (token: string, key: typeof world.app.proof) => {
      const claims = { htu: `${PHOTOS}/photos` };
      const dpop = await proofFor(world, key, ['GET', '/photos'], { accessToken: token, claims });
      return (await api.ask('GET', '/photos', { authorization: `DPoP ${token}`, dpop })).status;
    };
    const fields = { scope: 'photos.read' };
    const stolen = await tokensFor(world, world.app, { fields });
    // One key for each server: the proof the client makes for this session is by the other one.
    expect(await ask(stolen.access_token, await proofKey())).toBe(401);
    expect(await ask(stolen.access_token, world.evil.proof)).toBe(401);
    expect(await ask(stolen.access_token, world.app.proof)).toBe(200);
  });

  it('A1a-7 SI: the attacker’s code, handed to a client’s other transaction, is worth nothing there', async () => {
    const attacker = await codeFor(world, world.app, { who: BOB });
    const victim = await pushAs(world, world.app);
    const mixed = { code: attacker.code, verifier: victim.verifier };
    expect(await refusalOf(redeemAs(world, world.app, mixed))).toEqual([400, 'invalid_grant']);
    const made = { grant_type: 'authorization_code', code: `gate_ac_${randomUUID()}`, code_verifier: victim.verifier };
    expect(await refusalOf(askTokens(world, world.app, made))).toEqual([400, 'invalid_grant']);
  });
});
