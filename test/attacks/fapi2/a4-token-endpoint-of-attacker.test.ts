/**
 * FAPI 2.0 attacker A4: an honest client sends its token request to an endpoint of the attacker. They get the code, the
 * verifier, an assertion that is addressed to us and was never used, and a proof for their own address. The profile takes this
 * for excluded, since clients read the endpoints from our metadata; it is played all the same.
 *
 * Stopped by: metadata is of the issuer it was asked from; assertions are good once; and, for clients with `require_dpop_at_par`
 * or mutual TLS, by a code that is bound to a key which the attacker has not. Without that switch the attack on a client that
 * sent its token request to the wrong place succeeds, as the profile says: a test shows it.
 */
import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tally } from '../../support/attack-aftermath.ts';
import {
  assertionOf,
  codeFor,
  type FapiClient,
  type FapiWorld,
  pushAs,
  redemption,
  sendAs,
  startFapiWorld,
  userinfoAs,
} from '../../support/fapi-world.ts';
import { CALLBACK, startMtlsWorld } from '../../support/mtls-world.ts';
import { type ProofKey, proofFor, proofKey } from '../../support/proof-key.ts';
import type { TestServer } from '../../support/server.ts';

describe('A4, who gets a client’s token request', () => {
  let world: FapiWorld;
  let node: TestServer;
  let theirs: ProofKey;
  let strict: FapiClient;
  beforeAll(async () => {
    world = await startFapiWorld();
    node = await world.secondNode();
    theirs = await proofKey();
    strict = await world.fapiClient('strict', { require_dpop_at_par: true });
  });
  afterAll(async () => {
    await node.close();
    await world.close();
  });

  /** The token request as the attacker got it, sent on with a proof of their own. */
  async function relayed(client: FapiClient, flow: { code: string; verifier: string }) {
    const captured = { assertion: await assertionOf(world, client), fields: redemption(client, flow) };
    const dpop = await proofFor(world, theirs, ['POST', '/token']);
    return sendAs(world, client, '/token', captured.fields, { assertion: captured.assertion, dpop });
  }

  it('A4-1 residual risk: with nothing bound at the push, the attacker’s key becomes the token’s', async () => {
    const { status, json } = await relayed(world.app, await codeFor(world, world.app));
    expect(status).toBe(200);
    expect((await userinfoAs(world, String(json.access_token), theirs)).status).toBe(200);
  });

  it('A4-1 AZ: require_dpop_at_par closes it: no push without a proof, no token without its key', async () => {
    const before = await tally(world);
    const bare = await pushAs(world, strict);
    expect([bare.status, bare.json.error]).toEqual([400, 'invalid_request']);
    expect(await tally(world)).toEqual(before);
    const dpop = await proofFor(world, strict.proof, ['POST', '/par']);
    const flow = await codeFor(world, strict, { sending: { dpop } });
    const { status, json } = await relayed(strict, flow);
    expect([status, json.error]).toEqual([400, 'invalid_grant']);
    // The honest client's own request is not hindered.
    const own = await proofFor(world, strict.proof, ['POST', '/token']);
    expect((await sendAs(world, strict, '/token', redemption(strict, flow), { dpop: own })).status).toBe(200);
  });

  it('A4-1 AZ: so does a client that binds its code by itself (dpop_jkt)', async () => {
    const flow = await codeFor(world, world.app, { fields: { dpop_jkt: world.app.proof.jkt } });
    const { status, json } = await relayed(world.app, flow);
    expect([status, json.error]).toEqual([400, 'invalid_grant']);
  });

  it('A4-1 AZ: the proof that was made for the attacker’s address is not one for ours', async () => {
    const flow = await codeFor(world, world.app);
    const claims = { htu: 'https://evil.example/token' };
    const dpop = await proofFor(world, world.app.proof, ['POST', '/token'], { claims });
    const { status, json } = await sendAs(world, world.app, '/token', redemption(world.app, flow), { dpop });
    expect([status, json.error]).toEqual([400, 'invalid_dpop_proof']);
  });

  it('A4-1 AZ: a client that authenticates by certificate gave the attacker nothing to authenticate with', async () => {
    const mutual = await startMtlsWorld('shared', { GATEHOUSE_PROFILE: 'fapi2-security' });
    try {
      await mutual.client({
        client_id: 'app',
        redirect_uris: [CALLBACK],
        token_endpoint_auth_method: 'tls_client_auth',
        tls_client_auth_subject_dn: 'CN=app,O=Example,C=DE',
        tls_client_certificate_bound_access_tokens: true,
      });
      const own = await mutual.issued();
      const attacker = await mutual.selfSigned();
      const asked = { client_id: 'app', grant_type: 'authorization_code', code: 'captured', code_verifier: 'captured' };
      for (const [certificate, expected] of [
        [attacker, [401, 'invalid_client']],
        [undefined, [401, 'invalid_client']],
        [own, [400, 'invalid_grant']],
      ] as const) {
        const { status, json } = await mutual.post('/token', asked, certificate);
        expect([status, json.error]).toEqual(expected);
      }
    } finally {
      await mutual.close();
    }
  });

  it('A4-2 AZ: an assertion that reached us is used up, on every node', async () => {
    const assertion = await assertionOf(world, world.app);
    expect((await pushAs(world, world.app, {}, { assertion })).status).toBe(201);
    for (const at of [world.issuer, node.running.address]) {
      const dpop = await proofFor(world, theirs, ['POST', '/token']);
      const fields = { grant_type: 'client_credentials', scope: 'photos.read' };
      const { status, json } = await sendAs(world, world.app, '/token', fields, { assertion, dpop, at });
      expect([status, json.error]).toEqual([401, 'invalid_client']);
    }
  });

  it('A4-3 AZ: a client (oauth4webapi) takes no metadata from one server for another one', async () => {
    const insecure = { [oauth.allowInsecureRequests]: true };
    for (const algorithm of ['oidc', 'oauth2'] as const) {
      const answer = () => oauth.discoveryRequest(new URL(world.issuer), { ...insecure, algorithm });
      const evil = new URL('https://evil.example');
      await expect(oauth.processDiscoveryResponse(evil, await answer())).rejects.toThrow(/"issuer"/);
      const found = await oauth.processDiscoveryResponse(new URL(world.issuer), await answer());
      // And what it takes from ours leads nowhere else.
      const ends = Object.entries(found).filter(([name]) => name.endsWith('_endpoint') || name === 'jwks_uri');
      expect(ends.length).toBeGreaterThan(5);
      for (const [, address] of ends) expect(String(address).startsWith(`${world.issuer}/`)).toBe(true);
    }
  });
});
