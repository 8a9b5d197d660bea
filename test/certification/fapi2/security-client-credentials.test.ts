/** Plan fapi2-security-profile-final-test-plan: fapi_client_credentials_grant with private_key_jwt and DPoP; every module. */
import { send } from '../../support/fapi-requests.ts';
import { clientCredentialsModules } from './client-credentials.ts';
import { discoveryModules } from './discovery.ts';
import { dpopNegativeModule } from './dpop.ts';
import { fapi2Plan } from './plan.ts';

fapi2Plan(
  { profile: 'fapi2-security', authentication: 'private_key_jwt', constraint: 'dpop', openid: false },
  discoveryModules,
  clientCredentialsModules,
  dpopNegativeModule(async (op, client) => {
    const fields = { grant_type: 'client_credentials', scope: 'things.read' };
    return String((await send(op, 'token_endpoint', fields, { client })).json.access_token);
  }),
);
