/** A client takes a token back: RFC 7009. What is revoked has to be fresh, so each iteration gets one first, at all servers alike. */
import { memberOf } from '../harness/connection.ts';
import { basic } from '../harness/request.ts';
import { credentialsOf, STORAGE } from '../servers/cast.ts';
import { requestsTo, type Workload } from '../servers/target.ts';

export const revocation: Workload = {
  name: 'revocation',
  about: 'POST /token for an opaque access token, POST /revoke of it',
  ceiling: 'one INSERT; one UPDATE',
  servers: ['gatehouse', 'oidc-provider', 'ceiling'],
  async prepare(target, { cast }) {
    const requests = requestsTo(target, this.name);
    const client = credentialsOf(cast, 'batch');
    const fields = { grant_type: 'client_credentials', resource: STORAGE, scope: 'storage.read' };
    const issue = requests.post('/token', fields, client);
    const form = requests.form('/revoke', basic(client));
    return () => {
      let issued = false;
      return {
        begin() {
          issued = false;
          return issue;
        },
        answered(answer) {
          if (answer.status !== 200) return 'failed';
          if (issued) return 'done';
          issued = true;
          const token = memberOf(answer, 'access_token');
          return token === undefined ? 'failed' : form(`token=${token}`);
        },
      };
    };
  },
};
