/**
 * An adapter for oidc-provider as somebody would write it who wants it fast: a table for each model with a primary key, what
 * is looked up otherwise in columns with indexes, the rest as jsonb; every verb one named (prepared) statement.
 */
import type { Adapter, AdapterPayload } from 'oidc-provider';
import type { Pool } from 'pg';

/** Models that are stored; clients are handed over in the configuration and stay in memory. */
const MODELS = [
  'Session',
  'AccessToken',
  'AuthorizationCode',
  'RefreshToken',
  'ClientCredentials',
  'Grant',
  'Interaction',
  'ReplayDetection',
  'PushedAuthorizationRequest',
];

const tableOf = (model: string) => `oidc_${model.toLowerCase()}`;

/** Makes the tables, and that of people. */
export async function createTables(pool: Pool): Promise<void> {
  for (const table of MODELS.map(tableOf)) {
    await pool.query(`
      CREATE TABLE ${table} (
        id text PRIMARY KEY, payload jsonb NOT NULL, grant_id text, uid text, expires_at timestamptz, consumed_at timestamptz)`);
    await pool.query(`CREATE INDEX ${table}_grant_id ON ${table} (grant_id) WHERE grant_id IS NOT NULL`);
  }
  await pool.query(`CREATE INDEX oidc_session_uid ON oidc_session (uid)`);
  await pool.query('CREATE TABLE accounts (id text PRIMARY KEY, claims jsonb NOT NULL)');
}

interface Row {
  payload: AdapterPayload;
  consumed_at: Date | null;
}

export class PostgresAdapter implements Adapter {
  readonly #pool: Pool;
  readonly #table: string;

  constructor(pool: Pool, model: string) {
    this.#pool = pool;
    this.#table = tableOf(model);
  }

  async upsert(id: string, payload: AdapterPayload, expiresIn: number): Promise<void> {
    await this.#run(
      'upsert',
      `INSERT INTO ${this.#table} (id, payload, grant_id, uid, expires_at) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT (id) DO UPDATE SET payload = excluded.payload, grant_id = excluded.grant_id, uid = excluded.uid, expires_at = excluded.expires_at`,
      [
        id,
        JSON.stringify(payload),
        payload.grantId ?? null,
        payload.uid ?? null,
        expiresIn ? new Date(Date.now() + expiresIn * 1000) : null,
      ],
    );
  }

  find(id: string): Promise<AdapterPayload | undefined> {
    return this.#find('find', 'id', id);
  }

  findByUid(uid: string): Promise<AdapterPayload | undefined> {
    return this.#find('uid', 'uid', uid);
  }

  /** Only the device flow asks, which is off. */
  async findByUserCode(): Promise<undefined> {
    return undefined;
  }

  async consume(id: string): Promise<void> {
    await this.#run('consume', `UPDATE ${this.#table} SET consumed_at = now() WHERE id = $1 AND consumed_at IS NULL`, [
      id,
    ]);
  }

  async destroy(id: string): Promise<void> {
    await this.#run('destroy', `DELETE FROM ${this.#table} WHERE id = $1`, [id]);
  }

  async revokeByGrantId(grantId: string): Promise<void> {
    await this.#run('revoke', `DELETE FROM ${this.#table} WHERE grant_id = $1`, [grantId]);
  }

  async #find(name: string, column: string, value: string): Promise<AdapterPayload | undefined> {
    const { rows } = await this.#run(
      name,
      `SELECT payload, consumed_at FROM ${this.#table} WHERE ${column} = $1 AND (expires_at IS NULL OR expires_at > now())`,
      [value],
    );
    const [row] = rows;
    if (!row) return undefined;
    return row.consumed_at ? { ...row.payload, consumed: Math.floor(row.consumed_at.getTime() / 1000) } : row.payload;
  }

  #run(verb: string, text: string, values: unknown[]) {
    return this.#pool.query<Row>({ name: `${this.#table}_${verb}`, text, values });
  }
}
