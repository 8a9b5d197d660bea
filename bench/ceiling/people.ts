/** The steps that the ceiling's flows share: a session, a code, tokens of a person. */
import { createHash } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import { field, inSeconds, mint, read, type Store, signEs256 } from './store.ts';

const CALLBACK = 'https://web.example/callback';
const DAY = 86_400;
/** Seconds. */
export const REFRESH_TOKEN_LIFETIME = 14 * DAY;

export interface GrantRow {
  readonly grant_id: string;
  readonly user_id: string;
}

export type Sign = (claims: object) => string | Promise<string>;

export class People {
  readonly #store: Store;
  readonly #userId = mint().id;

  constructor(store: Store) {
    this.#store = store;
  }

  async create(): Promise<void> {
    const values = [this.#userId, '{"name":"Alice"}'];
    await this.#store.query('store_user', 'INSERT INTO users (id, claims) VALUES ($1, $2)', values);
  }

  /** Who is signed in with this browser. */
  async findSession(cookie: string | undefined, reply: FastifyReply): Promise<string | undefined> {
    const session = cookie === undefined ? await this.#start(reply) : read(cookie.slice('session='.length));
    const [row] = await this.#store.query<{ user_id: string }>(
      'find_session',
      `SELECT user_id FROM sessions s JOIN users u ON u.id = s.user_id
       WHERE s.id = $1 AND s.secret_hash = $2 AND s.expires_at > now()`,
      [session.id, session.hash],
    );
    return row?.user_id;
  }

  /** A new session for who has none: only before anything is measured. */
  async #start(reply: FastifyReply) {
    const session = mint();
    await this.#store.query(
      'store_session',
      'INSERT INTO sessions (id, secret_hash, user_id, expires_at) VALUES ($1, $2, $3, $4)',
      [session.id, session.hash, this.#userId, inSeconds(DAY)],
    );
    reply.header('set-cookie', `session=${session.value}`);
    return session;
  }

  /** @returns the address the browser is sent to */
  async issueCode(user: string | undefined, challenge: string): Promise<string> {
    const code = mint();
    await this.#store.query(
      'store_code',
      `WITH granted AS (
         INSERT INTO grants (id, user_id, client_id, scope, expires_at) VALUES ($1, $2, 'web', '{openid,photos.read}', $3) RETURNING id)
       INSERT INTO authorization_codes (id, secret_hash, grant_id, code_challenge, expires_at)
       SELECT $4, $5, id, $6, $7 FROM granted`,
      [mint().id, user, inSeconds(90 * DAY), code.id, code.hash, challenge, inSeconds(60)],
    );
    return `${CALLBACK}?code=${code.value}&state=af0ifjsldkj`;
  }

  /** Checked before it is spent, so that who lacks the verifier cannot burn it. */
  async findCode(form: string): Promise<{ codeId: string; grant: GrantRow }> {
    const code = read(field(form, 'code'));
    const [row] = await this.#store.query<GrantRow & { code_challenge: string }>(
      'find_code',
      `SELECT c.grant_id, c.code_challenge, g.user_id FROM authorization_codes c JOIN grants g ON g.id = c.grant_id
       WHERE c.id = $1 AND c.secret_hash = $2 AND c.redeemed_at IS NULL AND c.expires_at > now()`,
      [code.id, code.hash],
    );
    const challenge = createHash('sha256').update(field(form, 'code_verifier')).digest('base64url');
    if (row?.code_challenge !== challenge) throw new Error('The code is not valid.');
    return { codeId: code.id, grant: row };
  }

  /** All that follows a code: one SELECT, two signatures, one statement that spends it. */
  async redeem(form: string, sign: Sign = signEs256) {
    const { codeId, grant } = await this.findCode(form);
    const tokens = await signedTokens(grant, sign);
    const refreshToken = mint();
    await this.#store.query(
      'redeem_code',
      `WITH redeemed AS (
         UPDATE authorization_codes SET redeemed_at = now() WHERE id = $1 AND redeemed_at IS NULL RETURNING grant_id)
       INSERT INTO refresh_tokens (id, secret_hash, grant_id, expires_at) SELECT $2, $3, grant_id, $4 FROM redeemed`,
      [codeId, refreshToken.id, refreshToken.hash, inSeconds(REFRESH_TOKEN_LIFETIME)],
    );
    return { ...tokens, refresh_token: refreshToken.value };
  }
}

/** An access token and an ID token. */
export async function signedTokens(row: GrantRow, sign: Sign = signEs256) {
  const now = Math.floor(Date.now() / 1000);
  const common = { iss: 'https://id.example', sub: row.user_id, iat: now };
  const accessToken = signEs256({
    ...common,
    aud: 'https://photos.example',
    client_id: 'web',
    scope: 'openid photos.read',
    grant_id: row.grant_id,
    jti: mint().id,
    exp: now + 3600,
  });
  const idToken = await sign({ ...common, aud: 'web', auth_time: now, nonce: 'n-0S6_WzA2Mj', exp: now + 300 });
  return { access_token: accessToken, token_type: 'Bearer', expires_in: 3600, id_token: idToken };
}
