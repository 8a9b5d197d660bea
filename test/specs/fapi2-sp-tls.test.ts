/**
 * FAPI 2.0 Security Profile (Final) §5.2, the network layer: how TLS is spoken by our own TLS, at both ports, and by us where
 * we fetch what a client's metadata names.
 */

import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { request as plainRequest } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ConnectionOptions,
  connect,
  createServer as createTlsServer,
  getCiphers,
  type SecureContextOptions,
  type SecureVersion,
} from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guardedFetch } from '../../src/outgoing/guarded-fetch.ts';
import { type CertificateFiles, makeAuthority, makeCertificate, makeSelfSigned } from '../support/certificate.ts';
import { clientKey } from '../support/client-key.ts';
import { assertionOf } from '../support/fapi-world.ts';
import { gatehouse } from '../support/gatehouse.ts';
import { type MtlsWorld, startMtlsWorld } from '../support/mtls-world.ts';
import { startTestServer } from '../support/server.ts';

const FAPI = { GATEHOUSE_PROFILE: 'fapi2-security' };
/** RFC 9325 §4.2, the recommended ones, for a certificate of an elliptic curve and for one of RSA. */
const RECOMMENDED = ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES256-GCM-SHA384'];
const FOR_RSA = RECOMMENDED.map((name) => name.replace('ECDSA', 'RSA'));

/** Prints what is had from each of the addresses it is called with, or why it is not. */
const FETCH_ALL = `
  import { guardedFetch } from './src/outgoing/guarded-fetch.ts';
  const options = { timeout: 20_000, maxBytes: 100, accept: '*/*', allowLoopback: true };
  for (const address of process.argv.slice(1))
    console.log(await guardedFetch(address, options).then(String, ({ message }) => message));
`;

/** What was agreed on, or that nothing was; the certificate is not looked at. */
function handshake(port: number, offer: ConnectionOptions): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: 'localhost', port, rejectUnauthorized: false, ...offer });
    socket.once('secureConnect', () => {
      resolve(`${socket.getProtocol()} ${socket.getCipher().name}`);
      socket.destroy();
    });
    socket.once('error', () => resolve('refused'));
  });
}

const only = (version: SecureVersion, ciphers = 'ALL:COMPLEMENTOFALL'): SecureContextOptions => ({
  minVersion: version,
  maxVersion: version,
  ciphers: `${ciphers}:@SECLEVEL=0`,
});

/** Every cipher suite of TLS 1.2 and before that this OpenSSL has. */
const SUITES = getCiphers()
  .filter((name) => !name.startsWith('tls_'))
  .map((name) => name.toUpperCase());

describe('the server', () => {
  let world: MtlsWorld;
  let ports: number[];
  beforeAll(async () => {
    world = await startMtlsWorld('own', FAPI);
    const aliases = Object.values(world.metadata.mtls_endpoint_aliases as Record<string, string>);
    ports = [...new Set([world.issuer, ...aliases].map((address) => Number(new URL(address).port)))];
    expect(ports).toHaveLength(2);
  });
  afterAll(() => world.close());

  it('§5.2.1-1: every endpoint is one of TLS, and answers nothing without', async () => {
    const aliases = world.metadata.mtls_endpoint_aliases as Record<string, string>;
    const endpoints = Object.entries({ ...world.metadata, ...aliases }).filter(([name]) =>
      /_endpoint$|_uri$/.test(name),
    );
    expect(endpoints.length).toBeGreaterThan(6);
    for (const [name, address] of endpoints) {
      const { protocol, port, pathname } = new URL(String(address));
      expect([name, protocol]).toEqual([name, 'https:']);
      const plain = new Promise((resolve, reject) => {
        const asked = plainRequest({ host: 'localhost', port, path: pathname }, ({ statusCode }) =>
          resolve(statusCode),
        );
        asked.once('error', reject).end();
      });
      await expect(plain, name).rejects.toThrow();
    }
  });

  it.each([
    ['jwks_uri', 'http://app.example/jwks'],
    ['sector_identifier_uri', 'http://app.example/sector'],
    ['backchannel_logout_uri', 'http://app.example/logout'],
  ])('§5.2.1-1: nothing is fetched from, or sent to, an address without TLS: %s', async (name, address) => {
    const metadata = { token_endpoint_auth_method: 'private_key_jwt', redirect_uris: ['https://app.example/callback'] };
    const keys = name === 'jwks_uri' ? {} : { jwks: { keys: [(await clientKey()).jwk] } };
    await expect(world.client({ ...metadata, ...keys, [name]: address })).rejects.toThrow(
      new RegExp(`^${name}: .*https`),
    );
  });

  it('§5.2.1-2: it speaks TLS 1.2 and 1.3, and nothing before', async () => {
    for (const port of ports) {
      for (const version of ['TLSv1', 'TLSv1.1'] as const) expect(await handshake(port, only(version))).toBe('refused');
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const)
        expect(await handshake(port, { minVersion: version, maxVersion: version })).toContain(`${version} `);
    }
  });

  it('§5.2.1-3, RFC 9325 §3.1.1, §4.1: the newest version is preferred, and no suite is weak, whatever a client offers', async () => {
    const everything = { minVersion: 'TLSv1', ciphers: 'ALL:COMPLEMENTOFALL:@SECLEVEL=0' } as const;
    for (const port of ports) {
      expect(await handshake(port, everything)).toMatch(/^TLSv1\.3 /);
      expect(await handshake(port, { ...everything, maxVersion: 'TLSv1.2' })).toBe(`TLSv1.2 ${RECOMMENDED[0]}`);
      // No encryption, no authentication, no forward secrecy, old digests: not one is to be had.
      for (const weak of ['eNULL', 'aNULL', 'kRSA', 'kDHE', 'PSK', 'SRP', 'MD5', 'SHA1', 'CAMELLIA', 'ARIA'])
        expect([weak, await handshake(port, only('TLSv1.2', weak))]).toEqual([weak, 'refused']);
    }
  });

  it('§5.2.2-1, §5.2.3-2: with TLS 1.2 it takes the suites that RFC 9325 §4.2 recommends, and no other', async () => {
    expect(SUITES.length).toBeGreaterThan(30);
    for (const port of ports) {
      const taken: string[] = [];
      for (const suite of SUITES) if ((await handshake(port, only('TLSv1.2', suite))) !== 'refused') taken.push(suite);
      expect(taken.sort()).toEqual(RECOMMENDED);
    }
  });

  it('§5.2.2.1: aliases name the port for clients with certificates, and a client may register that it uses them', async () => {
    const aliases = world.metadata.mtls_endpoint_aliases as Record<string, string>;
    const [own, stranger] = [await world.issued(), await world.selfSigned()];
    const app = { id: 'ecosystem', key: await clientKey('ES256', 'ecosystem-key') };
    await world.client({
      client_id: app.id,
      grant_types: ['client_credentials'],
      scope: 'things.read',
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [app.key.jwk] },
      use_mtls_endpoint_aliases: true,
      tls_client_certificate_bound_access_tokens: true,
    });
    const ask = async (address: unknown, certificate?: CertificateFiles) => {
      const fields = {
        grant_type: 'client_credentials',
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: await assertionOf(world, app),
      };
      return (await world.post(String(address), fields, certificate)).status;
    };
    expect(aliases.token_endpoint).not.toBe(world.metadata.token_endpoint);
    expect(await ask(aliases.token_endpoint, own)).toBe(200);
    // Who signed the certificate is no matter here: the client's key says who it is, the certificate what tokens are bound to.
    expect(await ask(aliases.token_endpoint, stranger)).toBe(200);
    expect(await ask(aliases.token_endpoint)).toBe(400);
    expect(await ask(world.metadata.token_endpoint, own)).toBe(400);
  });
});

it('§5.2.3-1: a browser that came by TLS once is told to come by nothing else (HSTS), and has cookies for TLS only', async () => {
  const server = await startTestServer({
    env: { ...FAPI, GATEHOUSE_ISSUER: 'https://id.example', GATEHOUSE_TRUSTED_PROXIES: '127.0.0.1' },
  });
  try {
    for (const path of ['/login', '/authorize', '/consent', '/account', '/logout', '/nowhere', '/token']) {
      const { headers } = await fetch(server.running.address + path, { redirect: 'manual' });
      const [, age = ''] =
        /^max-age=(\d+); includeSubDomains/.exec(headers.get('strict-transport-security') ?? '') ?? [];
      // A year at least is what the browsers' lists of preloaded hosts ask for.
      expect([path, Number(age) >= 31_536_000]).toEqual([path, true]);
      for (const cookie of headers.getSetCookie()) expect(cookie).toMatch(/^__Host-.*; Secure/);
    }
  } finally {
    await server.close();
  }
});

describe('as a client of others', () => {
  let folder: string;
  const servers: Server[] = [];
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gatehouse-peers-'));
  });
  afterAll(async () => {
    for (const server of servers) server.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('§5.2.1-5, RFC 9525: the certificate of who is asked must be trusted, in time, and for that name', async () => {
    const authority = await makeAuthority(join(folder, 'authority'));
    const usage = 'serverAuth';
    const good = { subject: '/CN=peer', names: 'DNS:localhost', usage };
    const certificates: [string, Promise<CertificateFiles>][] = [
      ['good', authority.issue(join(folder, 'good'), good)],
      ['another name', authority.issue(join(folder, 'name'), { ...good, names: 'DNS:other.example' })],
      ['the name as CN alone', authority.issue(join(folder, 'cn'), { subject: '/CN=localhost', usage })],
      ['over', authority.issue(join(folder, 'over'), { ...good, days: -1 })],
      ['for clients', authority.issue(join(folder, 'usage'), { ...good, usage: 'clientAuth' })],
      ['of nobody', makeSelfSigned(join(folder, 'nobody'), { names: 'DNS:localhost' })],
    ];
    const addresses = await Promise.all(
      certificates.map(async ([what, made]) => {
        const { cert, key } = await made;
        const peer = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (_, response) =>
          response.end(what),
        );
        servers.push(peer);
        await new Promise<void>((resolve) => peer.listen(0, 'localhost', resolve));
        return `https://localhost:${(peer.address() as AddressInfo).port}/`;
      }),
    );
    // A process trusts an authority of a test by its environment only: it must be one of its own.
    const { stdout, stderr } = await gatehouse([], {
      command: [process.execPath, '--import', 'tsx', '--input-type=module', '--eval', FETCH_ALL, ...addresses],
      env: { NODE_EXTRA_CA_CERTS: authority.cert },
    });
    const refused = 'no answer in time, or no connection';
    expect([stdout.trim().split('\n'), stderr]).toEqual([['good', ...Array.from({ length: 5 }, () => refused)], '']);
  });

  it('§5.2.2-2, §5.2.1-2: it offers TLS 1.2 with the recommended suites and TLS 1.3, and nothing else', async () => {
    const ec = await makeCertificate(join(folder, 'ec'));
    const rsa = await makeSelfSigned(join(folder, 'rsa'), { names: 'DNS:localhost', keyType: 'rsa' });
    const pairs = [ec, rsa].map(({ cert, key }) => ({ cert: readFileSync(cert), key: readFileSync(key) }));
    const agrees = (offer: SecureContextOptions) =>
      new Promise<boolean>((resolve, reject) => {
        const peer = createTlsServer({
          ...offer,
          cert: pairs.map(({ cert }) => cert),
          key: pairs.map(({ key }) => key),
        });
        const told = (agreed: boolean) => {
          peer.close();
          resolve(agreed);
        };
        // Where they agree it is our certificate that the other end stops at: it knows none of this test's.
        peer.once('tlsClientError', ({ code }: NodeJS.ErrnoException) =>
          told(!/NO_SHARED_CIPHER|UNSUPPORTED_PROTOCOL/.test(code ?? '')),
        );
        peer.once('secureConnection', () => told(true));
        peer.listen(0, '127.0.0.1', () => {
          const { port } = peer.address() as AddressInfo;
          const options = { timeout: 5000, maxBytes: 10, accept: '*/*', allowLoopback: true };
          guardedFetch(`https://127.0.0.1:${port}/`, options).then(reject, () => undefined);
        });
      });
    for (const version of ['TLSv1', 'TLSv1.1'] as const)
      expect([version, await agrees(only(version))]).toEqual([version, false]);
    expect(await agrees({ minVersion: 'TLSv1.3' })).toBe(true);
    const taken: string[] = [];
    for (const suite of SUITES) if (await agrees({ ...only('TLSv1.2', suite), dhparam: 'auto' })) taken.push(suite);
    expect(taken.sort()).toEqual([...RECOMMENDED, ...FOR_RSA].sort());
  });
});
