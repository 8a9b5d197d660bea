/**
 * Modules of the FAPI 2.0 plan with `fapi_profile=fapi_client_credentials_grant`: no person, no authorization endpoint; the
 * same names, at the token endpoint.
 */
import { expect } from 'vitest';
import type { Fapi } from '../../support/fapi-certification.ts';
import { use } from '../../support/fapi-flow.ts';
import { asRs256, authenticationOf, expectRefusal, type Sending, seconds, send } from '../../support/fapi-requests.ts';
import type { Run } from './plan.ts';

const ask = (op: Fapi, sending: Sending = {}, fields: Record<string, string> = {}) =>
  send(op, 'token_endpoint', { grant_type: 'client_credentials', scope: 'things.read', ...fields }, sending);

async function tokenOf(op: Fapi, sending: Sending = {}): Promise<string> {
  const { status, json } = await ask(op, sending);
  expect({ status, json }).toMatchObject({ status: 200, json: { token_type: 'DPoP', scope: 'things.read' } });
  expect(json).not.toHaveProperty('refresh_token');
  expect(json).not.toHaveProperty('id_token');
  return String(json.access_token);
}

export function clientCredentialsModules({ module }: Run): void {
  module('happy-flow', async (op) => {
    for (const client of [op.client, op.client2]) {
      const token = await tokenOf(op, { client });
      expect((await use(op, op.api.url, token, { client })).status).toBe(200);
      const other = client === op.client ? op.client2 : op.client;
      expect((await use(op, op.api.url, token, { client: other })).status).toBe(401);
      expect([400, 401, 414]).toContain((await client.fetch(`${op.api.url}?access_token=${token}`)).status);
    }
  });

  module('access-token-type-header-case-sensitivity', async (op) => {
    expect((await use(op, op.api.url, await tokenOf(op), { scheme: 'dpOp' })).status).toBe(200);
  });

  const times: readonly (readonly [string, (op: Fapi) => Record<string, number>])[] = [
    ['check-dpop-proof-nbf-exp', (op) => ({ nbf: seconds(op) - 5, exp: seconds(op) + 60 })],
    ['ensure-dpopproof-with-iat-10seconds-before-succeeds', (op) => ({ iat: seconds(op) - 10 })],
    ['ensure-dpopproof-with-iat-10seconds-after-succeeds', (op) => ({ iat: seconds(op) + 8 })],
  ];
  for (const [name, claimsOf] of times) {
    module(name, async (op) => {
      const claims = claimsOf(op);
      const token = await tokenOf(op, { dpop: { claims } });
      expect((await use(op, op.api.url, token, { proofOptions: { claims } })).status).toBe(200);
    });
  }

  module('ensure-client-id-in-token-endpoint', async (op) => {
    expectRefusal(await ask(op, {}, { client_id: op.client2.id }), 'invalid_client');
  });

  module('ensure-holder-of-key-required', async (op) => {
    expectRefusal(await ask(op, { dpop: null }), 'invalid_request', 'invalid_dpop_proof');
  });

  module('ensure-signed-client-assertion-with-RS256-fails', async (op) => {
    const client = { ...op.client, key: await asRs256(op.client.key) };
    expectRefusal(await ask(op, { authentication: await authenticationOf(op, client) }), 'invalid_client');
  });

  module('ensure-client-assertion-in-token-endpoint', async (op) => {
    expectRefusal(await ask(op, { authentication: { client_id: op.client.id } }), 'invalid_client');
  });

  const wrong: readonly (readonly [string, (op: Fapi) => Record<string, unknown>])[] = [
    ['exp-is-5-minutes-in-past', (op) => ({ exp: seconds(op) - 300, iat: seconds(op) - 360, nbf: undefined })],
    ['wrong-aud', () => ({ aud: 'https://other.example' })],
    ['no-sub', () => ({ sub: undefined })],
  ];
  for (const [name, claims] of wrong) {
    module(`ensure-client-assertion-with-${name}-fails`, async (op) => {
      const authentication = await authenticationOf(op, op.client, { claims: claims(op) });
      expectRefusal(await ask(op, { authentication }), 'invalid_client');
    });
  }
}
