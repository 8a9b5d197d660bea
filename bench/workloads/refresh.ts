/** A client gets another access token: RFC 6749 §6. */
import { memberOf } from '../harness/connection.ts';
import { PHOTOS } from '../servers/cast.ts';
import { cycle, oneRequest, requestsTo, type Workload } from '../servers/target.ts';
import { authenticationOf, tokensOfPeople } from './code-requests.ts';

const RESOURCE = `&resource=${encodeURIComponent(PHOTOS)}`;

export const refresh: Workload = {
  name: 'refresh',
  about: 'POST /token with the refresh token of a confidential client, which stays: JWT access token, ID token (ES256)',
  ceiling: 'one SELECT, two ES256 signatures',
  servers: ['gatehouse', 'oidc-provider', 'ceiling'],
  async prepare(target, setting) {
    const client = 'web';
    const tokens = await tokensOfPeople(target, this.name, setting, { client }, setting.connections * 8);
    const form = requestsTo(target, this.name).form('/token', authenticationOf(setting.cast, client).headers);
    const requests = tokens.map(({ refreshToken }) =>
      form(`grant_type=refresh_token&refresh_token=${refreshToken}${RESOURCE}`),
    );
    return (connection) => oneRequest(cycle(requests, connection, setting.connections), 200, '"access_token":"eyJ');
  },
};

export const refreshRotation: Workload = {
  name: 'refresh-rotation',
  about: 'POST /token with the refresh token of a public client, which is replaced: the next request uses the next one',
  ceiling: 'one SELECT, one UPDATE with INSERT, two ES256 signatures',
  servers: ['gatehouse', 'oidc-provider', 'ceiling'],
  async prepare(target, setting) {
    const client = 'spa';
    const tokens = await tokensOfPeople(target, this.name, setting, { client }, setting.connections);
    const { field, headers } = authenticationOf(setting.cast, client);
    const form = requestsTo(target, this.name).form('/token', headers);
    return (connection) => {
      let current = tokens[connection]?.refreshToken ?? '';
      return {
        begin: () => form(`${field}grant_type=refresh_token&refresh_token=${current}${RESOURCE}`),
        answered(answer) {
          const next = memberOf(answer, 'refresh_token');
          if (answer.status !== 200 || next === undefined || next === current) return 'failed';
          current = next;
          return answer.body.includes('"access_token":"eyJ') ? 'done' : 'failed';
        },
      };
    };
  },
};
