/** The ceiling of the code flow and of what is done with its tokens. */
import type { FastifyInstance } from 'fastify';
import { type GrantRow, type People, REFRESH_TOKEN_LIFETIME, signedTokens } from './people.ts';
import { field, inSeconds, mint, read, type Store, signEs256, signRs256, verified } from './store.ts';

/** The workloads that begin with a code. */
const WITH_CODE = ['code-flow', 'code-flow-rs256', 'refresh', 'refresh-rotation', 'token-exchange', 'userinfo'];

export function codeFlowRoutes(app: FastifyInstance, store: Store, people: People): void {
  for (const workload of WITH_CODE) {
    app.get<{ Querystring: { code_challenge: string } }>(
      `/${workload}/authorize`,
      async ({ query, headers }, reply) => {
        const user = await people.findSession(headers.cookie, reply);
        return reply.redirect(await people.issueCode(user, query.code_challenge), 303);
      },
    );
  }
  const post = (path: string, answer: (form: string) => Promise<object>) =>
    app.post<{ Body: string }>(path, ({ body }) => answer(body));

  post('/code-flow/token', (form) => people.redeem(form));
  post('/code-flow-rs256/token', (form) => people.redeem(form, signRs256));

  const findRefreshToken = async (form: string) => {
    const token = read(field(form, 'refresh_token'));
    const [row] = await store.query<GrantRow>(
      'find_refresh_token',
      `SELECT t.grant_id, g.user_id FROM refresh_tokens t JOIN grants g ON g.id = t.grant_id
       WHERE t.id = $1 AND t.secret_hash = $2 AND t.rotated_at IS NULL AND t.expires_at > now()`,
      [token.id, token.hash],
    );
    if (!row) throw new Error('The refresh token is not valid.');
    return { tokenId: token.id, grant: row };
  };
  post('/refresh/token', async (form) => {
    if (redeems(form)) return people.redeem(form);
    const { grant } = await findRefreshToken(form);
    return signedTokens(grant);
  });
  post('/refresh-rotation/token', async (form) => {
    if (redeems(form)) return people.redeem(form);
    const { tokenId, grant } = await findRefreshToken(form);
    const tokens = await signedTokens(grant);
    const next = mint();
    await store.query(
      'rotate',
      `WITH rotated AS (UPDATE refresh_tokens SET rotated_at = now() WHERE id = $1 AND rotated_at IS NULL RETURNING grant_id)
       INSERT INTO refresh_tokens (id, secret_hash, grant_id, expires_at) SELECT $2, $3, grant_id, $4 FROM rotated`,
      [tokenId, next.id, next.hash, inSeconds(REFRESH_TOKEN_LIFETIME)],
    );
    return { ...tokens, refresh_token: next.value };
  });

  post('/userinfo/token', async (form) => {
    const tokens = await people.redeem(form);
    const token = mint();
    await store.query(
      'store_own_access_token',
      `INSERT INTO access_tokens (id, secret_hash, grant_id, client_id, scope, audience, expires_at)
       VALUES ($1, $2, $3, 'web', '{openid}', '{https://id.example}', $4)`,
      [token.id, token.hash, verified(tokens.access_token).grant_id, inSeconds(3600)],
    );
    return { ...tokens, access_token: token.value };
  });
  app.get('/userinfo/userinfo', async ({ headers }) => {
    const token = read((headers.authorization ?? '').slice('Bearer '.length));
    const [row] = await store.query<{ id: string; claims: object }>(
      'find_claims',
      `SELECT u.id, u.claims FROM access_tokens t JOIN grants g ON g.id = t.grant_id JOIN users u ON u.id = g.user_id
       WHERE t.id = $1 AND t.secret_hash = $2 AND t.revoked_at IS NULL AND t.expires_at > now() AND g.expires_at > now()`,
      [token.id, token.hash],
    );
    if (!row) throw new Error('The access token is not valid.');
    return { sub: row.id, ...row.claims };
  });

  post('/token-exchange/token', async (form) => {
    if (redeems(form)) return people.redeem(form);
    const claims = verified(field(form, 'subject_token'));
    await store.query(
      'find_subject',
      'SELECT FROM grants g WHERE g.id = $1 AND g.expires_at > now() AND NOT EXISTS (SELECT FROM revocation_marks m WHERE m.id = $2)',
      [claims.grant_id, claims.jti],
    );
    const exchanged = mint();
    await store.query(
      'store_exchange',
      'INSERT INTO exchanges (id, parent, client_id, hops, expires_at) VALUES ($1, $2, $3, $4, $5)',
      [exchanged.id, claims.jti, 'photos-api', JSON.stringify([{ client: 'photos-api' }]), inSeconds(3600)],
    );
    const token = signEs256({ ...claims, aud: 'https://archive.example', scope: 'archive.read', jti: exchanged.id });
    return { access_token: token, issued_token_type: 'urn:ietf:params:oauth:token-type:access_token' };
  });
}

/** Whether a token request is one of those that prepare a workload. */
function redeems(form: string): boolean {
  return form.includes('code_verifier=');
}
