/**
 * Client credentials: a backend acting for itself (RFC 6749 §4.4). No refresh token, no ID token, no user. Minting a
 * JWT needs no round trip to the database, an opaque token one.
 */
import { ungrantedAuthorization } from '../../protocol/authorization.ts';
import { parseAuthorizationDetails } from '../../protocol/authorization-details.ts';
import { OAuthError } from '../../protocol/errors.ts';
import type { Feature } from '../../protocol/feature.ts';
import { OPENID_SCOPES } from '../../protocol/resource.ts';
import { parseScope } from '../../protocol/scope.ts';

export function clientCredentials(): Feature {
  return {
    name: 'client-credentials',
    grantTypes: [
      {
        name: 'client_credentials',
        async verify({ client, parameters }, server) {
          const resources = await server.catalogue.resources();
          // Scopes of OpenID Connect are about a person, and there is none.
          const own = client.scope.filter(
            (token) => !Object.hasOwn(OPENID_SCOPES, token) && resources.isKnownScope(token),
          );
          const asked = parameters.get('scope');
          if (asked !== undefined && !parseScope(asked).every((token) => own.includes(token))) {
            throw new OAuthError('invalid_scope', 'The scope is unknown or not open to this client.');
          }
          // There is no grant to be within: what its registration allows is asked for anew each time (RFC 9396 §5).
          const details = parseAuthorizationDetails(parameters.get('authorization_details'), client, resources);
          return {
            authorization: ungrantedAuthorization(client, {
              scope: asked === undefined && details !== undefined ? [] : own,
              authorizationDetails: details ?? [],
            }),
            newRefreshToken: false,
            async spend({ accessToken, marks }) {
              const used = await server.ledger.record(accessToken, marks);
              if (used) throw used.refusal;
              return {};
            },
          };
        },
      },
    ],
  };
}
