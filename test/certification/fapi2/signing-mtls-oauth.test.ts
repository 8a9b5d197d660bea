/** Plan fapi2-message-signing-final-test-plan: signed requests, JARM, with mutual TLS and plain OAuth; what differs. */

import { flowModules } from './authorization.ts';
import { discoveryModules } from './discovery.ts';
import { fapi2Plan } from './plan.ts';
import { requestObjectModules } from './request-object.ts';
import { tokenModules } from './token.ts';

fapi2Plan(
  {
    profile: 'fapi2-message-signing',
    authentication: 'mtls',
    constraint: 'mtls',
    openid: false,
    signed: true,
    jarm: true,
    ownPort: true,
  },
  discoveryModules,
  flowModules,
  tokenModules,
  requestObjectModules,
);
