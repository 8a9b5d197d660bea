/** Plan fapi2-security-profile-final-test-plan: authorization_request_type=rar with private_key_jwt, DPoP, OpenID Connect; what differs. */
import { authorizationModules, flowModules } from './authorization.ts';
import { discoveryModules } from './discovery.ts';
import { fapi2Plan } from './plan.ts';
import { rarModules } from './rar.ts';
import { tokenModules } from './token.ts';

fapi2Plan(
  { profile: 'fapi2-security', authentication: 'private_key_jwt', constraint: 'dpop', openid: true, rar: true },
  discoveryModules,
  flowModules,
  authorizationModules,
  tokenModules,
  rarModules,
);
