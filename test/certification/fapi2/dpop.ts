/** Modules of the FAPI 2.0 plans about DPoP (RFC 9449): at the endpoints for clients, and at both resources. */
import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { Fapi, FapiClient } from '../../support/fapi-certification.ts';
import {
  type Asked,
  checkTokens,
  expectPushed,
  getCode,
  getTokens,
  push,
  redeem,
  resources,
  use,
} from '../../support/fapi-flow.ts';
import { expectRefusal, proof, seconds, spoilt } from '../../support/fapi-requests.ts';
import { athOf, type ProofOptions, proofKey, rawJws } from '../../support/proof-key.ts';
import type { Modules, Run } from './plan.ts';

/** The whole flow with a proof at every endpoint, each with these claims. */
async function flowWith(op: Fapi, claims: Record<string, unknown>): Promise<void> {
  const asked = await getCode(op, { dpop: { claims } });
  const answer = await redeem(op, asked, { dpop: { claims } });
  const { accessToken } = await checkTokens(op, answer, { nonce: asked.sent.nonce });
  for (const url of resources(op))
    expect((await use(op, url, accessToken, { proofOptions: { claims } })).status, url).toBe(200);
}

export function dpopModules(run: Run): void {
  const { module } = run;

  module('check-dpop-proof-nbf-exp', (op) => flowWith(op, { nbf: seconds(op) - 5, exp: seconds(op) + 60 }));

  module('ensure-dpopproof-with-iat-10seconds-before-succeeds', (op) => flowWith(op, { iat: seconds(op) - 10 }));

  module('ensure-dpopproof-with-iat-10seconds-after-succeeds', (op) => flowWith(op, { iat: seconds(op) + 8 }));

  module('ensure-mismatched-dpop-jkt-fails', async (op) => {
    const parameters = { dpop_jkt: (await proofKey()).jkt };
    const { answer } = await push(op, { parameters, dpop: {} });
    expectRefusal(answer, 'invalid_dpop_proof');
  });

  const expectOnlyFor = async (op: Fapi, asked: Asked) => {
    const client = { ...op.client, proofKey: await proofKey() };
    expectRefusal(await redeem(op, asked, { client }), 'invalid_grant');
    await checkTokens(op, await redeem(op, asked), { nonce: asked.sent.nonce });
  };

  module('ensure-token-endpoint-fails-with-mismatched-dpop-proof-jkt', async (op) => {
    await expectOnlyFor(op, await getCode(op, { dpop: {} }));
  });

  module('ensure-token-endpoint-fails-with-mismatched-dpop-jkt', async (op) => {
    await expectOnlyFor(op, await getCode(op, { parameters: { dpop_jkt: op.client.proofKey.jkt } }));
  });

  module('ensure-dpopproof-at-par-endpoint-binding-success', async (op) => {
    const pushed = await push(op, { dpop: {} });
    expectPushed(pushed);
    const asked = await getCode(op, { dpop: {} });
    await checkTokens(op, await redeem(op, asked), { nonce: asked.sent.nonce });
  });

  module('ensure-dpop-auth-code-binding-success', async (op) => {
    const asked = await getCode(op, {
      parameters: { dpop_jkt: op.client.proofKey.jkt },
      dpop: {},
    });
    await checkTokens(op, await redeem(op, asked), { nonce: asked.sent.nonce });
  });

  dpopNegativeModule(async (op, client) => (await getTokens(op, { client })).accessToken)(run);
}

/** @param tokenFor gets a token for this client and its key */
export function dpopNegativeModule(tokenFor: (op: Fapi, client: FapiClient) => Promise<string>): Modules {
  return ({ module }) =>
    module('dpop-negative-tests', async (op) => {
      const accessToken = await tokenFor(op, op.client);
      for (const url of resources(op)) {
        // Without anything wrong it is good; and what follows has the nonce that it may need.
        expect((await use(op, url, accessToken)).status, url).toBe(200);
        for (const [what, make] of REFUSED) {
          const proofs = await make(op, url, accessToken);
          const { status, headers } = await use(op, url, accessToken, { proofs });
          expect([400, 401], `${what} at ${url}`).toContain(status);
          expect(headers.get('www-authenticate'), what).toMatch(/DPoP/);
          expect(headers.get('www-authenticate'), what).not.toContain('use_dpop_nonce');
        }
        expect((await use(op, url, accessToken, { proofs: [], scheme: 'Bearer' })).status).toBe(401);
        expect((await use(op, url, accessToken, { scheme: 'Bearer' })).status).toBe(401);
        expect((await use(op, url, accessToken, { key: await proofKey() })).status).toBe(401);
        for (const [what, options] of ACCEPTED(url)) {
          const { status } = await use(op, url, accessToken, { proofOptions: options });
          expect(status, `${what} at ${url}`).toBe(200);
        }
        const headers = { DPOP: await proof(op, op.client.proofKey, 'GET', url, { accessToken }) };
        expect((await use(op, url, accessToken, { proofs: [], headers })).status).toBe(200);
        for (const key of [await proofKey('ES256'), await proofKey('EdDSA')]) {
          const client = { ...op.client, proofKey: key };
          const token = await tokenFor(op, client);
          expect((await use(op, url, token, { client })).status, key.alg).toBe(200);
        }
      }
    });
}

type MakeProofs = (op: Fapi, url: string, accessToken: string) => Promise<string[]>;

/** One good proof, but for the header or the claims. */
function but(options: (op: Fapi) => ProofOptions): MakeProofs {
  return async (op, url, accessToken) => [
    await proof(op, op.client.proofKey, 'GET', url, { accessToken, ...options(op) }),
  ];
}

const header = (changes: Record<string, unknown>) => but(() => ({ header: changes }));
const claim = (changes: Record<string, unknown>) => but(() => ({ claims: changes }));

const REFUSED: readonly (readonly [what: string, make: MakeProofs])[] = [
  ['none', async () => []],
  [
    'two of them',
    async (op, url, accessToken) =>
      Promise.all([1, 2].map(() => proof(op, op.client.proofKey, 'GET', url, { accessToken }))),
  ],
  ['no JWT', async () => ['this.is-not.a-jwt']],
  ['no typ', header({ typ: undefined })],
  ['another typ', header({ typ: 'JWT' })],
  ['no jwk', header({ jwk: undefined })],
  ['no alg', async (op, url, accessToken) => [unsigned(op, url, accessToken, { alg: undefined })]],
  ['alg none', async (op, url, accessToken) => [unsigned(op, url, accessToken, { alg: 'none' })]],
  ['a private key', but(({ client }) => ({ header: { jwk: client.proofKey.privateJwk } }))],
  ['RS256', async (op, url, accessToken) => [await proof(op, await proofKey('RS256'), 'GET', url, { accessToken })]],
  [
    'a bad signature',
    async (op, url, accessToken) => [spoilt(await proof(op, op.client.proofKey, 'GET', url, { accessToken }))],
  ],
  ['no jti', claim({ jti: undefined })],
  ['no htm', claim({ htm: undefined })],
  ['another htm', claim({ htm: 'POST' })],
  ['no htu', claim({ htu: undefined })],
  ['another htu', claim({ htu: 'https://other.example/things' })],
  ['no iat', claim({ iat: undefined })],
  ['iat an hour ago', but((op) => ({ claims: { iat: seconds(op) - 3600 } }))],
  ['iat in an hour', but((op) => ({ claims: { iat: seconds(op) + 3600 } }))],
  ['no ath', claim({ ath: undefined })],
  ['another ath', claim({ ath: athOf('another token') })],
  [
    'one that was used',
    async (op, url, accessToken) => {
      const proofs = [await proof(op, op.client.proofKey, 'GET', url, { accessToken })];
      expect((await use(op, url, accessToken, { proofs })).status).toBe(200);
      return proofs;
    },
  ],
];

function unsigned(op: Fapi, url: string, accessToken: string, changes: Record<string, unknown>): string {
  const { alg, jwk } = op.client.proofKey;
  const claims = { jti: randomUUID(), htm: 'GET', htu: url, iat: seconds(op), ath: athOf(accessToken) };
  return rawJws({ typ: 'dpop+jwt', alg, jwk, ...changes }, claims);
}

const ACCEPTED = (url: string): readonly (readonly [what: string, options: ProofOptions])[] => [
  ['htu with query and fragment', { claims: { htu: `${url}?a=b#c` } }],
  ['htu in capitals', { claims: { htu: url.replace('https://localhost', 'HTTPS://LOCALHOST') } }],
  ['more claims', { claims: { extra: { a: 1 } } }],
];
