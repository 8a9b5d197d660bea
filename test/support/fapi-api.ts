/** The protected resource of the FAPI plans: an API on https that takes tokens bound as the variant binds them. */
import { readFileSync } from 'node:fs';
import Fastify, { type FastifyInstance } from 'fastify';
import { resourceServer } from 'gatehouse/resource-server';
import { vi } from 'vitest';
import type { CertificateFiles } from './certificate.ts';
import { freePort } from './server.ts';
import { trustingFetch } from './trusting-fetch.ts';

export interface FapiApi {
  /** What is asked for: a GET. */
  readonly url: string;
  /** How the server knows it. */
  readonly registration: Readonly<Record<string, unknown>>;
  close(): Promise<void>;
}

export async function startFapiApi(issuer: string, tls: CertificateFiles, binding: 'dpop' | 'mtls'): Promise<FapiApi> {
  const port = await freePort();
  const resource = `https://localhost:${port}`;
  // The API asks for metadata and keys over real TLS; a process trusts a certificate of a test only by its environment.
  vi.stubGlobal('fetch', trustingFetch(tls.cert));
  const https = {
    cert: readFileSync(tls.cert),
    key: readFileSync(tls.key),
    requestCert: true,
    rejectUnauthorized: false,
  };
  const app = Fastify({ https }) as unknown as FastifyInstance;
  await app.register(resourceServer, { issuer, resource, token: { kind: 'jwt' }, bindings: [binding] });
  app.get('/things', { onRequest: app.requireScope('things.read') }, async ({ accessToken, headers }, reply) => {
    const interaction = headers['x-fapi-interaction-id'];
    if (interaction !== undefined) reply.header('x-fapi-interaction-id', interaction);
    return { sub: accessToken.sub, scope: [...accessToken.scope] };
  });
  await app.listen({ host: 'localhost', port });
  return {
    url: `${resource}/things`,
    registration: { resource, name: 'Things', scopes: { 'things.read': 'See things' }, access_token_format: 'jwt' },
    async close() {
      await app.close();
      vi.unstubAllGlobals();
    },
  };
}
