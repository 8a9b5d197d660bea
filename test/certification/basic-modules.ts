/**
 * The modules of the plans "Basic Certification Profile" and "Form Post (basic)": the same requests, the response by query or
 * by a form that posts itself. One test per module, under the module's name.
 */
import { randomBytes } from 'node:crypto';
import { UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLAIMS_BY_SCOPE } from '../../src/protocol/claims.ts';
import { pkce } from '../support/browser.ts';
import {
  type Asking,
  answerPages,
  authorize,
  CALLBACK,
  type Certification,
  checkTokens,
  codeOf,
  expectErrorPage,
  flow,
  redeem,
  send,
  startCertification,
  userinfo,
} from '../support/certification.ts';

export function basicModules(plan: string, responseMode: 'form_post' | undefined): void {
  describe(plan, () => {
    let op: Certification;
    beforeAll(async () => {
      op = await startCertification();
    });
    afterAll(() => op.close());

    const ask = (asking: Asking = {}) => authorize(op, { responseMode, ...asking });
    const run = (asking: Asking = {}) => flow(op, { responseMode, ...asking });

    it('oidcc-server', async () => {
      const { claims, accessToken, shown } = await run();
      expect(shown).toEqual(['/login', '/consent']);
      expect((await userinfo(op, accessToken)).json.sub).toBe(claims.sub);
    });

    it('oidcc-response-type-missing', async () => {
      const { response } = await ask({ parameters: { response_type: undefined } });
      expect(['invalid_request', 'unsupported_response_type']).toContain(response?.get('error'));
    });

    it('oidcc-idtoken-signature: RS256 with a kid where the client registered nothing', async () => {
      await run();
    });

    it('oidcc-idtoken-unsigned: not offered, so the module is skipped', async () => {
      expect(op.metadata.id_token_signing_alg_values_supported).not.toContain('none');
    });

    it.each(['get', 'post-header', 'post-body'] as const)('oidcc-userinfo-%s', async (how) => {
      const { accessToken, claims } = await run();
      const { status, json } = await userinfo(op, accessToken, how);
      expect([status, json.sub]).toEqual([200, claims.sub]);
    });

    it('oidcc-ensure-request-without-nonce-succeeds-for-code-flow', async () => {
      expect((await run({ parameters: { nonce: undefined } })).claims).not.toHaveProperty('nonce');
    });

    it.each(['profile', 'email', 'address', 'phone', 'all'])('oidcc-scope-%s', async (name) => {
      const scopes = name === 'all' ? Object.keys(CLAIMS_BY_SCOPE) : [name];
      const { accessToken } = await run({ parameters: { scope: `openid ${scopes.join(' ')}` } });
      const { json } = await userinfo(op, accessToken);
      const expected = scopes.flatMap((scope) => CLAIMS_BY_SCOPE[scope] ?? []);
      expect(Object.keys(json).sort()).toEqual(['sub', ...expected].sort());
      for (const value of Object.values(json)) expect([null, '', 'null']).not.toContain(value);
      const types = {
        email_verified: 'boolean',
        phone_number_verified: 'boolean',
        updated_at: 'number',
        address: 'object',
      };
      for (const [claim, type] of Object.entries(types)) if (claim in json) expect(typeof json[claim]).toBe(type);
      if ('birthdate' in json) expect(json.birthdate).toMatch(/^(\d{4}(-\d\d-\d\d)?|0000-\d\d-\d\d)$/);
    });

    it('oidcc-alternate-happy-flow: scopes and parameters in another order', async () => {
      const asked = await ask({
        parameters: { client_id: undefined, scope: 'phone email profile openid', response_type: undefined },
      });
      expectErrorPage(asked.end);
      const sent = {
        nonce: 'n',
        state: 's',
        scope: 'phone email profile openid',
        ...(responseMode && { response_mode: responseMode }),
        redirect_uri: CALLBACK,
        client_id: op.client.id,
        response_type: 'code',
      };
      const browser = op.browser();
      const first = await browser.visit(`${op.metadata.authorization_endpoint}?${new URLSearchParams(sent)}`);
      const code = codeOf({ browser, sent, ...(await answerPages(browser, first)) }, op);
      await checkTokens(op, await redeem(op, code), { nonce: 'n' });
    });

    it.each(['page', 'popup'])('oidcc-display-%s', async (display) => {
      await run({ parameters: { display } });
    });

    it('oidcc-prompt-login', async () => {
      const first = await run();
      op.server.clock.advance(2);
      const second = await run({ browser: first.browser, parameters: { prompt: 'login' } });
      expect(second.shown).toContain('/login');
      expect(second.claims.auth_time).toBeGreaterThan(Number(first.claims.auth_time));
      expect(second.claims.sub).toBe(first.claims.sub);
    });

    it('oidcc-prompt-none-not-logged-in', async () => {
      const state = randomBytes(64).toString('hex');
      const { response, shown } = await ask({ parameters: { prompt: 'none', state } });
      expect(shown).toEqual([]);
      expect(response?.get('error')).toBe('login_required');
      expect(response?.get('state')).toBe(state);
    });

    it('oidcc-prompt-none-logged-in', async () => {
      const first = await run();
      const second = await run({ browser: first.browser, parameters: { prompt: 'none' } });
      expect(second.shown).toEqual([]);
      expect([second.claims.sub, second.claims.auth_time]).toEqual([first.claims.sub, first.claims.auth_time]);
    });

    it('oidcc-max-age-1', async () => {
      const first = await run();
      op.server.clock.advance(2);
      const second = await run({ browser: first.browser, parameters: { max_age: '1' } });
      expect(second.shown).toContain('/login');
      expect(second.claims.auth_time).toBeGreaterThan(Number(first.claims.auth_time));
    });

    it('oidcc-max-age-10000', async () => {
      const first = await run({ parameters: { max_age: '15000' } });
      op.server.clock.advance(2);
      const second = await run({ browser: first.browser, parameters: { max_age: '10000' } });
      expect(second.shown).toEqual([]);
      expect(second.claims.auth_time).toBe(first.claims.auth_time);
      expect(second.claims.sub).toBe(first.claims.sub);
    });

    it('oidcc-ensure-request-with-unknown-parameter-succeeds', async () => {
      await run({ parameters: { extra: 'foobar' } });
    });

    it('oidcc-id-token-hint', async () => {
      const first = await run();
      const second = await run({
        browser: first.browser,
        parameters: { prompt: 'none', id_token_hint: first.idToken },
      });
      expect([second.shown, second.claims.sub]).toEqual([[], first.claims.sub]);
    });

    it('oidcc-login-hint', async () => {
      await run({ parameters: { login_hint: 'buffy@suite.example' } });
    });

    it.each([
      ['ui-locales', { ui_locales: 'se' }],
      ['claims-locales', { claims_locales: 'se' }],
    ])('oidcc-%s', async (_name, parameters) => {
      await run({ parameters });
    });

    it('oidcc-ensure-request-with-acr-values-succeeds', async () => {
      const offered = op.metadata.acr_values_supported as string[];
      const { claims } = await run({ parameters: { acr_values: offered.join(' ') } });
      expect(offered).toContain(claims.acr);
      expect((await run({ parameters: { acr_values: '1 2' } })).claims.acr).toBeTruthy();
    });

    it('oidcc-codereuse', async () => {
      const code = codeOf(await ask(), op);
      expect((await redeem(op, code)).status).toBe(200);
      const again = await redeem(op, code);
      expect([again.status, again.json.error]).toEqual([400, 'invalid_grant']);
    });

    it('oidcc-codereuse-30seconds: refused, and the first access token is dead', async () => {
      const asked = await ask();
      const code = codeOf(asked, op);
      const { accessToken } = await checkTokens(op, await redeem(op, code), { nonce: asked.sent.nonce });
      op.server.clock.advance(30);
      const again = await redeem(op, code);
      expect([again.status, again.json.error]).toEqual([400, 'invalid_grant']);
      expect((await userinfo(op, accessToken)).status).toBe(401);
    });

    it('oidcc-ensure-registered-redirect-uri', async () => {
      expectErrorPage(
        (await ask({ parameters: { redirect_uri: `${CALLBACK}/${randomBytes(5).toString('hex')}` } })).end,
      );
    });

    it('oidcc-ensure-post-request-succeeds: the request posted from another site', async () => {
      const sent = {
        client_id: op.client.id,
        redirect_uri: CALLBACK,
        response_type: 'code',
        scope: 'openid',
        state: 'posted',
        ...(responseMode && { response_mode: responseMode }),
      };
      const browser = op.browser();
      const from = { origin: new URL(CALLBACK).origin, 'sec-fetch-site': 'cross-site' };
      const posted = await browser.send('POST', String(op.metadata.authorization_endpoint), sent, {
        'content-type': 'application/x-www-form-urlencoded',
        ...from,
      });
      const first = await browser.visit(new URL(posted.location ?? '', op.server.issuer).href);
      const code = codeOf({ browser, sent, ...(await answerPages(browser, first)) }, op);
      await checkTokens(op, await redeem(op, code));
    });

    it('oidcc-server-client-secret-post', async () => {
      const { id, secret } = op.clientSecretPost;
      const asked = await ask({ client: op.clientSecretPost });
      const code = codeOf(asked, op);
      const fields = {
        grant_type: 'authorization_code',
        code,
        redirect_uri: CALLBACK,
        client_id: id,
        client_secret: secret,
      };
      const response = await op.fetch(String(op.metadata.token_endpoint), {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams(fields).toString(),
      });
      const json = (await response.json()) as Record<string, unknown>;
      const answer = { status: response.status, headers: response.headers, json };
      await checkTokens(op, answer, { client: op.clientSecretPost, nonce: asked.sent.nonce });
    });

    it('oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported', async () => {
      const { response } = await ask({ parameters: { request_uri: `${new URL(CALLBACK).origin}/request.jwt` } });
      expect(response?.get('error')).toBe('request_uri_not_supported');
    });

    it('oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported', async () => {
      const request = new UnsecuredJWT({ client_id: op.client.id, scope: 'openid', state: 'inside' }).encode();
      const { response, sent } = await ask({ parameters: { request } });
      expect([response?.get('error'), response?.get('state')]).toEqual(['request_not_supported', sent.state]);
    });

    it('oidcc-claims-essential', async () => {
      const { accessToken, claims } = await run({
        parameters: { claims: JSON.stringify({ userinfo: { name: { essential: true } } }) },
      });
      expect((await userinfo(op, accessToken)).json.name).toBe('Alice Liddell');
      expect(claims).not.toHaveProperty('name');
    });

    it('oidcc-ensure-request-object-with-redirect-uri: unsigned ones are not offered, so the module is skipped', async () => {
      expect(op.metadata.request_object_signing_alg_values_supported).not.toContain('none');
      const request = new UnsecuredJWT({ client_id: op.client.id, redirect_uri: CALLBACK }).encode();
      const { end, response } = await ask({ parameters: { request, redirect_uri: `${CALLBACK}/other` } });
      expect(response).toBeUndefined();
      expectErrorPage(end, 'request_not_supported');
    });

    it('oidcc-refresh-token: bound to its client; the new ID token by OpenID Connect Core §12.2', async () => {
      const parameters = { scope: 'openid offline_access', prompt: 'consent' };
      const first = await run({ parameters });
      const second = await run({ parameters, client: op.client2 });
      expect(op.metadata.grant_types_supported).toContain('refresh_token');
      op.server.clock.advance(1);
      const endpoint = String(op.metadata.token_endpoint);
      const fields = { grant_type: 'refresh_token', refresh_token: first.refreshToken ?? '' };
      const { claims } = await checkTokens(op, await send(op, endpoint, fields));
      const same = ['iss', 'sub', 'aud', 'auth_time'];
      expect(same.map((name) => claims[name])).toEqual(same.map((name) => first.claims[name]));
      expect(claims.iat).not.toBe(first.claims.iat);
      const stolen = await send(op, endpoint, { ...fields, refresh_token: second.refreshToken ?? '' });
      expect([stolen.status, stolen.json.error]).toEqual([400, 'invalid_grant']);
    });

    it('oidcc-ensure-request-with-valid-pkce-succeeds', async () => {
      const { verifier, challenge } = pkce();
      const asked = await ask({ parameters: { code_challenge: challenge, code_challenge_method: 'S256' } });
      const code = codeOf(asked, op);
      expect((await redeem(op, code)).json.error).toBe('invalid_grant');
      await checkTokens(op, await redeem(op, code, { code_verifier: verifier }), { nonce: asked.sent.nonce });
    });
  });
}
