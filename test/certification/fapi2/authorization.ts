/** Modules of the FAPI 2.0 plans about the flow and the authorization endpoint. */
import { expect } from 'vitest';
import { CLAIMS_BY_SCOPE } from '../../../src/protocol/claims.ts';
import type { Fapi } from '../../support/fapi-certification.ts';
import {
  expectPushed,
  getCode,
  getTokens,
  type Pushing,
  push,
  resources,
  responseOf,
  use,
  visit,
} from '../../support/fapi-flow.ts';
import { expectRefusal, randomText } from '../../support/fapi-requests.ts';
import type { Run } from './plan.ts';

/** Those that every variant runs. */
export function flowModules({ module, variant }: Run): void {
  module('happy-flow', async (op) => {
    for (const client of [op.client, op.client2]) {
      // The second one names its key in the request only.
      const bound = variant.constraint === 'dpop' && client === op.client2;
      const parameters = bound ? { dpop_jkt: client.proofKey.jkt } : {};
      const { accessToken, claims = {} } = await getTokens(op, { client, parameters });
      const personal = ['name', 'email', 'given_name', 'address', 'phone_number', 'azp'];
      expect(Object.keys(claims).filter((name) => personal.includes(name))).toEqual([]);
      for (const url of resources(op)) await expectProtected(op, url, accessToken, client);
    }
  });

  module('user-rejects-authentication', async (op) => {
    for (const client of [op.client, op.client2]) {
      for (const deny of ['login', 'consent'] as const) {
        const pushed = await push(op, { client, parameters: { prompt: 'consent' } });
        const response = await responseOf(op, await visit(op, pushed.uri, { client, deny }), client);
        expect(response).toMatchObject({ error: 'access_denied', state: pushed.sent.state });
      }
    }
  });

  module('access-token-type-header-case-sensitivity', async (op) => {
    const { accessToken } = await getTokens(op);
    const scheme = variant.constraint === 'dpop' ? 'dpOp' : 'bEARER';
    for (const url of resources(op)) expect((await use(op, url, accessToken, { scheme })).status, url).toBe(200);
  });

  module('ensure-authorization-request-without-state-success', async (op) => {
    expect((await getTokens(op, { parameters: { state: undefined } })).response).not.toHaveProperty('state');
  });
}

/** A token is good with its own client's key or certificate, whatever is accepted, and never in the URL. */
async function expectProtected(op: Fapi, url: string, accessToken: string, client: Fapi['client']): Promise<void> {
  const interaction = '9f2c6a04-6a06-4a53-b5bb-5d39ba0fcf0c';
  for (const accept of [undefined, 'application/json', 'application/json; charset=UTF-8, */*;q=0.1', '*/*']) {
    const headers = { 'x-fapi-interaction-id': interaction, ...(accept !== undefined && { accept }) };
    const { status, headers: answered, text } = await use(op, url, accessToken, { client, headers });
    expect([status, url]).toEqual([200, url]);
    expect(JSON.parse(text)).toMatchObject({ sub: expect.any(String) });
    expect(answered.get('content-type')).toMatch(/^application\/json/);
    expect(Math.abs(Date.parse(answered.get('date') ?? '') - Date.now())).toBeLessThan(300_000);
    expect([interaction, null]).toContain(answered.get('x-fapi-interaction-id'));
  }
  const inQuery = await client.fetch(`${url}?access_token=${accessToken}`);
  expect([400, 401, 414]).toContain(inQuery.status);
  const other = client === op.client ? op.client2 : op.client;
  expect((await use(op, url, accessToken, { client: other })).status).toBe(401);
}

/** Those of one variant. */
export function authorizationModules({ module, variant }: Run): void {
  const { openid } = variant;
  if (openid) {
    module('ensure-authorization-request-without-nonce-success', async (op) => {
      await getTokens(op, { parameters: { nonce: undefined } });
    });

    module('ensure-authorization-request-with-64-char-nonce-success', async (op) => {
      await getTokens(op, { parameters: { nonce: randomText(64) } });
    });

    module('ensure-other-scope-order-succeeds', async (op) => {
      await getTokens(op, { parameters: { scope: 'things.read openid' } });
    });

    module('test-claims-parameter-identity-claims', async (op) => {
      expect(op.metadata.claims_parameter_supported).toBe(true);
      const names = Object.values(CLAIMS_BY_SCOPE).flat();
      const forms = [null, { essential: true }, { essential: false }, { values: ['Bob', 'Alice Liddell'] }];
      for (const form of forms) {
        const all = Object.fromEntries(names.map((name) => [name, name === 'name' ? form : null]));
        const asked = {
          userinfo: { ...all, 'https://suite.example/unknown': null },
          id_token: { ...all, auth_time: { essential: true }, 'https://suite.example/unknown': { essential: true } },
        };
        const parameters = { claims: variant.signed ? asked : JSON.stringify(asked) };
        const { accessToken, claims = {} } = await getTokens(op, { parameters });
        const [, userinfo = ''] = resources(op);
        const answered = JSON.parse((await use(op, userinfo, accessToken)).text) as Record<string, unknown>;
        expect(Object.keys(answered).sort()).toEqual(['sub', ...names].sort());
        expect(answered.name).toBe('Alice Liddell');
        expect(Object.keys(claims)).toEqual(expect.arrayContaining([...names, 'auth_time']));
        for (const value of [...Object.values(answered), ...Object.values(claims)])
          expect([null, '', 'null']).not.toContain(value);
      }
    });

    module('ensure-authorization-request-with-long-nonce', async (op) => {
      await getTokens(op, { parameters: { nonce: randomText(384) } });
    });

    module('ensure-different-nonce-inside-and-outside-request-object: the pushed one counts', async (op) => {
      await getTokens(op, { visiting: { beside: { nonce: 'another' } } });
    });
  }

  module('ensure-authorization-request-with-long-state', async (op) => {
    await getTokens(op, { parameters: { state: randomText(1000) } });
  });

  module('ensure-different-state-inside-and-outside-request-object: the pushed one counts', async (op) => {
    await getTokens(op, { visiting: { beside: { state: 'another' } } });
  });

  module('state-only-outside-request-object-not-used', async (op) => {
    const { response } = await getTokens(op, {
      parameters: { state: undefined },
      visiting: { beside: { state: 'outside' } },
    });
    expect(response).not.toHaveProperty('state');
  });

  module('ensure-request-object-without-redirect-uri-fails', (op) =>
    expectRefusedPush(op, { redirect_uri: undefined }),
  );

  module('ensure-redirect-uri-in-authorization-request', (op) => expectRefusedPush(op, { redirect_uri: undefined }));

  module('plain-fapi-tolerate-unregistered-redirect-uri: refused', (op) =>
    expectRefusedPush(op, { redirect_uri: `${op.client.redirectUri}/${randomText(8)}` }),
  );

  module('ensure-unsigned-authorization-request-without-using-par-fails', async (op) => {
    const query = {
      client_id: op.client.id,
      redirect_uri: op.client.redirectUri,
      response_type: 'code',
      scope: openid ? 'openid things.read' : 'things.read',
      state: 'plain',
      ...(variant.jarm && { response_mode: 'jwt' }),
      code_challenge: randomText(43),
      code_challenge_method: 'S256',
    };
    const page = await op.browser().visit(`${op.metadata.authorization_endpoint}?${new URLSearchParams(query)}`);
    expect(await responseOf(op, page)).toMatchObject({ error: 'invalid_request', state: 'plain' });
  });

  for (const type of ['code id_token', 'token']) {
    module(`ensure-response-type-${type.replace(' id_', '-id')}-fails`, async (op) => {
      const { answer } = await push(op, { parameters: { response_type: type } });
      expectRefusal(answer, 'unsupported_response_type');
    });
  }

  module('par-without-duplicate-parameters', async (op) => {
    const pushed = await push(op);
    expectPushed(pushed);
    expect(await responseOf(op, await visit(op, pushed.uri))).toHaveProperty('code');
    // And with all of them once more, as some clients send them.
    const beside = { response_type: 'code', scope: 'things.read', redirect_uri: op.client.redirectUri, state: 'false' };
    await getCode(op, { visiting: { beside } });
  });
}

async function expectRefusedPush(op: Fapi, parameters: Pushing['parameters']): Promise<void> {
  const { answer } = await push(op, { ...(parameters && { parameters }) });
  expectRefusal(answer, 'invalid_request', 'invalid_request_object');
}
