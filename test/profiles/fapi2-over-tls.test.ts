/**
 * Both profiles from end to end, with a client of others (oauth4webapi), over our own TLS and with a client certificate: all
 * tokens are bound to it, and it authenticates the client too, or the client's key does.
 */
import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decide, signIn } from '../support/browser.ts';
import { CALLBACK, type Fapi, startFapi } from '../support/fapi-certification.ts';

const PROFILES = [
  {
    profile: 'fapi2-security' as const,
    signing: false,
    more: {},
  },
  {
    profile: 'fapi2-message-signing' as const,
    signing: true,
    more: {
      require_signed_request_object: true,
      response_modes: ['jwt'],
      introspection_signed_response_alg: 'PS256',
    },
  },
];

describe.each(PROFILES)('$profile, over TLS with client certificates', ({ profile, signing, more }) => {
  let op: Fapi;
  let as: oauth.AuthorizationServer;
  beforeAll(async () => {
    const parts = { signed: signing, jarm: signing };
    op = await startFapi({
      profile,
      authentication: 'mtls',
      constraint: 'mtls',
      openid: true,
      ownPort: true,
      ...parts,
    });
    const issuer = new URL(op.server.issuer);
    as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, optionsOf(op.fetch)));
  });
  afterAll(() => op.close());

  /** Pushes, signs alice in and lets her allow; the response is read as the profile has it. */
  async function authorize(client: oauth.Client, auth: oauth.ClientAuth, options: Options, verifier: string) {
    const asked = {
      response_type: 'code',
      redirect_uri: CALLBACK,
      scope: 'openid profile things.read',
      state: oauth.generateRandomState(),
      nonce: oauth.generateRandomNonce(),
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      ...(signing && { response_mode: 'jwt' }),
    };
    const key = { key: op.client.key.privateKey, kid: op.client.key.jwk.kid };
    const parameters = signing ? { request: await oauth.issueRequestObject(as, client, asked, key) } : asked;
    const answer = await oauth.pushedAuthorizationRequest(as, client, auth, parameters, options);
    const { request_uri } = await oauth.processPushedAuthorizationResponse(as, client, answer);
    const address = new URL(as.authorization_endpoint ?? '');
    address.search = new URLSearchParams({ client_id: client.client_id, request_uri }).toString();
    const browser = op.browser();
    const { location = '' } = await decide(browser, await signIn(browser, await browser.visit(address.href)));
    const response = signing
      ? await oauth.validateJwtAuthResponse(as, client, new URL(location), asked.state, options)
      : oauth.validateAuthResponse(as, client, new URL(location), asked.state);
    return { response, nonce: asked.nonce };
  }

  it.each(['tls_client_auth', 'private_key_jwt'])('%s', async (method) => {
    const byKey = method === 'private_key_jwt';
    const { key, certificate } = op.client;
    await op.server.client({
      client_id: method,
      redirect_uris: [CALLBACK],
      grant_types: ['authorization_code', 'refresh_token'],
      scope: 'openid profile things.read',
      token_endpoint_auth_method: method,
      ...(!byKey && { tls_client_auth_subject_dn: 'CN=client,O=Suite,C=DE' }),
      ...((byKey || signing) && { jwks: { keys: [key.jwk] } }),
      use_mtls_endpoint_aliases: true,
      tls_client_certificate_bound_access_tokens: true,
      ...more,
    });
    const client: oauth.Client = {
      client_id: method,
      use_mtls_endpoint_aliases: true,
      id_token_signed_response_alg: 'PS256',
      ...(signing && { authorization_signed_response_alg: 'PS256', introspection_signed_response_alg: 'PS256' }),
    };
    const auth = byKey ? oauth.PrivateKeyJwt({ key: key.privateKey, kid: key.jwk.kid }) : oauth.TlsClientAuth();
    const called = new Set<string>();
    const options = optionsOf(op.fetchAs(certificate), called);
    const verifier = oauth.generateRandomCodeVerifier();

    const { response, nonce } = await authorize(client, auth, options, verifier);
    const redeemed = await oauth.authorizationCodeGrantRequest(as, client, auth, response, CALLBACK, verifier, options);
    const expected = { expectedNonce: nonce, requireIdToken: true };
    const tokens = await oauth.processAuthorizationCodeResponse(as, client, redeemed, expected);
    await oauth.validateApplicationLevelSignature(as, redeemed, options);
    const { sub } = oauth.getValidatedIdTokenClaims(tokens) ?? { sub: '' };

    const shown = await oauth.userInfoRequest(as, client, tokens.access_token, options);
    expect(await oauth.processUserInfoResponse(as, client, sub, shown)).toMatchObject({ name: 'Alice Liddell' });
    const things = (fetcher: typeof fetch) =>
      oauth.protectedResourceRequest(
        tokens.access_token,
        'GET',
        new URL(op.api.url),
        undefined,
        undefined,
        optionsOf(fetcher),
      );
    expect(await (await things(op.fetchAs(certificate))).json()).toMatchObject({
      sub,
      scope: expect.arrayContaining(['things.read']),
    });
    // Whoever has the token and not the key has nothing, at the API and at the server.
    for (const fetcher of [op.fetch, op.fetchAs(op.client2.certificate)]) {
      await expect(things(fetcher)).rejects.toThrow(oauth.WWWAuthenticateChallengeError);
      const stolen = await oauth.userInfoRequest(as, client, tokens.access_token, optionsOf(fetcher));
      expect(stolen.status).toBe(401);
    }

    const token = tokens.refresh_token ?? '';
    const told = await oauth.introspectionRequest(as, client, auth, token, options);
    expect(await oauth.processIntrospectionResponse(as, client, told)).toMatchObject({
      active: true,
      client_id: method,
    });
    expect(told.headers.get('content-type')).toMatch(signing ? /introspection\+jwt/ : /^application\/json/);
    if (signing) await oauth.validateApplicationLevelSignature(as, told, options);

    const refreshed = await oauth.refreshTokenGrantRequest(as, client, auth, token, options);
    const renewed = await oauth.processRefreshTokenResponse(as, client, refreshed);
    expect(renewed.refresh_token).toBeUndefined();
    await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, token, options));
    const ended = await oauth.refreshTokenGrantRequest(as, client, auth, token, options);
    await expect(oauth.processRefreshTokenResponse(as, client, ended)).rejects.toMatchObject({
      error: 'invalid_grant',
    });

    // All of it went to the port that asks for certificates; keys alone are for everybody.
    const aliases = Object.values(op.metadata.mtls_endpoint_aliases as Record<string, string>);
    expect([...called].filter((address) => !aliases.includes(address) && address !== as.jwks_uri)).toEqual([]);
    expect(called.size).toBeGreaterThan(4);
  });
});

type Options = ReturnType<typeof optionsOf>;

/** @param called every address that was asked */
function optionsOf(fetcher: typeof fetch, called = new Set<string>()) {
  return {
    [oauth.customFetch](url: string, init: oauth.CustomFetchOptions<string, oauth.ProtectedResourceRequestBody>) {
      called.add(url);
      return fetcher(url, init as RequestInit);
    },
  };
}
