/** The token endpoint, RFC 6749 §3.2. Its order is the kernel's (src/protocol/token.ts). */
import type { Feature } from '../../protocol/feature.ts';
import { token } from '../../protocol/token.ts';

export function tokenEndpoint(): Feature {
  return {
    name: 'token-endpoint',
    endpoints: [
      {
        caller: 'client',
        path: '/token',
        metadata: 'token_endpoint',
        cors: true,
        publicClients: true,
        claimsMarks: true,
        handle: token,
      },
    ],
  };
}
