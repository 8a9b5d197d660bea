/** Plan fapi2-security-profile-final-test-plan: private_key_jwt, DPoP, OpenID Connect; every module. */
import { assertionModules } from './assertion.ts';
import { authorizationModules, flowModules } from './authorization.ts';
import { discoveryModules } from './discovery.ts';
import { dpopModules } from './dpop.ts';
import { parModules } from './par.ts';
import { fapi2Plan } from './plan.ts';
import { codeModules, tokenModules } from './token.ts';

fapi2Plan(
  { profile: 'fapi2-security', authentication: 'private_key_jwt', constraint: 'dpop', openid: true, commandLine: true },
  discoveryModules,
  flowModules,
  authorizationModules,
  tokenModules,
  codeModules,
  assertionModules,
  dpopModules,
  parModules,
);
