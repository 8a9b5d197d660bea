/** Plan oidcc-rp-initiated-logout-certification-test-plan. */
import { randomBytes } from 'node:crypto';
import { decodeJwt, exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formsOf, type TestBrowser, type Visit } from '../support/browser.ts';
import { authorize, type Certification, flow, SUITE, startCertification } from '../support/certification.ts';

const RETURN = `${SUITE}/post_logout_redirect`;

describe('oidcc-rp-initiated-logout-certification-test-plan', () => {
  let op: Certification;
  beforeAll(async () => {
    op = await startCertification({ post_logout_redirect_uris: [RETURN] });
  });
  afterAll(() => op.close());

  /** Signs in, goes to the end session endpoint, and confirms where a page asks. */
  async function logout(
    parameters: (idToken: string) => Record<string, string> | Promise<Record<string, string>>,
  ): Promise<{ browser: TestBrowser; first: Visit; end: Visit }> {
    const { browser, idToken } = await flow(op);
    const query = new URLSearchParams(await parameters(idToken));
    const first = await browser.visit(`${op.metadata.end_session_endpoint}?${query}`);
    const [form] = first.location === undefined ? formsOf(first) : [];
    return { browser, first, end: form ? await browser.submit(form) : first };
  }

  async function expectSignedOut(browser: TestBrowser): Promise<void> {
    const { response } = await authorize(op, { browser, parameters: { prompt: 'none' } });
    expect(response?.get('error')).toBe('login_required');
  }

  function expectNoRedirect({ first, end }: { first: Visit; end: Visit }): void {
    for (const visit of [first, end]) {
      expect(visit.location).toBeUndefined();
      expect(visit.headers.get('content-type')).toMatch(/^text\/html/);
      expect(visit.body).not.toContain('url=https://suite.example');
    }
  }

  const state = randomBytes(64).toString('hex');

  it('oidcc-rp-initiated-logout-discovery-endpoint-verification', () => {
    expect(op.metadata.end_session_endpoint).toMatch(/^https:/);
  });

  it('oidcc-rp-initiated-logout', async () => {
    const { browser, end } = await logout((id_token_hint) => ({
      id_token_hint,
      post_logout_redirect_uri: RETURN,
      state,
    }));
    expect(end.location).toBe(`${RETURN}?state=${state}`);
    await expectSignedOut(browser);
  });

  it('oidcc-rp-initiated-logout-no-state', async () => {
    const { browser, end } = await logout((id_token_hint) => ({ id_token_hint, post_logout_redirect_uri: RETURN }));
    expect(end.location).toBe(RETURN);
    await expectSignedOut(browser);
  });

  it.each([
    ['bad-post-logout-redirect-uri', `${RETURN}/${randomBytes(5).toString('hex')}`],
    ['query-added-to-post-logout-redirect-uri', `${RETURN}?foo=bar`],
  ])('oidcc-rp-initiated-logout-%s', async (_name, post_logout_redirect_uri) => {
    const visits = await logout((id_token_hint) => ({ id_token_hint, post_logout_redirect_uri, state }));
    expectNoRedirect(visits);
    expect(visits.first.body).toContain('invalid_request');
  });

  it('oidcc-rp-initiated-logout-modified-id-token-hint: the same claims with alg none', async () => {
    expectNoRedirect(
      await logout((idToken) => ({
        id_token_hint: new UnsecuredJWT(decodeJwt(idToken)).encode(),
        post_logout_redirect_uri: RETURN,
        state,
      })),
    );
  });

  it('oidcc-rp-initiated-logout-bad-id-token-hint: the same claims signed by somebody else', async () => {
    const { privateKey, publicKey } = await generateKeyPair('RS256');
    const { kid = 'suite' } = await exportJWK(publicKey);
    expectNoRedirect(
      await logout(async (idToken) => ({
        id_token_hint: await new SignJWT(decodeJwt(idToken)).setProtectedHeader({ alg: 'RS256', kid }).sign(privateKey),
        post_logout_redirect_uri: RETURN,
        state,
      })),
    );
  });

  it('oidcc-rp-initiated-logout-no-id-token-hint', async () => {
    expectNoRedirect(await logout(() => ({ post_logout_redirect_uri: RETURN, state })));
  });

  it.each([
    ['no-params', () => ({})],
    ['no-post-logout-redirect-uri', (id_token_hint: string) => ({ id_token_hint, state })],
    ['only-state', () => ({ state })],
  ] as [string, (idToken: string) => Record<string, string>][])(
    'oidcc-rp-initiated-logout-%s',
    async (_name, parameters) => {
      const { browser, first, end } = await logout(parameters);
      expectNoRedirect({ first, end });
      expect(end.body).toContain('You have been signed out');
      await expectSignedOut(browser);
    },
  );
});
