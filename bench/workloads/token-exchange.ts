/** An API goes on to another one with a token it was called with: RFC 8693. oidc-provider has no such grant. */
import { ARCHIVE, credentialsOf, EXCHANGE_GRANT } from '../servers/cast.ts';
import { cycle, oneRequest, requestsTo, type Workload } from '../servers/target.ts';
import { tokensOfPeople } from './code-requests.ts';

export const tokenExchange: Workload = {
  name: 'token-exchange',
  about: 'POST /token, a person’s JWT access token of one API for one of the next (ES256)',
  ceiling: 'one ES256 verification, one SELECT, one INSERT, one ES256 signature',
  servers: ['gatehouse', 'ceiling'],
  async prepare(target, setting) {
    const subjects = await tokensOfPeople(target, this.name, setting, { client: 'web' }, setting.tokens);
    const requests = requestsTo(target, this.name);
    const prepared = subjects.map(({ accessToken }) =>
      requests.post(
        '/token',
        {
          grant_type: EXCHANGE_GRANT,
          subject_token: accessToken,
          subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
          resource: ARCHIVE,
        },
        credentialsOf(setting.cast, 'photos-api'),
      ),
    );
    return (connection) => oneRequest(cycle(prepared, connection, setting.connections), 200, '"issued_token_type"');
  },
};
