/** The authorization endpoint, RFC 6749 §3.1. Its order is the kernel's (src/protocol/authorize.ts). */
import { PROMPTS } from '../../protocol/authorization-request.ts';
import { authorize } from '../../protocol/authorize.ts';
import type { Feature } from '../../protocol/feature.ts';
import { PASSWORD_AUTHENTICATION } from '../../protocol/session.ts';

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
      // OpenID Connect Discovery §3: the default would be true.
      request_uri_parameter_supported: false,
      claims_parameter_supported: true,
      prompt_values_supported: PROMPTS, // Initiating User Registration 1.0 §4.2
      acr_values_supported: [PASSWORD_AUTHENTICATION.acr],
      // May be asked for; the pages have one form and speak one language.
      display_values_supported: ['page'],
      ui_locales_supported: ['en'],
    }),
  };
}
