/**
 * Discovery: RFC 8414 §2, OpenID Connect Discovery §3, §4; RFC 7517. One document at both addresses, generated from
 * the registries, so it says what is served and nothing else. URLs come from the configured issuer, never from a header.
 */
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import { DESCRIBED_ENDPOINTS } from '../../protocol/client-authentication.ts';
import type { Feature } from '../../protocol/feature.ts';
import type { Resources } from '../../protocol/resource.ts';

/** Seconds a document may be kept. Keys are published a day before they sign, so ten minutes are plenty. */
const MAX_AGE = 600;

export function discovery(): Feature {
  const metadata = oncePer(serverMetadata);
  const keySet = oncePer((keys: readonly unknown[]) => ({ keys }));
  const document = async (server: AuthorizationServer) => metadata(await server.catalogue.resources(), server);
  return {
    name: 'discovery',
    endpoints: [
      { caller: 'public', path: '/.well-known/openid-configuration', maxAge: MAX_AGE, document },
      { caller: 'public', path: '/.well-known/oauth-authorization-server', maxAge: MAX_AGE, document },
      {
        caller: 'public',
        path: '/jwks',
        metadata: 'jwks_uri',
        maxAge: MAX_AGE,
        document: async ({ keyring }) => keySet(await keyring.published()),
      },
    ],
  };
}

/** The same document as long as it is made from the same thing: the edge need not write it out again. */
function oncePer<Source extends object, Rest extends unknown[], Document>(
  make: (source: Source, ...rest: Rest) => Document,
): (source: Source, ...rest: Rest) => Document {
  const made = new WeakMap<Source, Document>();
  return (source, ...rest) => {
    const document = made.get(source) ?? make(source, ...rest);
    made.set(source, document);
    return document;
  };
}

/** What follows from the registries, and what rooms say beside it; lists that several speak to are joined. */
function serverMetadata(resources: Resources, server: AuthorizationServer): Record<string, unknown> {
  const { registries, issuer } = server;
  const methods = [...registries.clientAuthenticationMethods.keys()];
  const parts: Record<string, unknown>[] = [
    { issuer },
    Object.fromEntries(
      registries.endpoints.flatMap(({ path, metadata: name }) => (name === undefined ? [] : [[name, issuer + path]])),
    ),
    {
      response_types_supported: [...registries.responseTypes.keys()],
      response_modes_supported: [...registries.responseModes.keys()],
      grant_types_supported: [...registries.grantTypes.keys()],
    },
    // RFC 8414 §2: each endpoint that clients authenticate at names its methods; the defaults would mislead.
    Object.fromEntries(
      registries.endpoints.flatMap((endpoint) =>
        endpoint.caller === 'client' && endpoint.metadata !== undefined && DESCRIBED_ENDPOINTS.has(endpoint.metadata)
          ? [
              [
                `${endpoint.metadata}_auth_methods_supported`,
                methods.filter((method) => endpoint.publicClients || method !== 'none'),
              ],
            ]
          : [],
      ),
    ),
    ...registries.features.map((feature) => feature.serverMetadata?.(server) ?? {}),
    {
      scopes_supported: resources.all.flatMap(({ scopes }) => Object.keys(scopes)),
      // RFC 9396 §10.
      authorization_details_types_supported: resources.all.flatMap(({ detailsTypes }) =>
        detailsTypes.map(({ name }) => name),
      ),
    },
  ];
  const metadata: Record<string, unknown> = {};
  for (const [name, value] of parts.flatMap(Object.entries)) {
    const before = metadata[name];
    metadata[name] = Array.isArray(before) && Array.isArray(value) ? [...before, ...value] : value;
  }
  // RFC 8414 §3.2: claims with zero elements must be omitted.
  return Object.fromEntries(Object.entries(metadata).filter(([, value]) => !Array.isArray(value) || value.length > 0));
}
