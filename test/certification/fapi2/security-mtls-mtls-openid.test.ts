/** Plan fapi2-security-profile-final-test-plan: mutual TLS, certificate-bound tokens, OpenID Connect; what differs. */
import { flowModules } from './authorization.ts';
import { discoveryModules } from './discovery.ts';
import { fapi2Plan } from './plan.ts';
import { tokenModules } from './token.ts';

fapi2Plan(
  { profile: 'fapi2-security', authentication: 'mtls', constraint: 'mtls', openid: true, ownPort: true },
  discoveryModules,
  flowModules,
  tokenModules,
);
