/**
 * An API asks what a token is worth: RFC 7662. Thousands of live tokens in turn; of signed ones
 * Gatehouse remembers that it verified them, the ceiling verifies each time.
 */
import { memberOf } from '../harness/connection.ts';
import { repeat } from '../harness/load.ts';
import { credentialsOf, PHOTOS, STORAGE } from '../servers/cast.ts';
import { cycle, oneRequest, requestsTo, type Setting, type Target, type Workload } from '../servers/target.ts';

export const introspectionOpaque: Workload = {
  name: 'introspection-opaque',
  about: 'POST /token_info of an opaque access token',
  ceiling: 'one SELECT',
  servers: ['gatehouse', 'oidc-provider', 'ceiling'],
  async prepare(target, setting) {
    const requests = await introspectionRequests(target, this.name, setting, STORAGE);
    return (connection) => oneRequest(cycle(requests, connection, setting.connections), 200, '"active":true');
  },
};

export const introspectionJwt: Workload = {
  name: 'introspection-jwt',
  about: 'POST /token_info of a JWT access token (ES256); oidc-provider introspects none',
  ceiling: 'one ES256 verification, one SELECT',
  servers: ['gatehouse', 'ceiling'],
  async prepare(target, setting) {
    const requests = await introspectionRequests(target, this.name, setting, PHOTOS);
    return (connection) => oneRequest(cycle(requests, connection, setting.connections), 200, '"active":true');
  },
};

/** Gets tokens of a backend for an API, and the request of that API about each. */
export async function introspectionRequests(
  target: Target,
  workload: string,
  { cast, tokens }: Setting,
  resource: typeof PHOTOS | typeof STORAGE,
): Promise<Buffer[]> {
  const requests = requestsTo(target, workload);
  const api = credentialsOf(cast, resource === PHOTOS ? 'photos-api' : 'storage-api');
  const scope = resource === PHOTOS ? 'photos.read' : 'storage.read';
  const fields = { grant_type: 'client_credentials', resource, scope };
  const issue = requests.post('/token', fields, credentialsOf(cast, 'batch'));
  const prepared: Buffer[] = [];
  await repeat(target.process.port, tokens, () => ({
    begin: () => issue,
    answered(answer) {
      const token = memberOf(answer, 'access_token');
      if (token === undefined) return 'failed';
      prepared.push(requests.post('/token_info', { token }, api));
      return 'done';
    },
  }));
  return prepared;
}
