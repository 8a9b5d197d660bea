/**
 * Userinfo: OpenID Connect Core §5.3, §5.4. The claims a person let this client see, by scope and by name. One round trip.
 *
 * JSON, or a JWT for a client that registered `userinfo_signed_response_alg`; what it registered to get encrypted is
 * encrypted last. The JWT is an answer, not a token: it has neither `exp` nor `iat` nor `at_hash`, so nothing that reads
 * ID tokens takes it for one, we (id-token.ts) no more than a relying party (RFC 8725 §2.8).
 */
import { z } from 'zod';
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import { CLAIMS_BY_SCOPE, claimsOfScope } from '../../protocol/claims.ts';
import { claimsRequested } from '../../protocol/claims-request.ts';
import { type Client, findClient } from '../../protocol/client.ts';
import { encryptForClient } from '../../protocol/client-keys.ts';
import { OAuthError } from '../../protocol/errors.ts';
import type { Feature } from '../../protocol/feature.ts';
import { isSigningAlg, type SigningAlg, signJwt } from '../../protocol/jose.ts';
import { encryptionAlgs, encryptionEncs } from '../../protocol/jose-client.ts';
import type { EndpointResponse } from '../../protocol/message.ts';
import { encryptionAlg, encryptionEnc, encryptionOf, encryptionProblem } from '../../protocol/response-encryption.ts';
import { subjectOf } from '../../protocol/subject.ts';

export function userinfo({ algs }: { algs: readonly SigningAlg[] }): Feature {
  return {
    name: 'userinfo',
    endpoints: [
      {
        caller: 'bearer',
        path: '/userinfo',
        metadata: 'userinfo_endpoint',
        scope: 'openid',
        async handle(_request, token, server) {
          const { user, scope, claims } = token;
          const client = await findClient(server.catalogue, token.clientId);
          // A token that stands for no person (client_credentials) has nobody to tell about.
          if (!user || !client) throw new OAuthError('invalid_token', 'The token does not stand for a user.');
          return respond(
            {
              sub: subjectOf(user, client, server),
              ...claimsOfScope(user, scope),
              ...claimsRequested(user, claims.userinfo, client.scope),
            },
            client,
            server,
          );
        },
      },
    ],
    clientMetadata: {
      userinfo_signed_response_alg: z.enum(algs).optional(),
      userinfo_encrypted_response_alg: encryptionAlg.optional(),
      userinfo_encrypted_response_enc: encryptionEnc.optional(),
    },
    checkClientMetadata: (metadata) => encryptionProblem(metadata, 'userinfo'),
    serverMetadata: () => ({
      scopes_supported: Object.keys(CLAIMS_BY_SCOPE),
      claims_supported: Object.values(CLAIMS_BY_SCOPE).flat(),
      claim_types_supported: ['normal'],
      userinfo_signing_alg_values_supported: algs,
      userinfo_encryption_alg_values_supported: encryptionAlgs,
      userinfo_encryption_enc_values_supported: encryptionEncs,
    }),
  };
}

/** §5.3.2: as the client registered it. */
async function respond(
  claims: Readonly<Record<string, unknown>>,
  client: Client,
  server: AuthorizationServer,
): Promise<EndpointResponse> {
  const alg = client.metadata.userinfo_signed_response_alg;
  const encryption = encryptionOf(client.metadata, 'userinfo');
  if (!isSigningAlg(alg) && !encryption) return { status: 200, body: claims };
  const content = isSigningAlg(alg) ? await sign(claims, alg, client, server) : JSON.stringify(claims);
  const body = encryption ? await encryptForClient(content, client, encryption, server) : content;
  return { status: 200, headers: { 'content-type': 'application/jwt' }, body };
}

async function sign(
  claims: Readonly<Record<string, unknown>>,
  alg: SigningAlg,
  client: Client,
  server: AuthorizationServer,
): Promise<string> {
  const key = await server.keyring.signing(alg);
  return signJwt(key, 'JWT', { ...claims, iss: server.issuer, aud: client.id });
}
