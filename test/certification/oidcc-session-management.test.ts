/**
 * Plan oidcc-session-management-certification-test-plan. What the frame answers in a real browser is shown by
 * test/browser/session-management.test.ts; here is all that can be checked without one.
 */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formsOf } from '../support/browser.ts';
import { authorize, CALLBACK, type Certification, flow, SUITE, startCertification } from '../support/certification.ts';

const RETURN = `${SUITE}/post_logout_redirect`;

describe('oidcc-session-management-certification-test-plan', () => {
  let op: Certification;
  beforeAll(async () => {
    op = await startCertification({ post_logout_redirect_uris: [RETURN] });
  });
  afterAll(() => op.close());

  it('oidcc-session-management-discovery-endpoint-verification', async () => {
    expect(op.metadata.check_session_iframe).toMatch(/^https:/);
    expect(op.metadata.end_session_endpoint).toMatch(/^https:/);
    const frame = await op.fetch(String(op.metadata.check_session_iframe));
    expect([frame.status, frame.headers.get('x-frame-options')]).toEqual([200, null]);
  });

  it('oidcc-session-management-rp-initiated-logout', async () => {
    const { browser, response, idToken } = await flow(op);
    const [hash = '', salt = ''] = (response?.get('session_state') ?? '').split('.');
    const state = () => [...browser.cookies].find(([name]) => name.includes('gatehouse_state_'))?.[1] ?? '';
    const expected = (browserState: string) => {
      const input = `${op.client.id} ${new URL(CALLBACK).origin} ${browserState} ${salt}`;
      const digest = createHash('sha256').update(input).digest();
      return [digest.toString('base64url'), digest.toString('hex')];
    };
    expect(salt).not.toBe('');
    expect(expected(state())).toContain(hash);

    const query = new URLSearchParams({ id_token_hint: idToken, post_logout_redirect_uri: RETURN });
    const first = await browser.visit(`${op.metadata.end_session_endpoint}?${query}`);
    const [form] = first.location === undefined ? formsOf(first) : [];
    if (form) await browser.submit(form);
    expect(expected(state())).not.toContain(hash);
    const { response: again } = await authorize(op, { browser, parameters: { prompt: 'none' } });
    expect(again?.get('error')).toBe('login_required');
  });
});
