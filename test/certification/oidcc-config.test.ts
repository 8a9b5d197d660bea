/** Plan oidcc-config-certification-test-plan: Config OP. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Certification, startCertification } from '../support/certification.ts';
import { REGISTERED } from './registered-metadata.ts';

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
