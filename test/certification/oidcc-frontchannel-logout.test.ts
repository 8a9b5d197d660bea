/** Plan oidcc-frontchannel-rp-initiated-logout-certification-test-plan. In Chromium: test/browser/front-channel-logout.test.ts. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formsOf } from '../support/browser.ts';
import { authorize, type Certification, flow, SUITE, startCertification } from '../support/certification.ts';

const RETURN = `${SUITE}/post_logout_redirect`;
const RECEIVER = `${SUITE}/frontchannel_logout`;

describe('oidcc-frontchannel-rp-initiated-logout-certification-test-plan', () => {
  let op: Certification;
  beforeAll(async () => {
    op = await startCertification({
      post_logout_redirect_uris: [RETURN],
      frontchannel_logout_uri: RECEIVER,
      frontchannel_logout_session_required: true,
    });
  });
  afterAll(() => op.close());

  it('oidcc-frontchannel-logout-discovery-endpoint-verification', () => {
    expect(op.metadata).toMatchObject({
      frontchannel_logout_supported: true,
      frontchannel_logout_session_supported: true,
      end_session_endpoint: expect.stringMatching(/^https:/),
    });
  });

  it('oidcc-frontchannel-rp-initiated-logout', async () => {
    const { browser, idToken, claims } = await flow(op);
    const query = new URLSearchParams({ id_token_hint: idToken, post_logout_redirect_uri: RETURN, state: 'front' });
    const first = await browser.visit(`${op.metadata.end_session_endpoint}?${query}`);
    const [form] = formsOf(first).filter(({ fields }) => 'csrf' in fields);
    const page = form ? await browser.submit(form) : first;
    const frames = [...page.body.matchAll(/<iframe[^>]*src="([^"]*)"/g)].map(
      ([, src = '']) => new URL(src.replaceAll('&amp;', '&')),
    );
    expect(frames.map(({ origin, pathname }) => origin + pathname)).toEqual([RECEIVER]);
    expect(Object.fromEntries(frames[0]?.searchParams ?? [])).toEqual({ iss: op.server.issuer, sid: claims.sid });
    expect(page.headers.get('content-security-policy')).toContain(`frame-src ${new URL(SUITE).origin}`);
    // On by itself, with scripts or without.
    expect(page.body.replaceAll('&amp;', '&')).toMatch(
      new RegExp(`http-equiv="refresh" content="\\d+;\\s*url=${RETURN}\\?state=front"`),
    );
    const { response } = await authorize(op, { browser, parameters: { prompt: 'none' } });
    expect(response?.get('error')).toBe('login_required');
  });
});
