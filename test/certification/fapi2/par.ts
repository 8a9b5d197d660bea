/** Modules of the FAPI 2.0 plans about pushed authorization requests (RFC 9126). */
import { expect } from 'vitest';
import { expectErrorPage, expectPushed, getCode, push, responseOf, visit } from '../../support/fapi-flow.ts';
import { endpoint, expectRefusal, later } from '../../support/fapi-requests.ts';
import type { Run } from './plan.ts';

export function parModules({ module }: Run): void {
  module('par-ensure-reused-request-uri-prior-to-auth-completion-succeeds', async (op) => {
    const pushed = await push(op);
    const browser = op.browser();
    const query = new URLSearchParams({ client_id: op.client.id, request_uri: pushed.uri });
    const first = await browser.visit(`${op.metadata.authorization_endpoint}?${query}`);
    expect(new URL(first.url).pathname).toBe('/login');
    expect(await responseOf(op, await visit(op, pushed.uri, { browser }))).toHaveProperty('code');
  });

  module('par-attempt-reuse-request_uri', async (op) => {
    const browser = op.browser();
    const { uri } = await getCode(op, { visiting: { browser } });
    expectErrorPage(await visit(op, uri, { browser }), 'invalid_request_uri');
    expectErrorPage(await visit(op, uri), 'invalid_request_uri');
  });

  module('par-attempt-to-use-expired-request_uri', async (op) => {
    const pushed = await push(op);
    expectPushed(pushed);
    await later(op, Number(pushed.answer.json.expires_in), async () =>
      expectErrorPage(await visit(op, pushed.uri), 'invalid_request_uri'),
    );
  });

  module('par-attempt-to-use-request_uri-for-different-client', async (op) => {
    const pushed = await push(op);
    expectErrorPage(await visit(op, pushed.uri, { client: op.client2 }), 'invalid_request_uri');
    expect(await responseOf(op, await visit(op, pushed.uri))).toHaveProperty('code');
  });

  module('par-authorization-request-containing-request_uri-form-param', async (op) => {
    const { uri } = await push(op);
    const { answer } = await push(op, { parameters: { request_uri: uri }, beside: { request_uri: uri } });
    expectRefusal(answer, 'invalid_request');
  });

  module('par-attempt-invalid-http-method', async (op) => {
    const address = endpoint(op, 'pushed_authorization_request_endpoint');
    expect((await op.client.fetch(address, { method: 'PUT' })).status).toBe(405);
  });
}
