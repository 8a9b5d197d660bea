/** RFC 8705, clause by clause, on real TLS with real certificates. */
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorizePath, decide, pkce, responseOf, signIn, TestBrowser } from '../support/browser.ts';
import type { CertificateFiles } from '../support/certificate.ts';
import { API, base64Of, CALLBACK, type MtlsWorld, startMtlsWorld } from '../support/mtls-world.ts';

const MACHINE = { grant_types: ['client_credentials'], scope: 'things.read' };
const ASK = { grant_type: 'client_credentials' };
const BOUND = { tls_client_certificate_bound_access_tokens: true };

function thumbprintOf({ cert }: CertificateFiles): string {
  return createHash('sha256')
    .update(new X509Certificate(readFileSync(cert)).raw)
    .digest('base64url');
}

function jwkOf({ cert }: CertificateFiles): Record<string, unknown> {
  return new X509Certificate(readFileSync(cert)).publicKey.export({ format: 'jwk' }) as Record<string, unknown>;
}

let world: MtlsWorld;
let named: CertificateFiles;
beforeAll(async () => {
  world = await startMtlsWorld('own');
  named = await world.issued({
    subject: '/C=DE/O=Example, Inc/OU=a+CN=Müller',
    names:
      'DNS:app.example,DNS:*.wild.example,URI:https://app.example/id,IP:192.0.2.7,IP:2001:db8::7,email:app@people.example',
  });
});
afterAll(() => world.close());

/** The alias of an endpoint, as the metadata has it. */
function alias(name: string): string {
  return (world.metadata.mtls_endpoint_aliases as Record<string, string>)[name] ?? '';
}

const ask = (id: string, own?: CertificateFiles, fields: Record<string, string> = ASK) =>
  world.post(alias('token_endpoint'), { ...fields, client_id: id }, own);

let clients = 0;
async function machine(metadata: Record<string, unknown>): Promise<string> {
  clients += 1;
  return (await world.client({ client_id: `machine-${clients}`, ...MACHINE, ...metadata })).id;
}

/** alice's tokens for a client that a code was asked for. */
async function personal(id: string, own: CertificateFiles): Promise<Record<string, unknown>> {
  const browser = new TestBrowser(world, world.fetchAs());
  const { verifier, challenge } = pkce();
  const scope = 'openid things.read';
  let page = await browser.visit(
    authorizePath({ client_id: id, redirect_uri: CALLBACK, scope, code_challenge: challenge }),
  );
  page = await signIn(browser, page);
  if (page.url.includes('/consent')) page = await decide(browser, page);
  const code = responseOf(page).get('code') ?? '';
  const fields = { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: CALLBACK };
  const { status, json } = await ask(id, own, { ...fields, resource: API });
  if (status !== 200) throw new Error(JSON.stringify(json));
  return json;
}

const personalClient = (id: string, metadata: Record<string, unknown>) =>
  world.client({
    client_id: id,
    redirect_uris: [CALLBACK],
    grant_types: ['authorization_code', 'refresh_token'],
    scope: 'openid things.read',
    ...metadata,
  });

describe('§2 authentication of clients', () => {
  it('§2-1 needs client_id: a certificate alone says nothing about which client it is', async () => {
    await machine({ token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_san_dns: 'app.example' });
    const { status, json } = await world.post(alias('token_endpoint'), ASK, named);
    expect([status, json.error]).toEqual([401, 'invalid_client']);
  });

  it('§2-2 refuses a client that shows no certificate as it refuses one that is unknown', async () => {
    const id = await machine({ token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_san_dns: 'app.example' });
    const [without, unknown] = [await ask(id), await ask('nobody', named)];
    expect([without.status, without.json]).toEqual([401, unknown.json]);
    expect(unknown.status).toBe(401);
    expect(unknown.json.error).toBe('invalid_client');
  });
});

describe('§2.1 tls_client_auth', () => {
  it.each<[string, string, boolean]>([
    ['tls_client_auth_subject_dn', 'CN=Müller+OU=a,O=Example\\, Inc,C=DE', true],
    ['tls_client_auth_subject_dn', 'ou=a + cn=M\\C3\\BCller, o=Example\\2C Inc, 2.5.4.6=#13024445', true],
    ['tls_client_auth_subject_dn', 'C=DE,O=Example\\, Inc,CN=Müller+OU=a', false],
    ['tls_client_auth_subject_dn', 'CN=müller+OU=a,O=Example\\, Inc,C=DE', false],
    ['tls_client_auth_subject_dn', 'CN=Müller,OU=a,O=Example\\, Inc,C=DE', false],
    ['tls_client_auth_subject_dn', 'CN=Müller+OU=a,O=Example\\, Inc', false],
    ['tls_client_auth_subject_dn', 'O=Example\\, Inc,C=DE', false],
    ['tls_client_auth_san_dns', 'app.example', true],
    ['tls_client_auth_san_dns', 'APP.example', true],
    ['tls_client_auth_san_dns', 'sub.app.example', false],
    ['tls_client_auth_san_dns', 'other.wild.example', false],
    ['tls_client_auth_san_uri', 'https://app.example/id', true],
    ['tls_client_auth_san_uri', 'https://app.example/ID', false],
    ['tls_client_auth_san_uri', 'https://app.example/', false],
    ['tls_client_auth_san_ip', '192.0.2.7', true],
    ['tls_client_auth_san_ip', '2001:db8::7', true],
    ['tls_client_auth_san_ip', '2001:0DB8:0:0:0:0:0:7', true],
    ['tls_client_auth_san_ip', '192.0.2.8', false],
    ['tls_client_auth_san_email', 'app@people.example', true],
    ['tls_client_auth_san_email', 'other@people.example', false],
  ])('§2.1.2 %s = %s: %s', async (field, value, good) => {
    const id = await machine({ token_endpoint_auth_method: 'tls_client_auth', [field]: value });
    const { status, json } = await ask(id, named);
    if (good) expect(status).toBe(200);
    else expect([status, json.error]).toEqual([401, 'invalid_client']);
  });

  it('§2.1 refuses the right name on a certificate that no trusted authority signed', async () => {
    const id = await machine({
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_subject_dn: 'CN=app,O=Example,C=DE',
    });
    expect((await ask(id, await world.issued())).status).toBe(200);
    const { status, json } = await ask(id, await world.selfSigned());
    expect([status, json.error]).toEqual([401, 'invalid_client']);
  });

  it('§2.1 refuses a certificate that the authority made for servers only', async () => {
    const id = await machine({ token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_san_dns: 'app.example' });
    expect((await ask(id, await world.issued({ names: 'DNS:app.example' }))).status).toBe(200);
    expect((await ask(id, await world.issued({ names: 'DNS:app.example', usage: 'serverAuth' }))).status).toBe(401);
  });

  it.each<[string, Record<string, unknown>, string]>([
    ['none of the names', {}, 'tls_client_auth_subject_dn'],
    [
      'two of them',
      { tls_client_auth_san_dns: 'app.example', tls_client_auth_san_ip: '192.0.2.7' },
      'tls_client_auth_san_ip',
    ],
    ['a name that is none', { tls_client_auth_subject_dn: 'CN' }, 'tls_client_auth_subject_dn'],
    ['an attribute nobody knows', { tls_client_auth_subject_dn: 'X=1,CN=app' }, 'tls_client_auth_subject_dn'],
    ['a wildcard', { tls_client_auth_san_dns: '*.example' }, 'tls_client_auth_san_dns'],
    ['a URI without scheme', { tls_client_auth_san_uri: 'app.example' }, 'tls_client_auth_san_uri'],
    ['a host for an address', { tls_client_auth_san_ip: 'app.example' }, 'tls_client_auth_san_ip'],
    ['a host for an e-mail address', { tls_client_auth_san_email: 'app.example' }, 'tls_client_auth_san_email'],
  ])('§2.1.2 refuses to register %s', async (_what, metadata, field) => {
    await expect(machine({ token_endpoint_auth_method: 'tls_client_auth', ...metadata })).rejects.toThrow(
      new RegExp(`^${field}: `),
    );
  });

  it('§2.1.2 refuses a name that would not be checked, with another method', async () => {
    await expect(machine({ tls_client_auth_san_dns: 'app.example' })).rejects.toThrow(/^tls_client_auth_san_dns: /);
  });
});

describe('§2.2 self_signed_tls_client_auth', () => {
  const register = (jwks: unknown) =>
    machine({ token_endpoint_auth_method: 'self_signed_tls_client_auth', jwks } as Record<string, unknown>);

  it.each<[string, (own: CertificateFiles) => Record<string, unknown>]>([
    ['the certificate (x5c)', (own) => ({ ...jwkOf(own), x5c: [base64Of(own)] })],
    ['its key', jwkOf],
  ])('§2.2.2 knows the client by %s, and nobody else', async (_what, keyOf) => {
    const own = await world.selfSigned();
    const id = await register({ keys: [jwkOf(await world.selfSigned()), keyOf(own)] });
    expect((await ask(id, own)).status).toBe(200);
    for (const other of [await world.selfSigned(), await world.issued(), undefined]) {
      const { status, json } = await ask(id, other);
      expect([status, json.error]).toEqual([401, 'invalid_client']);
    }
  });

  it('§2.2.2 holds a client that registered a certificate to that one, even with the same key', async () => {
    const own = await world.selfSigned();
    const id = await register({ keys: [{ ...jwkOf(own), x5c: [base64Of(await world.selfSigned())] }] });
    expect((await ask(id, own)).status).toBe(401);
  });

  it('§2.2.2 takes no key that is for encryption', async () => {
    const own = await world.selfSigned();
    const id = await register({ keys: [{ ...jwkOf(own), use: 'enc' }] });
    expect((await ask(id, own)).status).toBe(401);
  });

  it('§2.2.2 needs keys: none registered is refused', async () => {
    await expect(machine({ token_endpoint_auth_method: 'self_signed_tls_client_auth' })).rejects.toThrow(/^jwks: /);
  });
});

describe('§3 certificate-bound tokens', () => {
  it('§3.1 a JWT names the certificate, and nothing else changes', async () => {
    const own = await world.issued();
    const id = await machine({
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_subject_dn: 'CN=app,O=Example,C=DE',
      ...BOUND,
    });
    const { json } = await ask(id, own);
    expect(json.token_type).toBe('Bearer');
    expect(decodeJwt(String(json.access_token)).cnf).toEqual({ 'x5t#S256': thumbprintOf(own) });
  });

  it('§3 binds tokens of a client that authenticates otherwise, and leaves those unbound that did not ask for it', async () => {
    const own = await world.selfSigned();
    const bound = await world.client({
      client_id: 'with-secret',
      ...MACHINE,
      token_endpoint_auth_method: 'client_secret_post',
      ...BOUND,
    });
    const fields = { ...ASK, client_secret: bound.secret };
    const { json } = await ask(bound.id, own, fields);
    expect(decodeJwt(String(json.access_token)).cnf).toEqual({ 'x5t#S256': thumbprintOf(own) });
    const plain = await machine({
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_subject_dn: 'CN=app,O=Example,C=DE',
    });
    expect(decodeJwt(String((await ask(plain, await world.issued())).json.access_token))).not.toHaveProperty('cnf');
  });

  it('§3.2 introspection tells the API which certificate', async () => {
    const own = await world.selfSigned();
    await personalClient('introspected', {
      token_endpoint_auth_method: 'self_signed_tls_client_auth',
      jwks: { keys: [jwkOf(own)] },
      ...BOUND,
    });
    const { access_token } = await personal('introspected', own);
    const told = await world.post(
      alias('introspection_endpoint'),
      { client_id: 'introspected', token: String(access_token) },
      own,
    );
    expect(told.json).toMatchObject({ active: true, token_type: 'Bearer', cnf: { 'x5t#S256': thumbprintOf(own) } });
  });

  it('§3 the protected resource refuses another certificate and none with invalid_token', async () => {
    const own = await world.selfSigned();
    await personalClient('visitor', {
      token_endpoint_auth_method: 'self_signed_tls_client_auth',
      jwks: { keys: [jwkOf(own)] },
      ...BOUND,
    });
    const { access_token } = await personal('visitor', own);
    const at = new URL(alias('userinfo_endpoint')).origin;
    expect((await world.userinfo(access_token, own, at)).json).toMatchObject({ sub: expect.any(String) });
    for (const [other, origin] of [
      [await world.selfSigned(), at],
      [undefined, at],
      // The main port asks for no certificate, so none is shown there.
      [own, world.issuer],
    ] as const) {
      const { status, headers, json } = await world.userinfo(access_token, other, origin);
      expect([status, json.error]).toEqual([401, 'invalid_token']);
      expect(headers.get('www-authenticate')).toMatch(/^Bearer .*error="invalid_token"/);
    }
  });

  it('§3.3 the metadata says that tokens are bound', () => {
    expect(world.metadata.tls_client_certificate_bound_access_tokens).toBe(true);
  });

  it('§3.4 a client that registered for bound tokens gets no others', async () => {
    const client = await world.client({
      client_id: 'bound-only',
      ...MACHINE,
      token_endpoint_auth_method: 'client_secret_post',
      ...BOUND,
    });
    const { status, json } = await ask(client.id, undefined, { ...ASK, client_secret: client.secret });
    expect([status, json.error]).toEqual([400, 'invalid_request']);
  });

  it('§3.4 a token is bound to one key: a client cannot register for both kinds', async () => {
    await expect(machine({ ...BOUND, dpop_bound_access_tokens: true })).rejects.toThrow(
      /^tls_client_certificate_bound_access_tokens: /,
    );
  });
});

describe('§4 public clients', () => {
  it('§4 have access and refresh tokens bound to a certificate of their own making', async () => {
    const own = await world.selfSigned();
    await personalClient('public', { token_endpoint_auth_method: 'none', ...BOUND });
    const first = await personal('public', own);
    expect(decodeJwt(String(first.access_token)).cnf).toEqual({ 'x5t#S256': thumbprintOf(own) });
    const refresh = { grant_type: 'refresh_token', refresh_token: String(first.refresh_token) };
    const stolen = await ask('public', await world.selfSigned(), refresh);
    expect([stolen.status, stolen.json.error]).toEqual([400, 'invalid_grant']);
    expect((await ask('public', own, refresh)).status).toBe(200);
  });
});

describe('§5 aliases of endpoints', () => {
  it('§5 name what clients call, under the port that asks, and no endpoint for browsers', async () => {
    const aliases = world.metadata.mtls_endpoint_aliases as Record<string, string>;
    expect(Object.keys(aliases)).toEqual(
      expect.arrayContaining(['token_endpoint', 'introspection_endpoint', 'revocation_endpoint', 'userinfo_endpoint']),
    );
    for (const [name, address] of Object.entries(aliases)) {
      expect(name).toMatch(/_endpoint$/);
      expect(new URL(address).pathname).toBe(new URL(String(world.metadata[name])).pathname);
      expect(new URL(address).origin).not.toBe(world.issuer);
    }
    expect(aliases).not.toHaveProperty('authorization_endpoint');
    expect(aliases).not.toHaveProperty('end_session_endpoint');
  });

  it('§5 the main port asks for no certificate, and a client with one is nobody there', async () => {
    const id = await machine({ token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_san_dns: 'app.example' });
    expect((await world.post('/token', { ...ASK, client_id: id }, named)).status).toBe(401);
    expect((await ask(id, named)).status).toBe(200);
  });
});

describe('§7 what to look out for', () => {
  it('§7.1 a confidential client refreshes with its next certificate', async () => {
    const [old, next] = [
      await world.issued({ names: 'DNS:renewing.example' }),
      await world.issued({ names: 'DNS:renewing.example' }),
    ];
    await personalClient('renewing', {
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_san_dns: 'renewing.example',
      ...BOUND,
    });
    const { refresh_token } = await personal('renewing', old);
    const { status, json } = await ask('renewing', next, {
      grant_type: 'refresh_token',
      refresh_token: String(refresh_token),
    });
    expect(status).toBe(200);
    expect(decodeJwt(String(json.access_token)).cnf).toEqual({ 'x5t#S256': thumbprintOf(next) });
  });
});
