/**
 * What the OpenID Foundation's conformance suite brings to the plans for FAPI 2.0: a server in the profile on native https that
 * takes client certificates, an authority, two clients with different keys made by the command line, an API on https, a
 * browser, and relying-party code that validates all it gets.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEMO_USERS } from '../../src/operator/demo-data.ts';
import { TestBrowser } from './browser.ts';
import { type CertificateFiles, type CertificateOptions, makeAuthority, makeSelfSigned } from './certificate.ts';
import { type ClientKey, clientKey } from './client-key.ts';
import { DETAILS, type FapiApi, startFapiApi } from './fapi-api.ts';
import { gatehouse } from './gatehouse.ts';
import { freePort } from './ports.ts';
import { type ProofKey, proofKey } from './proof-key.ts';
import { startTestServer, type TestServer } from './server.ts';
import { TEST_KEY_ENCRYPTION_KEY } from './template.ts';
import { trustingFetch } from './trusting-fetch.ts';

export const CALLBACK = 'https://suite.example/test/a/gatehouse/callback';
export const PREFIX = 'fapi2-security-profile-final-';
export const FAPI_ALGS = ['PS256', 'ES256', 'EdDSA', 'Ed25519'];

export interface Variant {
  readonly profile: 'oauth21' | 'fapi2-security' | 'fapi2-message-signing';
  readonly authentication: 'private_key_jwt' | 'mtls';
  readonly constraint: 'dpop' | 'mtls';
  readonly openid: boolean;
  /** Requests as signed request objects (`signed_non_repudiation`). */
  readonly signed?: boolean;
  readonly jarm?: boolean;
  /** Requests with `authorization_details` beside the scope (`authorization_request_type=rar`). */
  readonly rar?: boolean;
  /** Whether the server and the API demand nonces in DPoP proofs. */
  readonly nonces?: boolean;
  /** Whether clients with certificates have a port of their own, announced by `mtls_endpoint_aliases`. */
  readonly ownPort?: boolean;
  /** Whether clients are made by the command line, as an operator makes them, or by what it calls. */
  readonly commandLine?: boolean;
}

/** One of the two clients. */
export interface FapiClient {
  readonly id: string;
  readonly redirectUri: string;
  /** Signs assertions and request objects. */
  readonly key: ClientKey;
  readonly certificate: CertificateFiles;
  readonly proofKey: ProofKey;
  /** With its certificate, where the variant has any. */
  readonly fetch: typeof fetch;
}

export interface Fapi {
  readonly variant: Variant;
  readonly server: TestServer;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly api: FapiApi;
  /** The last DPoP nonce of the server and of each resource, as a client keeps them (RFC 9449 §8.2, §9). */
  readonly nonces: Map<string, string>;
  /** The certificate of the server and the API, for RSA: what an EC key could not be asked for is refused by settings alone. */
  readonly tls: CertificateFiles;
  readonly client: FapiClient;
  readonly client2: FapiClient;
  /** Without any certificate. */
  readonly fetch: typeof fetch;
  /** With that certificate. */
  fetchAs(own: CertificateFiles): typeof fetch;
  /** A fresh certificate for a name, of the authority that the server trusts. */
  issued(name: string, options?: CertificateOptions): Promise<CertificateFiles>;
  browser(): TestBrowser;
  close(): Promise<void>;
}

export async function startFapi(variant: Variant): Promise<Fapi> {
  const folder = await mkdtemp(join(tmpdir(), 'gatehouse-fapi-'));
  const [tls, authority] = await Promise.all([
    makeSelfSigned(join(folder, 'server'), { subject: '/CN=localhost', names: 'DNS:localhost', keyType: 'rsa' }),
    makeAuthority(join(folder, 'authority')),
  ]);
  const server = await startTestServer({
    env: {
      GATEHOUSE_PROFILE: variant.profile,
      GATEHOUSE_TLS_CERT: tls.cert,
      GATEHOUSE_TLS_KEY: tls.key,
      GATEHOUSE_MTLS_CA: authority.cert,
      ...(variant.ownPort && { GATEHOUSE_MTLS_PORT: String(await freePort()) }),
      ...(variant.nonces && { GATEHOUSE_DPOP_NONCE: 'on' }),
    },
  });
  const api = await startFapiApi(server.issuer, tls, variant);
  const issued: Fapi['issued'] = (name, options) =>
    authority.issue(join(folder, `${name}-${randomUUID()}`), { subject: `/C=DE/O=Suite/CN=${name}`, ...options });
  const [alice] = DEMO_USERS;
  await server.user(alice);
  await server.resource({ ...api.registration });
  const [client, client2] = await Promise.all(
    (['client', 'client2'] as const).map(async (name): Promise<FapiClient> => {
      const first = name === 'client';
      const alg = first ? 'PS256' : 'ES256';
      const key = await clientKey(alg, `${name}-key`);
      const certificate = await issued(name);
      const metadata = metadataOf(name, key, variant);
      if (variant.commandLine) await createClient(server, variant.profile, metadata);
      else await server.client(metadata);
      return {
        id: name,
        redirectUri: first ? CALLBACK : `${CALLBACK}?dummy1=lorem&dummy2=ipsum`,
        key,
        certificate,
        proofKey: await proofKey(alg),
        fetch: trustingFetch(tls.cert, usesCertificates(variant) ? certificate : undefined),
      };
    }),
  );
  if (!client || !client2) throw new Error('two clients');
  const trusting = trustingFetch(tls.cert);
  const wellKnown = variant.openid ? 'openid-configuration' : 'oauth-authorization-server';
  const discovered = await trusting(`${server.issuer}/.well-known/${wellKnown}`);
  return {
    variant,
    server,
    metadata: (await discovered.json()) as Record<string, unknown>,
    api,
    nonces: new Map(),
    tls,
    client,
    client2,
    fetch: trusting,
    fetchAs: (own) => trustingFetch(tls.cert, own),
    issued,
    browser: () => new TestBrowser(server, trusting),
    async close() {
      await api.close();
      await server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Whether its clients show certificates at all. */
export function usesCertificates({ authentication, constraint }: Variant): boolean {
  return authentication === 'mtls' || constraint === 'mtls';
}

function metadataOf(name: string, key: ClientKey, variant: Variant): Record<string, unknown> {
  const mtls = variant.authentication === 'mtls';
  return {
    client_id: name,
    client_name: `Conformance suite: ${name}`,
    redirect_uris: [CALLBACK, `${CALLBACK}?dummy1=lorem&dummy2=ipsum`],
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    // Claims by name keep to the scopes a client is registered for, so those are there too.
    scope: variant.openid ? `${scopeOf(variant)} profile email address phone` : scopeOf(variant),
    token_endpoint_auth_method: mtls ? 'tls_client_auth' : 'private_key_jwt',
    ...(mtls && { tls_client_auth_subject_dn: `CN=${name},O=Suite,C=DE` }),
    ...((!mtls || variant.signed) && { jwks: { keys: [key.jwk] } }),
    ...(variant.constraint === 'dpop'
      ? { dpop_bound_access_tokens: true }
      : { tls_client_certificate_bound_access_tokens: true }),
    ...(variant.signed && { require_signed_request_object: true, request_object_signing_alg: key.alg }),
    ...(variant.jarm && { response_modes: ['jwt'] }),
    ...(variant.rar && { authorization_details_types: DETAILS.map(({ type }) => type) }),
  };
}

/** What the clients ask for: `openid` where it is OpenID Connect. */
export function scopeOf({ openid }: Variant): string {
  return openid ? 'openid things.read' : 'things.read';
}

async function createClient(server: TestServer, profile: string, metadata: Record<string, unknown>): Promise<void> {
  const { code, stderr } = await gatehouse(['clients', 'create', '--file', '-', '--format', 'json'], {
    env: {
      DATABASE_URL: server.databaseUrl,
      GATEHOUSE_PROFILE: profile,
      GATEHOUSE_KEY_ENCRYPTION_KEY: TEST_KEY_ENCRYPTION_KEY.toString('base64url'),
    },
    input: JSON.stringify(metadata),
  });
  if (code !== 0) throw new Error(`gatehouse clients create: ${stderr}`);
}
