/**
 * A server that takes client certificates: with its own TLS, on the one port or on a port for it, or behind a proxy that the
 * test plays. With an authority that it trusts, and alice.
 */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import {
  type CertificateFiles,
  type CertificateOptions,
  makeAuthority,
  makeCertificate,
  makeSelfSigned,
  type TestAuthority,
} from './certificate.ts';
import { freePort } from './ports.ts';
import { startTestServer, type TestServer } from './server.ts';
import { trustingFetch } from './trusting-fetch.ts';

export const CALLBACK = 'https://app.example/callback';
export const API = 'https://api.example';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly json: Record<string, unknown>;
}

export interface MtlsWorld extends TestServer {
  readonly authority: TestAuthority;
  /** Its metadata document. */
  readonly metadata: Record<string, unknown>;
  /** A fresh certificate of the authority. */
  issued(options?: CertificateOptions): Promise<CertificateFiles>;
  selfSigned(options?: CertificateOptions): Promise<CertificateFiles>;
  /** `fetch` that trusts the server and shows a certificate. */
  fetchAs(own?: CertificateFiles): typeof fetch;
  /** POSTs a form, with a certificate or none, to a path of the issuer or to a whole address. */
  post(where: string, fields: Record<string, string>, own?: CertificateFiles): Promise<Answer>;
  userinfo(token: unknown, own?: CertificateFiles, origin?: string): Promise<Answer>;
}

/**
 * @param door `own`: a port for clients with certificates; `shared`: the one port asks
 * @param env more variables of the environment
 */
export async function startMtlsWorld(door: 'own' | 'shared', env: Record<string, string> = {}): Promise<MtlsWorld> {
  const folder = await mkdtemp(join(tmpdir(), 'gatehouse-mtls-'));
  const { cert, key } = await makeCertificate(join(folder, 'server'));
  const authority = await makeAuthority(join(folder, 'authority'));
  const server = await startTestServer({
    env: {
      GATEHOUSE_TLS_CERT: cert,
      GATEHOUSE_TLS_KEY: key,
      GATEHOUSE_MTLS_CA: authority.cert,
      ...(door === 'own' && { GATEHOUSE_MTLS_PORT: String(await freePort()) }),
      ...env,
    },
  });
  await populate(server);
  let count = 0;
  const fresh = () => {
    count += 1;
    return join(folder, `certificate-${count}`);
  };
  const fetchAs = (own?: CertificateFiles) => trustingFetch(cert, own);
  const discovered = await fetchAs()(`${server.issuer}/.well-known/openid-configuration`);
  return {
    ...server,
    authority,
    metadata: (await discovered.json()) as Record<string, unknown>,
    issued: (options) => authority.issue(fresh(), options),
    selfSigned: (options) => makeSelfSigned(fresh(), options),
    fetchAs,
    async post(where, fields, own) {
      const body = new URLSearchParams(fields);
      return answerOf(await fetchAs(own)(new URL(where, server.issuer), { method: 'POST', body }));
    },
    async userinfo(token, own, origin = server.issuer) {
      return answerOf(await fetchAs(own)(`${origin}/userinfo`, { headers: { authorization: `Bearer ${token}` } }));
    },
    async close() {
      await server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function populate(server: TestServer): Promise<void> {
  await server.user({ username: 'alice', password: 'wonderland', claims: { name: 'Alice Liddell' } });
  const named = { token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_san_dns: 'api.example' };
  await server.client({ client_id: 'api', grant_types: [], ...named });
  await server.resource({
    resource: API,
    name: 'API',
    scopes: { 'things.read': 'See things' },
    access_token_format: 'jwt',
    introspection_clients: ['api'],
  });
}

async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  const json = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {};
  return { status: response.status, headers: response.headers, json };
}

export interface ProxiedWorld extends TestServer {
  readonly authority: TestAuthority;
  issued(options?: CertificateOptions): Promise<CertificateFiles>;
  selfSigned(options?: CertificateOptions): Promise<CertificateFiles>;
  /** POSTs a form over plain http with raw headers, from an address: the trusted proxy's unless said otherwise. */
  relay(fields: Record<string, string>, headers?: RawHeaders, hop?: Hop): Promise<Answer>;
}

export type RawHeaders = Readonly<Record<string, string | string[]>>;

export interface Hop {
  readonly from?: string;
  readonly path?: string;
  readonly port?: number;
}

export const PROXY = '127.0.0.1';
export const STRANGER = '127.0.0.2';

/** @param header what GATEHOUSE_CLIENT_CERT_HEADER is set to */
export async function startProxiedWorld(header: string, env: Record<string, string> = {}): Promise<ProxiedWorld> {
  const folder = await mkdtemp(join(tmpdir(), 'gatehouse-proxied-'));
  const authority = await makeAuthority(join(folder, 'authority'));
  const server = await startTestServer({
    env: {
      HOST: '127.0.0.1',
      GATEHOUSE_TRUSTED_PROXIES: PROXY,
      GATEHOUSE_CLIENT_CERT_HEADER: header,
      GATEHOUSE_MTLS_CA: authority.cert,
      ...env,
    },
  });
  await populate(server);
  let count = 0;
  const fresh = () => {
    count += 1;
    return join(folder, `certificate-${count}`);
  };
  return {
    ...server,
    authority,
    issued: (options) => authority.issue(fresh(), options),
    selfSigned: (options) => makeSelfSigned(fresh(), options),
    relay: (fields, headers = {}, { from = PROXY, path = '/token', port = Number(new URL(server.issuer).port) } = {}) =>
      new Promise((resolve, reject) => {
        const outgoing = request(
          {
            host: '127.0.0.1',
            localAddress: from,
            port,
            path,
            method: 'POST',
            headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
          },
          async (incoming) => {
            const content = new Uint8Array(await buffer(incoming));
            const status = incoming.statusCode ?? 0;
            resolve(await answerOf(new Response(content, { status })));
          },
        );
        outgoing.once('error', reject);
        outgoing.end(new URLSearchParams(fields).toString());
      }),
    async close() {
      await server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** DER in base64, as the body of a PEM file has it. */
export function base64Of({ cert }: CertificateFiles): string {
  return readFileSync(cert, 'utf8').replace(/-----[A-Z ]+-----|\s/g, '');
}

export function escapedPemOf({ cert }: CertificateFiles): string {
  return encodeURIComponent(readFileSync(cert, 'utf8'));
}
