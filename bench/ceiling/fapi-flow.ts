/** The ceiling of the code flow as FAPI 2.0 has it. */
import { createPublicKey, type JsonWebKey } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { type People, REFRESH_TOKEN_LIFETIME, signedTokens } from './people.ts';
import { field, inSeconds, keyOfProof, mint, read, type Store, verified } from './store.ts';

const PREFIX = 'urn:request:';

export function fapiFlowRoutes(app: FastifyInstance, store: Store, people: People, clientJwk: JsonWebKey): void {
  const clientKey = createPublicKey({ key: clientJwk, format: 'jwk' });

  app.post<{ Body: string }>('/fapi-flow/par', async ({ body }, reply) => {
    const { jti } = verified(field(body, 'client_assertion'), clientKey);
    const pushed = mint();
    await store.query(
      'push',
      `WITH marked AS (INSERT INTO replay_marks (id) VALUES ($1) RETURNING id)
       INSERT INTO pushed_requests (id, secret_hash, parameters, expires_at)
       SELECT $2::uuid, $3::bytea, $4::jsonb, $5::timestamptz FROM marked`,
      [jti, pushed.id, pushed.hash, JSON.stringify({ code_challenge: field(body, 'code_challenge') }), inSeconds(60)],
    );
    return reply.code(201).send({ request_uri: PREFIX + pushed.value, expires_in: 60 });
  });

  app.get<{ Querystring: { request_uri: string } }>('/fapi-flow/authorize', async ({ query, headers }, reply) => {
    const user = await people.findSession(headers.cookie, reply);
    const pushed = read(query.request_uri.slice(PREFIX.length));
    const [row] = await store.query<{ parameters: { code_challenge: string } }>(
      'find_pushed',
      'SELECT parameters FROM pushed_requests WHERE id = $1 AND secret_hash = $2 AND expires_at > now()',
      [pushed.id, pushed.hash],
    );
    return reply.redirect(await people.issueCode(user, row?.parameters.code_challenge ?? ''), 303);
  });

  app.post<{ Body: string }>('/fapi-flow/token', async ({ body, headers }) => {
    const assertion = verified(field(body, 'client_assertion'), clientKey);
    const dpop = String(headers.dpop);
    const proof = verified(dpop, keyOfProof(dpop));
    const { codeId, grant } = await people.findCode(body);
    const tokens = await signedTokens(grant);
    const refreshToken = mint();
    await store.query(
      'redeem_bound_code',
      `WITH marked AS (INSERT INTO replay_marks (id) VALUES ($1), ($2) RETURNING id), redeemed AS (
         UPDATE authorization_codes SET redeemed_at = now() WHERE id = $3 AND redeemed_at IS NULL RETURNING grant_id)
       INSERT INTO refresh_tokens (id, secret_hash, grant_id, expires_at)
       SELECT $4::uuid, $5::bytea, grant_id, $6::timestamptz FROM redeemed`,
      [assertion.jti, proof.jti, codeId, refreshToken.id, refreshToken.hash, inSeconds(REFRESH_TOKEN_LIFETIME)],
    );
    return { ...tokens, refresh_token: refreshToken.value, token_type: 'DPoP' };
  });
}
