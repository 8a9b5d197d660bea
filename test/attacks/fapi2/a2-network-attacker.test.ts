/**
 * FAPI 2.0 attacker A2, the network attacker: reads, drops, changes and sends every packet between anybody and anybody, and
 * answers for every address that is asked for without TLS. They break no cryptography and hold no certificate that counts.
 *
 * Stopped by: TLS from 1.2 on with forward secrecy everywhere, cookies that no other origin and no plain answer can plant,
 * addresses of clients that are https, fetches that fail when a certificate is not good, and certificates of clients that are
 * believed from the connection or a configured proxy only.
 */
import { readFileSync } from 'node:fs';
import { request as plainRequest } from 'node:http';
import { createServer as createTlsServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type ConnectionOptions, connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tally } from '../../support/attack-aftermath.ts';
import { TestBrowser } from '../../support/browser.ts';
import { makeCertificate } from '../../support/certificate.ts';
import { clientKey } from '../../support/client-key.ts';
import { startDocumentServer } from '../../support/document-server.ts';
import { assertionOf } from '../../support/fapi-world.ts';
import {
  base64Of,
  type MtlsWorld,
  PROXY,
  STRANGER,
  startMtlsWorld,
  startProxiedWorld,
} from '../../support/mtls-world.ts';
import { startTestServer } from '../../support/server.ts';

const FAPI = { GATEHOUSE_PROFILE: 'fapi2-security' };
const TLS_CLIENT = {
  token_endpoint_auth_method: 'tls_client_auth',
  tls_client_auth_subject_dn: 'CN=app,O=Example,C=DE',
};
const MACHINE = { grant_types: ['client_credentials'], scope: 'things.read' };
const ASK = { grant_type: 'client_credentials', client_id: 'app' };

describe('A2, the network attacker', () => {
  let world: MtlsWorld;
  beforeAll(async () => {
    world = await startMtlsWorld('shared', { ...FAPI, GATEHOUSE_ALLOW_LOOPBACK_FETCH: 'on' });
  });
  afterAll(() => world.close());

  /** What TLS was agreed on, or that none was. */
  function handshake(options: ConnectionOptions): Promise<string> {
    const port = Number(new URL(world.issuer).port);
    return new Promise((resolve) => {
      const socket = connect({ host: 'localhost', port, rejectUnauthorized: false, ...options });
      socket.once('secureConnect', () => {
        resolve(`${socket.getProtocol()} ${socket.getCipher().name}`);
        socket.destroy();
      });
      socket.once('error', () => resolve('refused'));
    });
  }

  it.each<[string, ConnectionOptions, RegExp]>([
    ['TLS 1.3', { minVersion: 'TLSv1.3' }, /^TLSv1\.3 /],
    ['TLS 1.2 with forward secrecy', { maxVersion: 'TLSv1.2' }, /^TLSv1\.2 ECDHE-.*-GCM-/],
    ['TLS 1.1', { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' }, /^refused$/],
    ['CBC', { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA:AES128-SHA' }, /^refused$/],
    ['RSA key exchange', { maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256' }, /^refused$/],
  ])('A2-1: a downgrade is not to be had: %s', async (_what, options, expected) => {
    expect(await handshake(options)).toMatch(expected);
  });

  it('A2-1: nothing is answered without TLS', async () => {
    const { port } = new URL(world.issuer);
    const answer = new Promise((resolve, reject) => {
      plainRequest({ host: 'localhost', port, path: '/login' }, (response) => resolve(response.statusCode))
        .once('error', reject)
        .end();
    });
    await expect(answer).rejects.toThrow();
  });

  it('A2-1: a browser that was here once comes by https ever after', async () => {
    const server = await startTestServer({
      env: { ...FAPI, GATEHOUSE_ISSUER: 'https://id.example', GATEHOUSE_TRUSTED_PROXIES: '127.0.0.1' },
    });
    try {
      for (const path of ['/login', '/jwks', '/token']) {
        const response = await fetch(server.running.address + path);
        expect(response.headers.get('strict-transport-security')).toMatch(/^max-age=\d{8}/);
        await response.text();
      }
    } finally {
      await server.close();
    }
  });

  it.each([
    ['redirect_uris', ['http://app.example/callback']],
    ['redirect_uris', ['http://127.0.0.1/callback']],
    ['jwks_uri', 'http://app.example/jwks'],
    ['backchannel_logout_uri', 'http://app.example/logout'],
    ['frontchannel_logout_uri', 'http://app.example/logout'],
    ['post_logout_redirect_uris', ['http://app.example/bye']],
    ['sector_identifier_uri', 'http://app.example/sector'],
  ])('A2-2 AZ: %s is not registered with http: %j', async (field, value) => {
    const metadata = {
      ...TLS_CLIENT,
      redirect_uris: ['https://app.example/callback'],
      grant_types: ['authorization_code'],
      [field]: value,
    };
    await expect(world.client(metadata)).rejects.toThrow(field);
  });

  it('A2-3 AZ: keys are not taken from an address whose certificate is not good', async () => {
    const key = await clientKey('ES256', 'remote');
    const { cert, key: privateKey } = await makeCertificate(`${world.authority.cert}-jwks`);
    const forged: Server = createTlsServer({ cert: readFileSync(cert), key: readFileSync(privateKey) }, (_, response) =>
      response.end(JSON.stringify({ keys: [key.jwk] })),
    );
    await new Promise<void>((resolve) => forged.listen(0, '127.0.0.1', resolve));
    const honest = await startDocumentServer();
    honest.serve({ keys: [key.jwk] });
    const ask = async (id: string, jwks_uri: string) => {
      await world.client({ client_id: id, ...MACHINE, token_endpoint_auth_method: 'private_key_jwt', jwks_uri });
      return world.post('/par', {
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: await assertionOf(world, { id, key }),
      });
    };
    try {
      const before = await tally(world);
      const refused = await ask('forged-keys', `https://127.0.0.1:${(forged.address() as AddressInfo).port}/jwks`);
      expect([refused.status, refused.json.error]).toEqual([503, 'temporarily_unavailable']);
      expect(await tally(world)).toEqual(before);
      // The keys would have been right: where nothing is wrong with the way they come, the client is known.
      expect((await ask('good-keys', `${honest.origin}/jwks`)).json.error).not.toMatch(/invalid_client|unavailable/);
    } finally {
      forged.closeAllConnections();
      forged.close();
      await honest.close();
    }
  });

  it('A2-4 AZ: a certificate in a header counts from the connection’s own end only', async () => {
    await world.client({ client_id: 'app', ...MACHINE, ...TLS_CLIENT });
    const own = await world.issued();
    expect((await world.post('/token', ASK, own)).status).toBe(200);
    const names = ['client-cert', 'x-forwarded-client-cert', 'ssl-client-cert'];
    for (const certificate of [undefined, await world.selfSigned()])
      for (const name of names) {
        const response = await world.fetchAs(certificate)(`${world.issuer}/token`, {
          method: 'POST',
          headers: { [name]: `:${base64Of(own)}:` },
          body: new URLSearchParams(ASK),
        });
        expect([name, response.status]).toEqual([name, 401]);
      }
  });

  it('A2-4 AZ: behind a proxy, from the proxy only', async () => {
    const proxied = await startProxiedWorld('rfc9440', FAPI);
    try {
      await proxied.client({ client_id: 'app', ...MACHINE, ...TLS_CLIENT });
      const header = { 'client-cert': `:${base64Of(await proxied.issued())}:` };
      expect((await proxied.relay(ASK, header)).status).toBe(200);
      const claimed = { ...header, 'x-forwarded-for': PROXY };
      expect((await proxied.relay(ASK, claimed, { from: STRANGER })).status).toBe(401);
    } finally {
      await proxied.close();
    }
  });

  it('A2-5 AZ: a cookie that a sibling domain or a plain answer could plant is not read', async () => {
    const browser = new TestBrowser(world, world.fetchAs());
    const login = await browser.visit('/login');
    const form = /<form[^>]*action="\/login"[\s\S]*?name="([^"]*)" value="([^"]*)"/.exec(login.body);
    const lines = login.headers.getSetCookie();
    expect(lines.length).toBeGreaterThan(0);
    for (const line of lines) expect(line).toMatch(/^__Host-.*; Path=\/;.*HttpOnly.*; Secure/i);
    for (const line of lines) expect(line).not.toMatch(/domain=/i);
    const credentials = { [form?.[1] ?? '']: form?.[2] ?? '', username: 'alice', password: 'wonderland' };
    const signedIn = await browser.send('POST', '/login', credentials);
    expect(signedIn.status).toBe(303);
    expect((await browser.visit('/account')).status).toBe(200);
    // The same session under names that anybody may set.
    const planted = new TestBrowser(world, world.fetchAs());
    for (const [name, value] of browser.cookies) {
      expect(name).toMatch(/^__Host-/);
      planted.cookies.set(name.replace('__Host-', ''), value);
      planted.cookies.set(name.replace('__Host-', '__Secure-'), value);
    }
    expect((await planted.visit('/account')).url).toContain('/login');
  });
});
