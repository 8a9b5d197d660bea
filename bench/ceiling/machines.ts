/** The ceiling of what clients do for themselves: tokens, introspection, revocation. */
import type { FastifyInstance } from 'fastify';
import { field, inSeconds, mint, read, type Store, signEs256, verified } from './store.ts';

const HOUR = 3600;

export function machineRoutes(app: FastifyInstance, store: Store): void {
  const opaqueToken = async () => {
    const token = mint();
    await store.query(
      'store_access_token',
      `INSERT INTO access_tokens (id, secret_hash, client_id, scope, audience, expires_at) VALUES ($1, $2, $3, $4, $5, $6)`,
      [token.id, token.hash, 'batch', ['storage.read'], ['https://storage.example'], inSeconds(HOUR)],
    );
    return { access_token: token.value, token_type: 'Bearer', expires_in: HOUR, scope: 'storage.read' };
  };
  const signedToken = () => {
    const now = Math.floor(Date.now() / 1000);
    const token = signEs256({
      iss: 'https://id.example',
      sub: 'batch',
      aud: 'https://photos.example',
      client_id: 'batch',
      scope: 'photos.read',
      jti: mint().id,
      iat: now,
      exp: now + HOUR,
    });
    return { access_token: token, token_type: 'Bearer', expires_in: HOUR, scope: 'photos.read' };
  };
  const introspectOpaque = async (form: string) => {
    const token = read(field(form, 'token'));
    const [row] = await store.query(
      'find_access_token',
      `SELECT client_id, scope, audience, expires_at FROM access_tokens
       WHERE id = $1 AND secret_hash = $2 AND revoked_at IS NULL AND expires_at > now()`,
      [token.id, token.hash],
    );
    return row ? { active: true, ...row } : { active: false };
  };

  app.post('/client-credentials-opaque/token', opaqueToken);
  app.post('/client-credentials-jwt/token', async () => signedToken());

  app.post('/introspection-opaque/token', opaqueToken);
  app.post<{ Body: string }>('/introspection-opaque/token_info', ({ body }) => introspectOpaque(body));
  app.post('/introspection-under-sign-in/token', opaqueToken);
  app.post<{ Body: string }>('/introspection-under-sign-in/token_info', ({ body }) => introspectOpaque(body));

  app.post('/introspection-jwt/token', async () => signedToken());
  app.post<{ Body: string }>('/introspection-jwt/token_info', async ({ body }) => {
    const claims = verified(field(body, 'token'));
    const marked = await store.query('find_mark', 'SELECT FROM revocation_marks WHERE id = $1', [claims.jti]);
    return marked.length === 0 ? { active: true, ...claims } : { active: false };
  });

  app.post('/revocation/token', opaqueToken);
  app.post<{ Body: string }>('/revocation/revoke', async ({ body }) => {
    const token = read(field(body, 'token'));
    await store.query(
      'revoke_access_token',
      'UPDATE access_tokens SET revoked_at = now() WHERE id = $1 AND secret_hash = $2 AND revoked_at IS NULL',
      [token.id, token.hash],
    );
    return {};
  });
}
