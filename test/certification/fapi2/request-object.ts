/** Modules of the plan for FAPI 2.0 Message Signing about request objects (RFC 9101), pushed. */
import { expect } from 'vitest';
import { rawJws } from '../../support/client-key.ts';
import type { Fapi } from '../../support/fapi-certification.ts';
import { expectPushed, formOf, getTokens, type Pushing, push } from '../../support/fapi-flow.ts';
import { asRs256, expectRefusal, seconds, send, spoilt } from '../../support/fapi-requests.ts';
import type { Run } from './plan.ts';

export function requestObjectModules({ module }: Run): void {
  module('ensure-request-object-with-multiple-aud-succeeds', async (op) => {
    await getTokens(op, { claims: { aud: [op.server.issuer, 'https://other.example'] } });
  });

  module('ensure-request-object-with-nbf-8-seconds-in-the-future-is-accepted', async (op) => {
    await getTokens(op, { claims: { nbf: seconds(op) + 8 } });
  });

  const wrong: readonly (readonly [name: string, pushing: (op: Fapi) => Pushing | Promise<Pushing>])[] = [
    ['ensure-request-object-without-exp-fails', () => ({ claims: { exp: undefined } })],
    ['ensure-request-object-without-nbf-fails', () => ({ claims: { nbf: undefined } })],
    ['ensure-expired-request-object-fails', (op) => ({ claims: { nbf: seconds(op) - 600, exp: seconds(op) - 300 } })],
    ['ensure-request-object-with-bad-aud-fails', () => ({ claims: { aud: 'https://other.example' } })],
    ['ensure-request-object-with-exp-over-60-fails', (op) => ({ claims: { exp: seconds(op) + 70 * 60 } })],
    [
      'ensure-request-object-with-nbf-over-60-fails',
      (op) => ({ claims: { nbf: seconds(op) - 70 * 60, exp: seconds(op) + 60 } }),
    ],
    ['ensure-signed-request-object-with-RS256-fails', async ({ client }) => ({ signer: await asRs256(client.key) })],
    [
      'ensure-request-object-signature-algorithm-is-not-none',
      () => ({ signer: { sign: async (claims) => rawJws({ alg: 'none' }, claims) } }),
    ],
    [
      'ensure-request-object-with-invalid-signature-fails',
      ({ client }) => ({ signer: { sign: async (...all) => spoilt(await client.key.sign(...all)) } }),
    ],
    ['ensure-matching-key-in-authorization-request', ({ client2 }) => ({ signer: client2.key })],
    [
      'par-authorization-request-containing-request_uri',
      () => ({ claims: { request_uri: 'urn:ietf:params:oauth:request_uri:inside' } }),
    ],
  ];
  for (const [name, pushing] of wrong) {
    module(name, async (op) => {
      expectRefusal((await push(op, await pushing(op))).answer, 'invalid_request_object');
    });
  }

  module('ensure-unsigned-request-at-par-endpoint-fails', async (op) => {
    const pushed = await push(op);
    expectPushed(pushed);
    const plain = formOf(pushed.sent);
    expectRefusal(await send(op, 'pushed_authorization_request_endpoint', plain), 'invalid_request');
    expect(pushed.sent).toHaveProperty('code_challenge');
  });
}
