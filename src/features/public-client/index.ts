/**
 * `none`: clients that cannot keep a secret name themselves and prove nothing (RFC 7591 §2, OAuth 2.1 §2.1). What
 * protects them is PKCE and the rotation of their refresh tokens.
 */
import type { Feature } from '../../protocol/feature.ts';

export function publicClient(): Feature {
  return {
    name: 'public-client',
    clientAuthenticationMethods: [
      {
        name: 'none',
        implicit: true,
        claims({ parameters, authorization }) {
          const clientId = parameters.get('client_id');
          // With a secret, an assertion or a header it is another method's request.
          const otherwise = ['client_secret', 'client_assertion', 'client_assertion_type'].some(
            (name) => parameters.get(name) !== undefined,
          );
          if (clientId === undefined || authorization.length > 0 || otherwise) return undefined;
          return { clientId, prove: async (client) => (client === undefined ? undefined : []) };
        },
      },
    ],
  };
}
