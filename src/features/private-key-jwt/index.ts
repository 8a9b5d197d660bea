/**
 * `private_key_jwt`: the client signs that it is itself. RFC 7521 §4.2, RFC 7523 §2.2 and §3 as its revision narrows them,
 * OpenID Connect Core §9, FAPI 2.0 SP §5.3.2.1-6, -8, -13.
 *
 * The audience is the issuer and nothing else: an assertion that names an endpoint could have been asked for by another
 * server, and be replayed here (audience injection). How strictly it is read is the profile's to say. Each assertion is good
 * once: its `jti` is claimed with the statement that it pays for.
 */

import { z } from 'zod';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import type { Client } from '../../protocol/client.ts';
import { DESCRIBED_ENDPOINTS } from '../../protocol/client-authentication.ts';
import { verifyJwtOf } from '../../protocol/client-keys.ts';
import { OAuthError } from '../../protocol/errors.ts';
import type { ClaimedClient, Feature } from '../../protocol/feature.ts';
import { unverifiedPart } from '../../protocol/jose.ts';
import { algsOf, checkTimes, clientSigningAlgs, type JwtClaims, JwtRefused } from '../../protocol/jose-client.ts';
import type { EndpointRequest } from '../../protocol/message.ts';
import { type Profile, profileOf } from '../../protocol/profile.ts';
import { replayMark } from '../../protocol/replay.ts';

const TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
/** Characters. */
const LONGEST = 8192;
/** Without `typ`, as most write them, or as RFC 7523bis names them; anything else is another kind of token. */
const TYPES = ['client-authentication+jwt', 'jwt'];
/** Seconds an assertion may be good for, and old. */
const LONGEST_LIFE = 600;

export function privateKeyJwt(profile: Profile): Feature {
  const algs = clientSigningAlgs(profile);
  return {
    name: 'private-key-jwt',
    clientAuthenticationMethods: [{ name: 'private_key_jwt', claims: claimOf }],
    clientMetadata: {
      token_endpoint_auth_signing_alg: z.enum(algs).optional(),
      /** `issuer_or_endpoint`: libraries that know only the older rule name the endpoint. Never under FAPI. */
      assertion_audience: z.enum(['issuer', 'issuer_or_endpoint']).optional(),
    },
    checkClientMetadata: (metadata) => {
      const { token_endpoint_auth_method: method, jwks, jwks_uri } = metadata;
      return method === 'private_key_jwt' && jwks === undefined && jwks_uri === undefined
        ? { field: 'token_endpoint_auth_method', why: 'private_key_jwt needs jwks or jwks_uri' }
        : undefined;
    },
    serverMetadata: ({ registries }) =>
      registries.clientAuthenticationMethods.has('private_key_jwt')
        ? Object.fromEntries(
            registries.endpoints.flatMap(({ caller, metadata }) =>
              caller === 'client' && metadata !== undefined && DESCRIBED_ENDPOINTS.has(metadata)
                ? [[`${metadata}_auth_signing_alg_values_supported`, algs]]
                : [],
            ),
          )
        : {},
  };
}

function isStrict({ assertionAudience }: Profile): boolean {
  return assertionAudience === 'the issuer as a string';
}

function claimOf(request: EndpointRequest): ClaimedClient | undefined {
  const { parameters } = request;
  const assertion = parameters.get('client_assertion');
  const type = parameters.get('client_assertion_type');
  if (assertion === undefined && type === undefined) return undefined;
  const { sub } = unverifiedPart(assertion ?? '', 'claims') ?? {};
  return {
    // Whose keys to look for; whether it is so, the signature tells.
    clientId: parameters.get('client_id') ?? (typeof sub === 'string' ? sub : ''),
    async prove(client, server) {
      try {
        if (type !== TYPE || assertion === undefined) throw new JwtRefused('client_assertion and its type go together');
        return client && [await check(assertion, client, request, server)];
      } catch (error) {
        if (!(error instanceof JwtRefused)) throw error;
        request.trace.reason = `client assertion: ${error.message}`;
        return undefined;
      }
    },
  };
}

async function check(assertion: string, client: Client, request: EndpointRequest, server: AuthorizationServer) {
  const { now } = request;
  const profile = profileOf(client, server.profile);
  const algs = algsOf(client.metadata.token_endpoint_auth_signing_alg, profile);
  const claims = await verifyJwtOf(client, assertion, { algs, typs: TYPES, longest: LONGEST }, server);
  const { iss, sub, exp, jti } = claims;
  if (iss !== client.id || sub !== client.id) throw new JwtRefused('its iss and sub are not the client');
  checkAudience(claims, client, profile, request, server);
  if (typeof exp !== 'number') throw new JwtRefused('it has no exp');
  checkTimes(claims, now, { longest: LONGEST_LIFE });
  if (exp - now.getTime() / 1000 > LONGEST_LIFE) throw new JwtRefused('it would be good for too long');
  if (typeof jti !== 'string' || jti === '') throw new JwtRefused('it has no jti');
  const refusal = new OAuthError('invalid_client', 'Client authentication failed.');
  return replayMark('client assertion', client.id, jti, new Date(exp * 1000), refusal);
}

function checkAudience(
  { aud }: JwtClaims,
  client: Client,
  profile: Profile,
  request: EndpointRequest,
  { issuer }: AuthorizationServer,
): void {
  if (aud === issuer) return;
  if (!isStrict(profile)) {
    const [only, ...others] = Array.isArray(aud) ? aud : [aud];
    const endpoints = [request.address, `${issuer}/token`];
    const byEndpoint = client.metadata.assertion_audience === 'issuer_or_endpoint' && endpoints.includes(only);
    if (others.length === 0 && (only === issuer || byEndpoint)) return;
  }
  throw new JwtRefused('its aud is not the issuer');
}
