/** Plan oidcc-backchannel-rp-initiated-logout-certification-test-plan. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formsOf } from '../support/browser.ts';
import { authorize, type Certification, flow, SUITE, startCertification } from '../support/certification.ts';

const RETURN = `${SUITE}/post_logout_redirect`;

describe('oidcc-backchannel-rp-initiated-logout-certification-test-plan', () => {
  const received: { type: string | undefined; body: string }[] = [];
  let receiver: Server;
  let op: Certification;
  beforeAll(async () => {
    receiver = createServer(async (request, response) => {
      received.push({ type: request.headers['content-type'], body: await text(request) });
      response.end();
    });
    await new Promise<void>((resolve) => receiver.listen(0, 'localhost', resolve));
    const { port } = receiver.address() as AddressInfo;
    op = await startCertification({
      post_logout_redirect_uris: [RETURN],
      backchannel_logout_uri: `http://localhost:${port}/backchannel_logout`,
      backchannel_logout_session_required: true,
    });
  });
  afterAll(async () => {
    await op.close();
    receiver.close();
  });

  it('oidcc-backchannel-logout-discovery-endpoint-verification', () => {
    expect(op.metadata).toMatchObject({
      backchannel_logout_supported: true,
      backchannel_logout_session_supported: true,
      end_session_endpoint: expect.stringMatching(/^https:/),
    });
  });

  it('oidcc-backchannel-rp-initiated-logout', async () => {
    const { browser, idToken, claims: signedIn } = await flow(op);
    const query = new URLSearchParams({ id_token_hint: idToken, post_logout_redirect_uri: RETURN, state: 'back' });
    const first = await browser.visit(`${op.metadata.end_session_endpoint}?${query}`);
    const [form] = first.location === undefined ? formsOf(first) : [];
    const end = form ? await browser.submit(form) : first;
    expect(end.location).toBe(`${RETURN}?state=back`);

    await expect.poll(() => received.length, { timeout: 20_000 }).toBe(1);
    const [{ type, body } = { type: '', body: '' }] = received;
    expect(type).toMatch(/^application\/x-www-form-urlencoded/);
    const fields = [...new URLSearchParams(body)];
    expect(fields.map(([name]) => name)).toEqual(['logout_token']);
    const jwks = (await (await op.fetch(String(op.metadata.jwks_uri))).json()) as JSONWebKeySet;
    const { payload, protectedHeader } = await jwtVerify(fields[0]?.[1] ?? '', createLocalJWKSet(jwks), {
      issuer: op.server.issuer,
      audience: op.client.id,
      currentDate: op.server.clock.now(),
    });
    expect(protectedHeader).toMatchObject({ alg: 'RS256', kid: expect.any(String) });
    expect(payload).toMatchObject({ iat: expect.any(Number), jti: expect.any(String) });
    expect(payload.events).toEqual({ 'http://schemas.openid.net/event/backchannel-logout': {} });
    expect([payload.sub, payload.sid]).toEqual([signedIn.sub, signedIn.sid]);
    expect(signedIn.sid).toBeTruthy();
    expect(payload).not.toHaveProperty('nonce');

    const { response } = await authorize(op, { browser, parameters: { prompt: 'none' } });
    expect(response?.get('error')).toBe('login_required');
  });
});
