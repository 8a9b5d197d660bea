/** The protected resource of the FAPI plans: an API on https that takes tokens bound as the variant binds them. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import Fastify, { type FastifyInstance } from 'fastify';
import { resourceServer } from 'gatehouse/resource-server';
import { vi } from 'vitest';
import type { CertificateFiles } from './certificate.ts';
import { freePort } from './ports.ts';
import { trustingFetch } from './trusting-fetch.ts';

export interface FapiApi {
  /** What is asked for: a GET. */
  readonly url: string;
  /** How the server knows it. */
  readonly registration: Readonly<Record<string, unknown>>;
  close(): Promise<void>;
}

/** What the API may be asked for in detail (RFC 9396), where the variant does. */
export const DETAILS = [{ type: 'thing_access', thing: 'The red one', actions: ['look', 'turn'] }];

const DETAILS_TYPE = {
  description: 'Use “{thing}”',
  schema: {
    type: 'object',
    properties: {
      thing: { type: 'string', minLength: 1 },
      actions: { type: 'array', items: { type: 'string', enum: ['look', 'turn', 'break'] }, minItems: 1 },
    },
    required: ['thing', 'actions'],
    additionalProperties: false,
  },
};

export interface FapiApiOptions {
  readonly constraint: 'dpop' | 'mtls';
  /** Whether it has a type of authorization details. */
  readonly rar?: boolean;
  /** Whether every proof must carry a nonce of its own. */
  readonly nonces?: boolean;
}

export async function startFapiApi(
  issuer: string,
  tls: CertificateFiles,
  { constraint, rar = false, nonces = false }: FapiApiOptions,
): Promise<FapiApi> {
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
  await app.register(resourceServer, {
    issuer,
    resource,
    token: { kind: 'jwt' },
    bindings: [constraint],
    ...(nonces && { dpop: { nonceKey: randomBytes(32) } }),
  });
  app.get('/things', { onRequest: app.requireScope('things.read') }, async ({ accessToken, headers }, reply) => {
    const interaction = headers['x-fapi-interaction-id'];
    if (interaction !== undefined) reply.header('x-fapi-interaction-id', interaction);
    const { sub, scope, authorizationDetails } = accessToken;
    return { sub, scope: [...scope], authorization_details: authorizationDetails };
  });
  await app.listen({ host: 'localhost', port });
  return {
    url: `${resource}/things`,
    registration: {
      resource,
      name: 'Things',
      scopes: { 'things.read': 'See things' },
      access_token_format: 'jwt',
      ...(rar && { authorization_details_types: { thing_access: DETAILS_TYPE } }),
    },
    async close() {
      await app.close();
      vi.unstubAllGlobals();
    },
  };
}
