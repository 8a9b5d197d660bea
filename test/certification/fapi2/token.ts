/** Modules of the FAPI 2.0 plans about codes, PKCE and refresh tokens. */
import { expect } from 'vitest';
import type { Fapi } from '../../support/fapi-certification.ts';
import { checkTokens, getCode, getTokens, push, redeem, resources, use } from '../../support/fapi-flow.ts';
import { expectRefusal, later, type Sending, send } from '../../support/fapi-requests.ts';
import { proofKey } from '../../support/proof-key.ts';
import type { Run } from './plan.ts';

/** Those that turn on how the client authenticates and what its tokens are bound to. */
export function tokenModules({ module, variant }: Run): void {
  const mtls = variant.authentication === 'mtls';

  module('ensure-holder-of-key-required', async (op) => {
    const asked = await getCode(op);
    if (variant.constraint === 'dpop') {
      expectRefusal(await redeem(op, asked, { dpop: null }), 'invalid_request', 'invalid_dpop_proof');
    } else {
      expectRefusal(await redeem(op, asked, { fetch: op.fetch }), mtls ? 'invalid_client' : 'invalid_request');
    }
    // It was not used up by that.
    await checkTokens(op, await redeem(op, asked), { nonce: asked.sent.nonce });
  });

  module('ensure-authorization-code-is-bound-to-client', async (op) => {
    const asked = await getCode(op);
    const stolen = await redeem(op, asked, { client: op.client2, fields: { redirect_uri: op.client.redirectUri } });
    expectRefusal(stolen, 'invalid_grant');
  });

  module('ensure-client-id-in-token-endpoint', async (op) => {
    const asked = await getCode(op);
    const { id } = op.client2;
    expectRefusal(await redeem(op, asked, { fields: { client_id: id } }), 'invalid_client');
  });

  module('refresh-token: bound to its client and to nothing else, and not replaced', async (op) => {
    const first = await getTokens(op);
    const refresh = (sending: Sending = {}) =>
      send(op, 'token_endpoint', { grant_type: 'refresh_token', refresh_token: first.refreshToken }, sending);
    await later(op, 1, async () => {
      for (const wait of [0, 30]) {
        await later(op, wait, async () => {
          const client = { ...op.client, proofKey: await proofKey(wait === 0 ? 'ES256' : 'EdDSA') };
          const answer = await refresh({ client });
          expect(answer.json).not.toHaveProperty('refresh_token');
          const { accessToken, claims } = await checkTokens(op, { ...answer }, { nonce: undefined });
          for (const name of ['iss', 'sub', 'aud', 'auth_time']) expect(claims?.[name]).toEqual(first.claims?.[name]);
          if (claims) expect(claims.iat).not.toBe(first.claims?.iat);
          if (wait === 0)
            for (const url of resources(op))
              expect((await use(op, url, accessToken, { client })).status, url).toBe(200);
        });
      }
      expectRefusal(await refresh({ client: op.client2 }), 'invalid_grant');
      if (variant.constraint === 'dpop')
        expectRefusal(await refresh({ dpop: null }), 'invalid_request', 'invalid_dpop_proof');
      expectRefusal(await refresh({ authentication: {}, fetch: op.fetch }), 'invalid_client');
    });
  });
}

export function codeModules({ module }: Run): void {
  module('attempt-reuse-authorization-code-after-one-second: refused, and its tokens end', async (op) => {
    const asked = await getCode(op);
    const { accessToken } = await checkTokens(op, await redeem(op, asked), { nonce: asked.sent.nonce });
    await later(op, 1, async () => expectRefusal(await redeem(op, asked), 'invalid_grant'));
    const [, userinfo] = resources(op);
    if (userinfo !== undefined) expect((await use(op, userinfo, accessToken)).status).toBe(401);
  });

  module('ensure-token-endpoint-fails-with-expired-auth-code', async (op) => {
    const asked = await getCode(op);
    await later(op, 62, async () => expectRefusal(await redeem(op, asked), 'invalid_grant'));
    await checkTokens(op, await redeem(op, asked), { nonce: asked.sent.nonce });
  });

  module('par-ensure-pkce-required', async (op) => {
    const { answer } = await push(op, { parameters: { code_challenge: undefined, code_challenge_method: undefined } });
    expectRefusal(answer, 'invalid_request');
  });

  module('par-plain-pkce-rejected', async (op) => {
    const { answer } = await push(op, { parameters: { code_challenge_method: 'plain' } });
    expectRefusal(answer, 'invalid_request');
  });

  const wrong: readonly (readonly [string, string | undefined])[] = [
    ['ensure-pkce-code-verifier-required', undefined],
    ['incorrect-pkce-code-verifier-rejected', 'x'.repeat(43)],
  ];
  for (const [name, verifier] of wrong) {
    module(name, async (op: Fapi) => {
      expectRefusal(await redeem(op, await getCode(op), { verifier }), 'invalid_grant');
    });
  }
}
