/** Plan fapi2-security-profile-final-test-plan: private_key_jwt, certificate-bound tokens, OpenID Connect; what differs. */
import { assertionModules } from './assertion.ts';
import { flowModules } from './authorization.ts';
import { discoveryModules } from './discovery.ts';
import { fapi2Plan } from './plan.ts';
import { tokenModules } from './token.ts';

fapi2Plan(
  { profile: 'fapi2-security', authentication: 'private_key_jwt', constraint: 'mtls', openid: true, ownPort: true },
  discoveryModules,
  flowModules,
  tokenModules,
  assertionModules,
);
