/**
 * Plan fapi2-security-profile-final-test-plan: the modules about DPoP against a server (GATEHOUSE_DPOP_NONCE=on) and an API that
 * demand nonces. As the plan's client does, ours sends the last nonce it was given, and once more with the one of a refusal.
 */
import { expect } from 'vitest';
import { checkTokens, getCode, getTokens, redeem, resources, use } from '../../support/fapi-flow.ts';
import { endpoint, expectRefusal, proof } from '../../support/fapi-requests.ts';
import { flowModules } from './authorization.ts';
import { dpopModules } from './dpop.ts';
import { fapi2Plan } from './plan.ts';
import { tokenModules } from './token.ts';

fapi2Plan(
  { profile: 'fapi2-security', authentication: 'private_key_jwt', constraint: 'dpop', openid: true, nonces: true },
  flowModules,
  tokenModules,
  dpopModules,
  ({ module }) => {
    const none = { claims: { nonce: undefined } };

    module('dpop-negative-tests: without a nonce nothing is had or used up (SP §5.3.2.1-10)', async (op) => {
      const { proofKey } = op.client;
      const asked = await getCode(op);
      op.nonces.clear();
      const dpop = await proof(op, proofKey, 'POST', endpoint(op, 'token_endpoint'));
      expectRefusal(await redeem(op, asked, { dpop }), 'use_dpop_nonce');
      expect([...op.nonces.values()]).toHaveLength(1);
      const { accessToken } = await checkTokens(op, await redeem(op, asked), { nonce: asked.sent.nonce });
      for (const url of resources(op)) {
        const proofs = [await proof(op, proofKey, 'GET', url, { accessToken, ...none })];
        const { status, headers } = await use(op, url, accessToken, { proofs });
        expect(status).toBe(401);
        expect(headers.get('www-authenticate')).toMatch(/^DPoP .*error="use_dpop_nonce"/);
        expect((await use(op, url, accessToken)).status).toBe(200);
      }
    });

    module(
      'dpop-negative-tests: nonces of the server and of each resource are kept apart (SP §5.3.2.1-10)',
      async (op) => {
        const { accessToken } = await getTokens(op);
        for (const url of resources(op)) await use(op, url, accessToken);
        expect(new Set(op.nonces.values()).size).toBe(1 + resources(op).length);
        const [server] = op.nonces.values();
        for (const url of resources(op)) {
          const claims = { nonce: server };
          const proofs = [await proof(op, op.client.proofKey, 'GET', url, { accessToken, claims })];
          const { status, headers } = await use(op, url, accessToken, { proofs });
          expect(status).toBe(401);
          expect(headers.get('www-authenticate')).toContain('use_dpop_nonce');
        }
      },
    );
  },
);
