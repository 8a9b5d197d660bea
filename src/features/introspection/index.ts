/**
 * Introspection, RFC 7662: what a token is worth, told to the API it is for and to the client that holds it. Everybody
 * else, and everything that does not stand, gets exactly `{"active":false}`: no oracle. One round trip. Signed, by RFC 9701, for
 * who wants to be able to prove later what it was told.
 */

import { z } from 'zod';
import { readAccessToken, withOpenAccess } from '../../protocol/access-token.ts';
import { claimsOfAuthentication } from '../../protocol/authorization.ts';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import { claimsOfCall, subjectOfToken } from '../../protocol/call.ts';
import { type Client, findClient } from '../../protocol/client.ts';
import { OAuthError } from '../../protocol/errors.ts';
import type { ClientRequest, Feature } from '../../protocol/feature.ts';
import { isSigningAlg, type SigningAlg, seconds, signJwt } from '../../protocol/jose.ts';
import { encryptionAlgs, encryptionEncs } from '../../protocol/jose-client.ts';
import type { StandingToken } from '../../protocol/ledger.ts';
import type { EndpointResponse } from '../../protocol/message.ts';
import { type Profile, profileOf } from '../../protocol/profile.ts';
import { asRegistered, encryptionAlg, encryptionEnc, encryptionProblem } from '../../protocol/response-encryption.ts';
import { parseCredential } from '../../protocol/secrets.ts';

export function introspection({ signingAlgs }: Profile): Feature {
  return {
    name: 'introspection',
    clientMetadata: {
      introspection_signed_response_alg: z.enum(signingAlgs as [SigningAlg, ...SigningAlg[]]).optional(),
      introspection_encrypted_response_alg: encryptionAlg.optional(),
      introspection_encrypted_response_enc: encryptionEnc.optional(),
    },
    checkClientMetadata: (metadata) => encryptionProblem(metadata, 'introspection'),
    serverMetadata: () => ({
      introspection_signing_alg_values_supported: signingAlgs,
      introspection_encryption_alg_values_supported: encryptionAlgs,
      introspection_encryption_enc_values_supported: encryptionEncs,
    }),
    endpoints: [
      {
        caller: 'client',
        path: '/token_info',
        aliases: ['/introspect'],
        metadata: 'introspection_endpoint',
        cors: false,
        publicClients: false,
        async handle(request, server) {
          const { parameters, client, now, trace } = request;
          const text = parameters.get('token');
          if (text === undefined) throw new OAuthError('invalid_request', 'token is required.');
          // The prefix tells what it is; token_type_hint is a hint we do not need (§2.1).
          const refreshToken = parseCredential('refresh_token', text);
          const token = refreshToken
            ? await withOpenAccess(await server.ledger.findRefreshToken(refreshToken, now), server)
            : await readAccessToken(text, now, server);
          trace.event = 'introspected';
          const known = token !== undefined && (await mayKnow(client, token, server));
          return answer(known ? await describe(token, server) : { active: false }, request, server);
        },
      },
    ],
  };
}

const SIGNED = 'application/token-introspection+jwt';

/**
 * As JSON, or as a JWT for who asks for one or is registered to get nothing else (RFC 9701 §4, §5). It has no `sub` and no
 * `exp` of its own and a type of its own, so it passes for no other token (§8.1).
 */
async function answer(
  body: Readonly<Record<string, unknown>>,
  { client, now, accept = '' }: ClientRequest,
  server: AuthorizationServer,
): Promise<EndpointResponse> {
  const { introspection_signed_response_alg: registered } = client.metadata;
  if (registered === undefined && !accept.toLowerCase().includes(SIGNED)) return { status: 200, body };
  const alg = isSigningAlg(registered) ? registered : profileOf(client, server.profile).idTokenAlg;
  const jwt = await signJwt(await server.keyring.signing(alg), 'token-introspection+jwt', {
    iss: server.issuer,
    aud: client.id,
    iat: seconds(now),
    token_introspection: body,
  });
  return {
    status: 200,
    headers: { 'content-type': SIGNED },
    body: await asRegistered(jwt, client, 'introspection', server),
  };
}

async function mayKnow(client: Client, token: StandingToken, server: AuthorizationServer): Promise<boolean> {
  if (token.clientId === client.id) return true;
  if (token.kind === 'refresh_token') return false;
  const resources = await server.catalogue.resources();
  return token.audience.some((indicator) => resources.get(indicator)?.introspectionClients.includes(client.id));
}

/** §2.2. `username` is left out: an API gets it only with the claims a person consented to. */
async function describe(token: StandingToken, server: AuthorizationServer): Promise<Record<string, unknown>> {
  const { authentication, audience } = token;
  const holder = await findClient(server.catalogue, token.clientId);
  // Disabled since the statement: a person's token must not read like its client's own.
  if (!holder) return { active: false };
  return {
    active: true,
    iss: server.issuer,
    sub: subjectOfToken(token, holder, server),
    ...(audience.length > 0 && { aud: audience.length === 1 ? audience[0] : audience }),
    client_id: token.clientId,
    ...(token.scope.length > 0 && { scope: token.scope.join(' ') }),
    // RFC 9396 §9.2: an access token has those of its API only.
    ...(token.authorizationDetails.length > 0 && { authorization_details: token.authorizationDetails }),
    ...(token.kind === 'access_token' && { token_type: token.cnf?.jkt === undefined ? 'Bearer' : 'DPoP' }),
    ...(token.cnf && { cnf: token.cnf }),
    iat: seconds(token.issuedAt),
    exp: seconds(token.expiresAt),
    jti: token.jti,
    ...(token.kind === 'access_token' && claimsOfCall(token.jti, token.call, token.mayAct)),
    ...claimsOfAuthentication(authentication),
  };
}
