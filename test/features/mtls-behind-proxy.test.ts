/** Mutual TLS behind a proxy that does TLS: RFC 9440, and the forms of the usual proxies. The test is the proxy. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CertificateFiles } from '../support/certificate.ts';
import { base64Of, escapedPemOf, type ProxiedWorld, startProxiedWorld } from '../support/mtls-world.ts';
import { freePort } from '../support/ports.ts';

const ASK = { grant_type: 'client_credentials', client_id: 'app' };
const MACHINE = { grant_types: ['client_credentials'], scope: 'things.read' };
const SUBJECT = { token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_subject_dn: 'CN=app,O=Example,C=DE' };

const wrapped = (text: string) => text.replaceAll(/(.{64})/g, '$1\n');

/** [form, configured as, the header's name, its value, what must not be taken for it] */
const FORMS: [string, string, string, (own: CertificateFiles) => string, (own: CertificateFiles) => string[]][] = [
  [
    'RFC 9440',
    'rfc9440',
    'Client-Cert',
    (own) => `:${base64Of(own)}:`,
    (own) => [
      base64Of(own),
      `:${base64Of(own)}`,
      `:${base64Of(own)}:;x=1`,
      `:${base64Of(own)}:, :${base64Of(own)}:`,
      '::',
    ],
  ],
  [
    'RFC 9440 under another name',
    'rfc9440:X-Cert',
    'x-cert',
    (own) => `:${base64Of(own)}:`,
    (own) => [`:${base64Of(own).slice(0, -4)}:`],
  ],
  [
    'Envoy',
    'xfcc',
    'X-Forwarded-Client-Cert',
    (own) =>
      `By=spiffe://a;Hash=${'0'.repeat(64)};Subject="CN=\\"Cert=x;\\",O=a;b";URI=;Cert="${escapedPemOf(own)}";DNS=a.example`,
    (own) => [
      `Hash=${'0'.repeat(64)}`,
      `Cert="${escapedPemOf(own)}",Cert="${escapedPemOf(own)}"`,
      `Cert="${escapedPemOf(own)}";Cert="${escapedPemOf(own)}"`,
      `Subject="CN=\\";Cert="${escapedPemOf(own)}"`,
      `Cert="${escapedPemOf(own)}`,
    ],
  ],
  [
    'nginx',
    'pem:X-SSL-Cert',
    'X-SSL-Cert',
    escapedPemOf,
    (own) => [
      escapedPemOf(own) + escapedPemOf(own),
      `x${escapedPemOf(own)}`,
      base64Of(own),
      '%',
      encodeURIComponent(`-----BEGIN CERTIFICATE-----\n!${wrapped(base64Of(own))}\n-----END CERTIFICATE-----`),
    ],
  ],
  [
    'HAProxy',
    'base64:X-SSL-Client-DER',
    'X-SSL-Client-DER',
    base64Of,
    (own) => [
      `:${base64Of(own)}:`,
      `${base64Of(own)} ${base64Of(own)}`,
      // A certificate, and something behind it.
      Buffer.concat([Buffer.from(base64Of(own), 'base64'), Buffer.alloc(3)]).toString('base64'),
      // PEM is not DER.
      readFileSync(own.cert).toString('base64'),
      'A'.repeat(12_004),
    ],
  ],
];

describe.each(FORMS)('%s', (_form, configured, name, headerOf, wrongOf) => {
  let world: ProxiedWorld;
  let own: CertificateFiles;
  beforeAll(async () => {
    world = await startProxiedWorld(configured);
    own = await world.issued();
    await world.client({ client_id: 'app', ...MACHINE, ...SUBJECT });
  });
  afterAll(() => world.close());

  it('hands on the certificate of a client', async () => {
    expect((await world.relay(ASK, { [name]: headerOf(own) })).status).toBe(200);
  });

  it('hands on none: no header, or an empty one', async () => {
    for (const headers of [{}, { [name]: '' }]) {
      const { status, json } = await world.relay(ASK, headers);
      expect([status, json.error]).toEqual([401, 'invalid_client']);
    }
  });

  it('anything else is refused, whatever else the request has', async () => {
    for (const wrong of wrongOf(own)) {
      const { status, json } = await world.relay(ASK, { [name]: wrong });
      expect([wrong, status, json.error]).toEqual([wrong, 400, 'invalid_request']);
    }
  });
});

describe('what a proxy did not verify is verified here', () => {
  let world: ProxiedWorld;
  beforeAll(async () => {
    world = await startProxiedWorld('rfc9440');
    await world.client({ client_id: 'app', ...MACHINE, ...SUBJECT });
  });
  afterAll(() => world.close());

  const statusOf = async (own: CertificateFiles, clientId = 'app') =>
    (await world.relay({ ...ASK, client_id: clientId }, { 'client-cert': `:${base64Of(own)}:` })).status;

  it('takes certificates that a configured authority signed, for clients, for now', async () => {
    expect(await statusOf(await world.issued())).toBe(200);
    expect(await statusOf(await world.selfSigned())).toBe(401);
    expect(await statusOf(await world.issued({ usage: 'serverAuth' }))).toBe(401);
    expect(await statusOf(await world.issued({ days: -1 }))).toBe(401);
  });

  it('takes none of an authority that has expired', async () => {
    const own = await world.issued({ days: 40 });
    expect(await statusOf(own)).toBe(200);
    world.clock.advance(25 * 86_400);
    expect(await statusOf(own)).toBe(401);
    world.clock.advance(-25 * 86_400);
  });

  it('takes one that the client signed itself where its key is registered', async () => {
    const own = await world.selfSigned();
    const key = new X509Certificate(readFileSync(own.cert)).publicKey.export({ format: 'jwk' });
    await world.client({
      client_id: 'self-signed',
      ...MACHINE,
      token_endpoint_auth_method: 'self_signed_tls_client_auth',
      jwks: { keys: [key] },
    });
    expect(await statusOf(own, 'self-signed')).toBe(200);
    expect(await statusOf(await world.selfSigned(), 'self-signed')).toBe(401);
  });
});

it('with a port for clients with certificates, the header counts there only, and the aliases have the address they are told', async () => {
  const port = await freePort();
  const origin = 'https://mtls.id.example';
  const world = await startProxiedWorld('rfc9440', {
    GATEHOUSE_MTLS_PORT: String(port),
    GATEHOUSE_MTLS_ORIGIN: origin,
  });
  try {
    await world.client({ client_id: 'app', ...MACHINE, ...SUBJECT });
    const headers = { 'client-cert': `:${base64Of(await world.issued())}:` };
    expect((await world.relay(ASK, headers, { port })).status).toBe(200);
    expect((await world.relay(ASK, headers)).status).toBe(401);
    expect(world.log.some((line) => line.includes('client-cert does not count here'))).toBe(true);
    const response = await fetch(`${world.issuer.replace('localhost', '127.0.0.1')}/.well-known/openid-configuration`);
    expect(await response.json()).toMatchObject({ mtls_endpoint_aliases: { token_endpoint: `${origin}/token` } });
  } finally {
    await world.close();
  }
});
