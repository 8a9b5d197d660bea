/** A backend gets a token for itself: RFC 6749 §4.4. The same request again and again. */
import { credentialsOf, PHOTOS, STORAGE } from '../servers/cast.ts';
import { oneRequest, requestsTo, type Workload } from '../servers/target.ts';

export const clientCredentialsOpaque: Workload = {
  name: 'client-credentials-opaque',
  about: 'POST /token, an opaque access token',
  ceiling: 'one INSERT',
  servers: ['gatehouse', 'oidc-provider', 'ceiling'],
  async prepare(target, { cast }) {
    const fields = { grant_type: 'client_credentials', resource: STORAGE, scope: 'storage.read' };
    const request = requestsTo(target, this.name).post('/token', fields, credentialsOf(cast, 'batch'));
    return () => oneRequest(() => request, 200, '"access_token"');
  },
};

export const clientCredentialsJwt: Workload = {
  name: 'client-credentials-jwt',
  about: 'POST /token, a JWT access token (ES256)',
  ceiling: 'one ES256 signature',
  servers: ['gatehouse', 'oidc-provider', 'ceiling'],
  async prepare(target, { cast }) {
    const fields = { grant_type: 'client_credentials', resource: PHOTOS, scope: 'photos.read' };
    const request = requestsTo(target, this.name).post('/token', fields, credentialsOf(cast, 'batch'));
    return () => oneRequest(() => request, 200, '"access_token":"eyJ');
  },
};
