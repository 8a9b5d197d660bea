/**
 * Discovery: RFC 8414 §2, OpenID Connect Discovery §3, §4; RFC 7517. One document at both addresses, generated from
 * the registries, so it says what is served and nothing else. URLs come from the configured issuer, never from a header.
 */
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import type { Feature } from '../../protocol/feature.ts';
import { OPENID_SCOPES } from '../../protocol/resource.ts';

/** Seconds a document may be kept. Keys are published a day before they sign, so ten minutes are plenty. */
const MAX_AGE = 600;

export function discovery(): Feature {
  return {
    name: 'discovery',
    endpoints: [
      { caller: 'public', path: '/.well-known/openid-configuration', maxAge: MAX_AGE, document: serverMetadata },
      { caller: 'public', path: '/.well-known/oauth-authorization-server', maxAge: MAX_AGE, document: serverMetadata },
      {
        caller: 'public',
        path: '/jwks',
        metadata: 'jwks_uri',
        maxAge: MAX_AGE,
        document: async ({ keyring }) => ({ keys: await keyring.published() }),
      },
    ],
  };
}

/** RFC 8414 §2 has a list for each of these; elsewhere the token endpoint's counts (RFC 9126 §5). */
const OWN_METHODS = new Set(['token_endpoint', 'introspection_endpoint', 'revocation_endpoint']);

async function serverMetadata(server: AuthorizationServer): Promise<Record<string, unknown>> {
  const { registries, issuer } = server;
  const resources = await server.catalogue.resources();
  const openid = registries.features.some(({ name }) => name === 'userinfo');
  const methods = [...registries.clientAuthenticationMethods.keys()];
  const metadata: Record<string, unknown> = {
    issuer,
    ...Object.fromEntries(
      registries.endpoints.flatMap(({ path, metadata: name }) => (name === undefined ? [] : [[name, issuer + path]])),
    ),
    scopes_supported: [
      ...(openid ? Object.keys(OPENID_SCOPES) : []),
      ...resources.all.flatMap(({ scopes }) => Object.keys(scopes)),
    ],
    response_types_supported: [...registries.responseTypes.keys()],
    response_modes_supported: [...registries.responseModes.keys()],
    grant_types_supported: [...registries.grantTypes.keys()],
    ...Object.fromEntries(
      // RFC 8414 §2: each endpoint that clients authenticate at names its methods; the defaults would mislead.
      registries.endpoints.flatMap((endpoint) =>
        endpoint.caller === 'client' && endpoint.metadata !== undefined && OWN_METHODS.has(endpoint.metadata)
          ? [
              [
                `${endpoint.metadata}_auth_methods_supported`,
                methods.filter((method) => endpoint.publicClients || method !== 'none'),
              ],
            ]
          : [],
      ),
    ),
    ...Object.assign({}, ...registries.features.map((feature) => feature.serverMetadata?.(server) ?? {})),
  };
  // RFC 8414 §3.2: claims with zero elements must be omitted.
  return Object.fromEntries(Object.entries(metadata).filter(([, value]) => !Array.isArray(value) || value.length > 0));
}
