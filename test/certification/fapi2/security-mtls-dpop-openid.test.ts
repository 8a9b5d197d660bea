/** Plan fapi2-security-profile-final-test-plan: mutual TLS, DPoP, OpenID Connect; what differs. */

import { flowModules } from './authorization.ts';
import { discoveryModules } from './discovery.ts';
import { dpopModules } from './dpop.ts';
import { fapi2Plan } from './plan.ts';
import { tokenModules } from './token.ts';

fapi2Plan(
  { profile: 'fapi2-security', authentication: 'mtls', constraint: 'dpop', openid: true, ownPort: true },
  discoveryModules,
  flowModules,
  tokenModules,
  dpopModules,
);
