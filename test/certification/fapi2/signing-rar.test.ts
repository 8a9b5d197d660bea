/**
 * Plan fapi2-message-signing-final-test-plan: authorization_request_type=rar, signed requests, JARM, mutual TLS, plain OAuth;
 * what differs.
 */
import { flowModules } from './authorization.ts';
import { discoveryModules } from './discovery.ts';
import { fapi2Plan } from './plan.ts';
import { rarModules } from './rar.ts';
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
    rar: true,
    ownPort: true,
  },
  discoveryModules,
  flowModules,
  tokenModules,
  requestObjectModules,
  rarModules,
);
