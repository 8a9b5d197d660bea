/** Userinfo: OpenID Connect Core §5.3, §5.4. The claims a person let this client see, by scope. One round trip. */
import { CLAIMS_BY_SCOPE, claimsFor } from '../../protocol/claims.ts';
import { OAuthError } from '../../protocol/errors.ts';
import type { Feature } from '../../protocol/feature.ts';

export function userinfo(): Feature {
  return {
    name: 'userinfo',
    endpoints: [
      {
        caller: 'bearer',
        path: '/userinfo',
        metadata: 'userinfo_endpoint',
        scope: 'openid',
        async handle(_request, token) {
          // A token that stands for no person (client_credentials) has nobody to tell about.
          if (!token.user) throw new OAuthError('invalid_token', 'The token does not stand for a user.');
          return { status: 200, body: claimsFor(token.user, token.scope) };
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
