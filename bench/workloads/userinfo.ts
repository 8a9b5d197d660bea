/** A client asks who a person is: OpenID Connect Core §5.3. */
import { cycle, oneRequest, requestsTo, type Workload } from '../servers/target.ts';
import { tokensOfPeople } from './code-requests.ts';

export const userinfo: Workload = {
  name: 'userinfo',
  about: 'GET /userinfo with the opaque access token of a person',
  ceiling: 'one SELECT over token, grant and person',
  servers: ['gatehouse', 'oidc-provider', 'ceiling'],
  async prepare(target, setting) {
    const tokens = await tokensOfPeople(target, this.name, setting, { client: 'web', scope: 'openid' }, setting.tokens);
    const requests = requestsTo(target, this.name);
    const prepared = tokens.map(({ accessToken }) =>
      requests.get('/userinfo', { Authorization: `Bearer ${accessToken}` }),
    );
    return (connection) => oneRequest(cycle(prepared, connection, setting.connections), 200, '"sub":"');
  },
};
