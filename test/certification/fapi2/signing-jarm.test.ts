/** Plan fapi2-message-signing-final-test-plan: unsigned requests, JARM; what differs. */
import { flowModules } from './authorization.ts';
import { discoveryModules } from './discovery.ts';
import { fapi2Plan } from './plan.ts';
import { tokenModules } from './token.ts';

fapi2Plan(
  { profile: 'fapi2-message-signing', authentication: 'private_key_jwt', constraint: 'dpop', openid: true, jarm: true },
  discoveryModules,
  flowModules,
  tokenModules,
);
