/** Modules of the FAPI 2.0 plans about client assertions, at the token endpoint and at the one for pushed requests. */

import { expect } from 'vitest';
import { FAPI_ALGS, type Fapi } from '../../support/fapi-certification.ts';
import { expectPushed, getCode, push, redeem } from '../../support/fapi-flow.ts';
import { asRs256, authenticationOf, expectRefusal, seconds } from '../../support/fapi-requests.ts';
import type { Run } from './plan.ts';

export function assertionModules({ module }: Run): void {
  module('ensure-signed-client-assertion-with-RS256-fails', async (op) => {
    expect(FAPI_ALGS).toContain(op.client.key.alg);
    // The registered key itself, used for the other algorithm: nothing but that is wrong.
    const client = { ...op.client, key: await asRs256(op.client.key) };
    const refused = async () => ({ authentication: await authenticationOf(op, client) });
    expectRefusal((await push(op, await refused())).answer, 'invalid_client');
    expectRefusal(await redeem(op, await getCode(op), await refused()), 'invalid_client');
  });

  module('ensure-client-assertion-in-token-endpoint', async (op) => {
    const asked = await getCode(op);
    expectRefusal(await redeem(op, asked, { authentication: {} }), 'invalid_client');
    const authentication = { client_id: op.client.id };
    expectRefusal(await redeem(op, asked, { authentication }), 'invalid_client');
  });

  const wrong: readonly (readonly [name: string, (op: Fapi) => Record<string, unknown>])[] = [
    ['ensure-client-assertion-with-exp-is-5-minutes-in-past-fails', (op) => shifted(op, -300, -360)],
    ['ensure-client-assertion-with-wrong-aud-fails', () => ({ aud: 'https://other.example' })],
    ['ensure-client-assertion-with-no-sub-fails', () => ({ sub: undefined })],
    ['par-test-array-as-audience-fails', ({ server }) => ({ aud: [server.issuer, 'https://other.example'] })],
    ['par-test-array-as-audience-fails: of one, too', ({ server }) => ({ aud: [server.issuer] })],
    [
      'par-test-par-endpoint-url-as-audience-fails',
      ({ metadata }) => ({ aud: metadata.pushed_authorization_request_endpoint }),
    ],
    ['par-test-token-endpoint-url-as-audience-fails', ({ metadata }) => ({ aud: metadata.token_endpoint })],
    ['par-ensure-jwt-client-assertions-nbf-over-60-seconds-in-the-future-fails', (op) => shifted(op, 125, 65)],
  ];
  for (const [name, claims] of wrong) {
    module(name, async (op) => {
      const refused = async () => ({ authentication: await authenticationOf(op, op.client, { claims: claims(op) }) });
      expectRefusal((await push(op, await refused())).answer, 'invalid_client');
      expectRefusal(await redeem(op, await getCode(op), await refused()), 'invalid_client');
    });
  }

  module('par-ensure-jwt-client-assertions-nbf-8-seconds-in-the-future-is-accepted', async (op) => {
    const accepted = () => authenticationOf(op, op.client, { claims: shifted(op, 68, 8) });
    expectPushed(await push(op, { authentication: await accepted() }));
    const redeemed = await redeem(op, await getCode(op), { authentication: await accepted() });
    expect(redeemed).toMatchObject({ status: 200 });
  });
}

function shifted(op: Fapi, exp: number, begin: number) {
  const now = seconds(op);
  return { exp: now + exp, iat: now + begin, nbf: now + begin };
}
