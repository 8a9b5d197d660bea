/** The authorization endpoint, RFC 6749 §3.1. Its order is the kernel's (src/protocol/authorize.ts). */
import { authorize } from '../../protocol/authorize.ts';
import type { Feature } from '../../protocol/feature.ts';

export function authorizationEndpoint(): Feature {
  return {
    name: 'authorization-endpoint',
    endpoints: [
      {
        caller: 'browser',
        path: '/authorize',
        metadata: 'authorization_endpoint',
        get: authorize,
        // OpenID Connect Core §3.1.2.1: the request may be posted, and it is posted from the client's site.
        post: authorize,
        crossOrigin: true,
      },
    ],
    serverMetadata: () => ({
      authorization_response_iss_parameter_supported: true, // RFC 9207 §3
      request_parameter_supported: false,
      // OpenID Connect Discovery §3: the default would be true.
      request_uri_parameter_supported: false,
      claims_parameter_supported: false,
    }),
  };
}
