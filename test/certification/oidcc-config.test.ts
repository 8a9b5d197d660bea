/** Plan oidcc-config-certification-test-plan: Config OP. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Certification, startCertification } from '../support/certification.ts';

/** Keys of RFC 8414, OpenID Connect Discovery and the other specifications we serve; the suite warns of any other. */
const REGISTERED = new Set([
  'issuer',
  'authorization_endpoint',
  'token_endpoint',
  'userinfo_endpoint',
  'jwks_uri',
  'end_session_endpoint',
  'check_session_iframe',
  'revocation_endpoint',
  'introspection_endpoint',
  'scopes_supported',
  'response_types_supported',
  'response_modes_supported',
  'grant_types_supported',
  'acr_values_supported',
  'subject_types_supported',
  'id_token_signing_alg_values_supported',
  'id_token_encryption_alg_values_supported',
  'id_token_encryption_enc_values_supported',
  'userinfo_signing_alg_values_supported',
  'userinfo_encryption_alg_values_supported',
  'userinfo_encryption_enc_values_supported',
  'request_object_signing_alg_values_supported',
  'token_endpoint_auth_methods_supported',
  'revocation_endpoint_auth_methods_supported',
  'introspection_endpoint_auth_methods_supported',
  'display_values_supported',
  'claim_types_supported',
  'claims_supported',
  'claims_locales_supported',
  'ui_locales_supported',
  'prompt_values_supported',
  'claims_parameter_supported',
  'request_parameter_supported',
  'request_uri_parameter_supported',
  'code_challenge_methods_supported',
  'authorization_response_iss_parameter_supported',
  'frontchannel_logout_supported',
  'frontchannel_logout_session_supported',
  'backchannel_logout_supported',
  'backchannel_logout_session_supported',
  'pushed_authorization_request_endpoint',
  'require_pushed_authorization_requests',
  'dpop_signing_alg_values_supported',
  'token_endpoint_auth_signing_alg_values_supported',
  'revocation_endpoint_auth_signing_alg_values_supported',
  'introspection_endpoint_auth_signing_alg_values_supported',
  'introspection_signing_alg_values_supported',
  'introspection_encryption_alg_values_supported',
  'introspection_encryption_enc_values_supported',
  'tls_client_certificate_bound_access_tokens',
  'authorization_signing_alg_values_supported',
  'authorization_encryption_alg_values_supported',
  'authorization_encryption_enc_values_supported',
]);

describe('oidcc-config-certification-test-plan', () => {
  let op: Certification;
  beforeAll(async () => {
    op = await startCertification();
  });
  afterAll(() => op.close());

  it('oidcc-discovery-endpoint-verification', async () => {
    const { metadata, server } = op;
    expect(metadata.issuer).toBe(server.issuer);
    expect(server.issuer).toMatch(/^https:\/\/[^?#]*[^/?#]$/);
    expect(Object.keys(metadata).filter((name) => !REGISTERED.has(name))).toEqual([]);
    for (const [name, value] of Object.entries(metadata)) {
      if (/_endpoint$|_uri$|_iframe$/.test(name)) expect(value).toMatch(/^https:\/\//);
      if (/_supported$/.test(name)) expect(Array.isArray(value) || typeof value === 'boolean', name).toBe(true);
      if (Array.isArray(value)) expect(value.length, name).toBeGreaterThan(0);
    }
    expect(metadata.id_token_signing_alg_values_supported).toContain('RS256');
    expect(metadata.subject_types_supported).toEqual(expect.arrayContaining(['public', 'pairwise']));
    expect(metadata.scopes_supported).toContain('openid');
    expect(metadata.claims_supported).toEqual(expect.arrayContaining(['sub', 'name', 'email', 'address']));
    expect(metadata.response_types_supported).toEqual(['code']);
    expect(metadata.request_uri_parameter_supported).toBe(false);
    for (const tag of (metadata.ui_locales_supported ?? []) as string[])
      expect(Intl.getCanonicalLocales(tag)).toEqual([tag]);
  });

  it('oidcc-discovery-endpoint-verification: JSON, at both addresses, the keys public and distinct', async () => {
    const document = async (path: string) => {
      const response = await op.fetch(`${op.server.issuer}${path}`);
      expect([response.status, response.headers.get('content-type')]).toEqual([
        200,
        expect.stringMatching(/^application\/json/),
      ]);
      return (await response.json()) as Record<string, unknown>;
    };
    expect(await document('/.well-known/oauth-authorization-server')).toEqual(op.metadata);
    const { keys } = (await document('/jwks')) as unknown as { keys: Record<string, string>[] };
    expect(new Set(keys.map(({ kid }) => kid)).size).toBe(keys.length);
    for (const key of keys) {
      expect(['RSA', 'EC', 'OKP']).toContain(key.kty);
      for (const secret of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k']) expect(key).not.toHaveProperty(secret);
      for (const value of ['n', 'e', 'x', 'y'].flatMap((name) => key[name] ?? []))
        expect(value).toMatch(/^[A-Za-z0-9_-]+$/);
      if (key.kty === 'RSA') expect(Buffer.from(key.n ?? '', 'base64url').length).toBeGreaterThanOrEqual(256);
    }
  });
});
