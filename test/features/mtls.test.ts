/** Mutual TLS with our own TLS: a strict foreign client, both doors, what is announced, how TLS is spoken. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { decodeJwt } from 'jose';
import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { decide, signIn, TestBrowser } from '../support/browser.ts';
import type { CertificateFiles } from '../support/certificate.ts';
import { API, CALLBACK, type MtlsWorld, startMtlsWorld } from '../support/mtls-world.ts';
import { proofFor, proofKey } from '../support/proof-key.ts';
import { startTestServer } from '../support/server.ts';

const MACHINE = { grant_types: ['client_credentials'], scope: 'things.read' };
const ASK = { grant_type: 'client_credentials' };
const SUBJECT = { token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_subject_dn: 'CN=app,O=Example,C=DE' };

function jwkOf({ cert }: CertificateFiles): Record<string, unknown> {
  return new X509Certificate(readFileSync(cert)).publicKey.export({ format: 'jwk' }) as Record<string, unknown>;
}

/** A finished handshake, or why there is none. */
function handshake(origin: string, options: ConnectionOptions = {}): Promise<{ socket: TLSSocket; session: Buffer }> {
  const { hostname, port } = new URL(origin);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false, ...options });
    socket.once('error', reject);
    socket.once('session', (session) => resolve({ socket, session }));
    // Node's tickets come with the first bytes of TLS 1.3, and with the handshake of TLS 1.2.
    socket.once('secureConnect', () => socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n'));
  });
}

describe('with a port for clients with certificates', () => {
  let world: MtlsWorld;
  let own: CertificateFiles;
  let door: string;
  beforeAll(async () => {
    world = await startMtlsWorld('own');
    own = await world.issued();
    door = new URL((world.metadata.mtls_endpoint_aliases as Record<string, string>).token_endpoint ?? '').origin;
    await world.client({
      client_id: 'app',
      redirect_uris: [CALLBACK],
      grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
      scope: 'openid profile things.read',
      use_mtls_endpoint_aliases: true,
      tls_client_certificate_bound_access_tokens: true,
      ...SUBJECT,
    });
  });
  afterAll(() => world.close());

  it('a strict client signs alice in, uses its bound token and asks what it is worth, all by the aliases', async () => {
    const trusting = world.fetchAs(own);
    const called: string[] = [];
    const options = {
      [oauth.customFetch](url: string, init: oauth.CustomFetchOptions<string, URLSearchParams | undefined>) {
        called.push(url);
        return trusting(url, init as RequestInit);
      },
    };
    const issuer = new URL(world.issuer);
    const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, options));
    const client = { client_id: 'app', use_mtls_endpoint_aliases: true };
    const verifier = oauth.generateRandomCodeVerifier();
    const browser = new TestBrowser(world, world.fetchAs());
    const asked = new URL(as.authorization_endpoint ?? '');
    asked.search = new URLSearchParams({
      client_id: 'app',
      response_type: 'code',
      redirect_uri: CALLBACK,
      scope: 'openid profile',
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    }).toString();
    const signedIn = await signIn(browser, await browser.visit(asked.href));
    const { location = '' } = signedIn.url.includes('/consent') ? await decide(browser, signedIn) : signedIn;
    const callback = oauth.validateAuthResponse(as, client, new URL(location), oauth.skipStateCheck);
    const auth = oauth.TlsClientAuth();
    const answer = await oauth.authorizationCodeGrantRequest(as, client, auth, callback, CALLBACK, verifier, options);
    const tokens = await oauth.processAuthorizationCodeResponse(as, client, answer, { requireIdToken: true });
    const { sub } = oauth.getValidatedIdTokenClaims(tokens) ?? { sub: '' };

    const shown = await oauth.userInfoRequest(as, client, tokens.access_token, options);
    expect(await oauth.processUserInfoResponse(as, client, sub, shown)).toMatchObject({ name: 'Alice Liddell' });
    const told = await oauth.introspectionRequest(as, client, auth, tokens.access_token, options);
    expect(await oauth.processIntrospectionResponse(as, client, told)).toMatchObject({
      active: true,
      cnf: { 'x5t#S256': expect.any(String) },
    });
    const renewed = await oauth.refreshTokenGrantRequest(as, client, auth, tokens.refresh_token ?? '', options);
    expect((await oauth.processRefreshTokenResponse(as, client, renewed)).access_token).not.toBe(tokens.access_token);
    expect(called.slice(1)).toEqual(['/token', '/userinfo', '/token_info', '/token'].map((path) => door + path));
  });

  it.each(['/login', '/authorize', '/account', '/logout', '/jwks', '/.well-known/openid-configuration', '/nothing'])(
    'that port serves no %s',
    async (path) => {
      const response = await world.fetchAs(own)(`${door}${path}`);
      expect(response.status).toBe(404);
      expect(response.headers.get('content-type')).toMatch(/json/);
      expect(await response.json()).toMatchObject({ error: 'invalid_request' });
    },
  );

  it('that port tells balancers that it is up', async () => {
    expect((await world.fetchAs()(`${door}/readyz`)).status).toBe(200);
  });

  it('a DPoP proof names the address it was sent to: the alias there, ours here', async () => {
    const key = await proofKey();
    const { id, secret } = await world.client({
      client_id: 'prover',
      ...MACHINE,
      token_endpoint_auth_method: 'client_secret_post',
    });
    const ask = async (at: string, named: string) => {
      const dpop = await proofFor(world, key, ['POST', '/token'], { claims: { htu: `${named}/token` } });
      const body = new URLSearchParams({ ...ASK, client_id: id, client_secret: secret });
      return (await world.fetchAs(own)(`${at}/token`, { method: 'POST', headers: { dpop }, body })).status;
    };
    expect(await ask(door, door)).toBe(200);
    expect(await ask(world.issuer, world.issuer)).toBe(200);
    expect(await ask(door, world.issuer)).toBe(400);
    expect(await ask(world.issuer, door)).toBe(400);
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'a %s session that is resumed still has its certificate, and its certificate only',
    async (version) => {
      const certificate = { cert: readFileSync(own.cert), key: readFileSync(own.key) };
      const versions = { minVersion: version, maxVersion: version };
      const first = await handshake(door, { ...certificate, ...versions });
      first.socket.destroy();
      const { hostname, port } = new URL(door);
      const socket = connect({
        host: hostname,
        port: Number(port),
        rejectUnauthorized: false,
        ...versions,
        session: first.session,
      });
      const body = new URLSearchParams({ ...ASK, client_id: 'app' }).toString();
      const answer = await new Promise<string>((resolve, reject) => {
        socket.once('error', reject);
        socket.once('data', (bytes) => resolve(bytes.toString()));
        socket.write(
          `POST /token HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
        );
      });
      expect(socket.isSessionReused()).toBe(true);
      socket.destroy();
      expect(answer).toMatch(/^HTTP\/1\.1 200/);
    },
  );

  it('speaks TLS 1.2 and 1.3 with authenticated encryption and forward secrecy, on both ports', async () => {
    for (const origin of [world.issuer, door]) {
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
        const { socket } = await handshake(origin, { minVersion: version, maxVersion: version });
        expect(socket.getProtocol()).toBe(version);
        socket.destroy();
      }
      const seclevel = '@SECLEVEL=0';
      for (const refused of [
        { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: `ALL:${seclevel}` },
        { maxVersion: 'TLSv1.2', ciphers: `ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA384:${seclevel}` },
        { maxVersion: 'TLSv1.2', ciphers: `AES128-GCM-SHA256:AES256-GCM-SHA384:${seclevel}` },
      ] as const)
        await expect(handshake(origin, refused)).rejects.toThrow(/alert/);
    }
  });
});

describe('with one port', () => {
  let world: MtlsWorld;
  beforeAll(async () => {
    world = await startMtlsWorld('shared', { GATEHOUSE_ALLOW_LOOPBACK_FETCH: 'on' });
  });
  afterAll(() => world.close());

  it('it asks and never demands: clients with certificates and browsers without both get in', async () => {
    await world.client({ client_id: 'app', ...MACHINE, ...SUBJECT });
    const { status } = await world.post('/token', { ...ASK, client_id: 'app' }, await world.issued());
    expect(status).toBe(200);
    expect((await world.fetchAs()(`${world.issuer}/login`)).status).toBe(200);
    expect(world.metadata).not.toHaveProperty('mtls_endpoint_aliases');
    expect(world.metadata.token_endpoint_auth_methods_supported).toEqual(
      expect.arrayContaining(['tls_client_auth', 'self_signed_tls_client_auth']),
    );
  });

  it('the log tells apart why a certificate did not do, which the client is not told', async () => {
    await world.client({ client_id: 'refused', ...MACHINE, ...SUBJECT });
    await world.client({
      client_id: 'refused-key',
      ...MACHINE,
      token_endpoint_auth_method: 'self_signed_tls_client_auth',
      jwks: { keys: [jwkOf(await world.selfSigned())] },
    });
    const refusal = async (client_id: string, shown?: CertificateFiles) => {
      const { status, json, headers } = await world.post('/token', { ...ASK, client_id }, shown);
      expect([status, json]).toEqual([401, { error: 'invalid_client', error_description: expect.any(String) }]);
      expect(json.error_description).toBe('Client authentication failed.');
      const id = headers.get('x-request-id') ?? 'none';
      // It is written once the answer has gone.
      return vi.waitFor(() => JSON.parse(world.log.find((line) => line.includes(id)) ?? '').reason);
    };
    expect(await refusal('refused')).toBe('no certificate presented (is this the mTLS address?)');
    expect(await refusal('refused', await world.selfSigned())).toBe(
      'certificate not trusted by the authorities configured',
    );
    expect(await refusal('refused', await world.issued({ subject: '/CN=other' }))).toBe(
      'the subject or alternative name of the certificate is not the registered one',
    );
    expect(await refusal('refused-key', await world.selfSigned())).toBe(
      'the certificate is none of the registered keys',
    );
  });

  it('finds the keys of a client at its address, and looks again when it has renewed its certificate', async () => {
    let published: unknown[] = [];
    const site = createServer((_request, response) =>
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: published })),
    );
    await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = site.address() as AddressInfo;
      await world.client({
        client_id: 'remote',
        ...MACHINE,
        token_endpoint_auth_method: 'self_signed_tls_client_auth',
        jwks_uri: `http://127.0.0.1:${port}/jwks`,
      });
      const [old, next] = [await world.selfSigned(), await world.selfSigned()];
      const ask = async (own: CertificateFiles) =>
        (await world.post('/token', { ...ASK, client_id: 'remote' }, own)).status;
      published = [jwkOf(old)];
      expect(await ask(old)).toBe(200);
      expect(await ask(next)).toBe(401);
      published = [jwkOf(next)];
      world.clock.advance(61);
      expect(await ask(next)).toBe(200);
      expect(await ask(old)).toBe(401);
    } finally {
      site.close();
    }
  });
});

describe('what is offered', () => {
  const offeredBy = async (env: Record<string, string>) => {
    const world = await startMtlsWorld('shared', env);
    const { token_endpoint_auth_methods_supported: methods, ...rest } = world.metadata;
    const own = await world.selfSigned();
    await world.client({
      client_id: 'self-signed',
      ...MACHINE,
      token_endpoint_auth_method: 'self_signed_tls_client_auth',
      jwks: { keys: [jwkOf(own)] },
    });
    const { status } = await world.post('/token', { ...ASK, client_id: 'self-signed' }, own);
    await world.close();
    return {
      methods: (methods as string[]).filter((name) => name.includes('tls')),
      bound: rest.tls_client_certificate_bound_access_tokens,
      status,
    };
  };

  it('without authorities: certificates that clients sign themselves', async () => {
    expect(await offeredBy({ GATEHOUSE_MTLS_CA: '' })).toEqual({
      methods: ['self_signed_tls_client_auth'],
      bound: true,
      status: 200,
    });
  });

  it('with GATEHOUSE_MTLS_PORT=off: nothing, and nobody is asked for a certificate', async () => {
    expect(await offeredBy({ GATEHOUSE_MTLS_CA: '', GATEHOUSE_MTLS_PORT: 'off' })).toEqual({
      methods: [],
      bound: undefined,
      status: 401,
    });
  });

  it('without TLS: nothing', async () => {
    const server = await startTestServer();
    const response = await fetch(`${server.issuer}/.well-known/oauth-authorization-server`);
    expect(await response.text()).not.toMatch(/tls_client|mtls/);
    await server.close();
  });
});

describe('where the profile wants tokens bound', () => {
  let world: MtlsWorld;
  let own: CertificateFiles;
  beforeAll(async () => {
    world = await startMtlsWorld('shared', { GATEHOUSE_PROFILE: 'fapi2-security' });
    own = await world.issued();
    await world.client({ client_id: 'app', ...MACHINE, ...SUBJECT });
  });
  afterAll(() => world.close());

  it('the certificate a client shows is what its tokens are bound to', async () => {
    const { json } = await world.post('/token', { ...ASK, client_id: 'app', resource: API }, own);
    expect(decodeJwt(String(json.access_token)).cnf).toEqual({ 'x5t#S256': expect.any(String) });
  });

  it('a DPoP proof goes before the certificate, which the client shows anyway', async () => {
    const key = await proofKey();
    const response = await world.fetchAs(own)(`${world.issuer}/token`, {
      method: 'POST',
      headers: { dpop: await proofFor(world, key, ['POST', '/token']) },
      body: new URLSearchParams({ ...ASK, client_id: 'app' }),
    });
    const { access_token, token_type } = (await response.json()) as Record<string, string>;
    expect(token_type).toBe('DPoP');
    expect(decodeJwt(access_token ?? '').cnf).toEqual({ jkt: key.jkt });
  });
});
