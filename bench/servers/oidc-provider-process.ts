/**
 * oidc-provider, configured to do what Gatehouse does: the same endpoints, clients, secrets, lifetimes, algorithms and pool,
 * people in the database, interactions that are answered at once. Everything else is its default.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { type Configuration, errors, Provider } from 'oidc-provider';
import { Pool } from 'pg';
import { ISSUER } from '../harness/request.ts';
import { ACCESS_TOKEN_LIFETIME, LIFETIMES, PHOTOS, STORAGE } from './cast.ts';
import type { OidcProviderSettings } from './oidc-provider.ts';
import { createTables, PostgresAdapter } from './oidc-provider-adapter.ts';

const { DATABASE_URL = '', PORT = '', SETTINGS = '' } = process.env;
const { clients, people } = JSON.parse(SETTINGS) as OidcProviderSettings;
// As many connections as Gatehouse has by default.
const pool = new Pool({ connectionString: DATABASE_URL, max: 10 });
await createTables(pool);
for (const { id, username } of people)
  await pool.query('INSERT INTO accounts (id, claims) VALUES ($1, $2)', [
    id,
    JSON.stringify({ name: `Person ${username}`, email: `${username}@people.example` }),
  ]);

const RESOURCES: Record<string, { scope: string; format: 'jwt' | 'opaque' }> = {
  [PHOTOS]: { scope: 'photos.read', format: 'jwt' },
  [STORAGE]: { scope: 'storage.read', format: 'opaque' },
};

const configuration: Configuration = {
  adapter: (model: string) => new PostgresAdapter(pool, model),
  clients: clients as unknown as NonNullable<Configuration['clients']>,
  jwks: { keys: [signingKey('ES256'), signingKey('RS256')] },
  cookies: { keys: [randomBytes(32).toString('base64url')] },
  // As Gatehouse has them, so that scripts need not know whom they talk to.
  routes: {
    authorization: '/authorize',
    token: '/token',
    introspection: '/token_info',
    revocation: '/revoke',
    userinfo: '/userinfo',
    pushed_authorization_request: '/par',
  },
  clientAuthMethods: ['client_secret_basic', 'private_key_jwt', 'none'],
  claims: { openid: ['sub'], profile: ['name'], email: ['email'] },
  async findAccount(_context, id) {
    const { rows } = await pool.query<{ claims: Record<string, string> }>({
      name: 'account',
      text: 'SELECT claims FROM accounts WHERE id = $1',
      values: [id],
    });
    const [account] = rows;
    return account && { accountId: id, claims: () => ({ sub: id, ...account.claims }) };
  },
  interactions: { url: (_context, { uid }) => `/interaction/${uid}` },
  // Gatehouse gives one to each client that is registered for it, and replaces those of public clients only.
  issueRefreshToken: async (_context, client) => client.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: ({ oidc }) => oidc.client?.clientAuthMethod === 'none',
  ttl: {
    AccessToken: ACCESS_TOKEN_LIFETIME,
    ClientCredentials: ACCESS_TOKEN_LIFETIME,
    AuthorizationCode: LIFETIMES.code,
    IdToken: LIFETIMES.idToken,
    RefreshToken: LIFETIMES.refreshToken,
    Session: LIFETIMES.session,
    Grant: LIFETIMES.grant,
    Interaction: 900,
  },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    pushedAuthorizationRequests: { enabled: true },
    dPoP: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => '',
      getResourceServerInfo(_context, indicator) {
        const resource = RESOURCES[indicator];
        if (!resource) throw new errors.InvalidTarget();
        const common = { scope: resource.scope, audience: indicator, accessTokenTTL: ACCESS_TOKEN_LIFETIME };
        return resource.format === 'jwt'
          ? { ...common, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }
          : { ...common, accessTokenFormat: 'opaque' };
      },
    },
  },
};

const provider = new Provider(ISSUER, configuration);
provider.proxy = true;
provider.on('server_error', (_context, error) => console.error(error));

// Whoever comes is the person of the login_hint and agrees; no script of a timed part gets here.
provider.use(async (context, next) => {
  if (!context.path.startsWith('/interaction/')) return next();
  const { params } = await provider.interactionDetails(context.req, context.res);
  const accountId = String(params.login_hint);
  const grant = new provider.Grant({ accountId, clientId: String(params.client_id) });
  grant.addOIDCScope('openid');
  grant.addResourceScope(PHOTOS, 'photos.read');
  const grantId = await grant.save();
  await provider.interactionFinished(context.req, context.res, { login: { accountId }, consent: { grantId } });
  context.respond = false;
});

createServer(provider.callback()).listen(Number(PORT), '127.0.0.1');

function signingKey(alg: 'ES256' | 'RS256') {
  const { privateKey } =
    alg === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: alg, alg, use: 'sig' } as NonNullable<
    Configuration['jwks']
  >['keys'][number];
}
