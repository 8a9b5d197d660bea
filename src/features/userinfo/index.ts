/** Userinfo: OpenID Connect Core §5.3, §5.4. The claims a person let this client see, by scope. One round trip. */
import { CLAIMS_BY_SCOPE, claimsOfScope } from '../../protocol/claims.ts';
import { claimsRequested } from '../../protocol/claims-request.ts';
import { findClient } from '../../protocol/client.ts';
import { OAuthError } from '../../protocol/errors.ts';
import type { Feature } from '../../protocol/feature.ts';
import { subjectOf } from '../../protocol/subject.ts';

export function userinfo(): Feature {
  return {
    name: 'userinfo',
    endpoints: [
      {
        caller: 'bearer',
        path: '/userinfo',
        metadata: 'userinfo_endpoint',
        scope: 'openid',
        async handle(_request, token, server) {
          // A token that stands for no person (client_credentials) has nobody to tell about.
          if (!token.user) throw new OAuthError('invalid_token', 'The token does not stand for a user.');
          const client = await findClient(server.catalogue, token.clientId);
          if (!client) throw new OAuthError('invalid_token', 'The token does not stand for a user.');
          const { user, scope, claims } = token;
          const body = {
            sub: subjectOf(user, client, server),
            ...claimsOfScope(user, scope),
            ...claimsRequested(user, claims.userinfo),
          };
          return { status: 200, body };
        },
      },
    ],
    serverMetadata: ({ profile }) => ({
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: [
        profile.idTokenAlg,
        ...profile.signingAlgs.filter((alg) => alg !== profile.idTokenAlg),
      ],
      claim_types_supported: ['normal'],
      claims_supported: [
        'sub',
        'iss',
        'aud',
        'exp',
        'iat',
        'auth_time',
        'acr',
        'amr',
        'nonce',
        'at_hash',
        ...Object.values(CLAIMS_BY_SCOPE).flat(),
      ],
    }),
  };
}
