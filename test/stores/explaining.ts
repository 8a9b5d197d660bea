/** How PostgreSQL answers what a store sends, under the settings of our connections. */
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { SETTINGS, type Sql } from '../../src/postgres/database.ts';

export interface Plan {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Cond'?: string;
  readonly 'Actual Loops': number;
  readonly Plans?: readonly Plan[];
}

export interface Explained {
  readonly text: string;
  /** What was done. */
  readonly plan: Plan;
  /** As a person reads it, without costs. */
  readonly shown: string;
}

export class Explainer {
  readonly #client: pg.Client;

  private constructor(client: pg.Client) {
    this.#client = client;
  }

  static async open(url: string): Promise<Explainer> {
    const options = SETTINGS.map((setting) => `-c ${setting}`).join(' ');
    const client = new pg.Client({ connectionString: url, options });
    await client.connect();
    return new Explainer(client);
  }

  close(): Promise<void> {
    return this.#client.end();
  }

  /** What `work` sends, and how it is answered; afterwards nothing has happened. */
  async explain(work: (database: Sql) => Promise<unknown>): Promise<Explained[]> {
    const client = this.#client;
    const explained: Explained[] = [];
    let turn: Promise<unknown> = Promise.resolve();
    const answer = async (text: string, values: readonly unknown[]) => {
      explained.push(await this.#explain(text, values));
      return client.query(text, [...values]);
    };
    const recording = {
      // Calls that come at once take turns.
      query: (text: string, values: readonly unknown[] = []) => {
        const answered = turn.then(() => answer(text, values));
        turn = answered.catch(() => undefined);
        return answered;
      },
      release: () => undefined,
    };
    const pool = { connect: async () => recording, end: async () => undefined };
    await client.query('BEGIN');
    try {
      await work(new Kysely<unknown>({ dialect: new PostgresDialect({ pool: pool as unknown as pg.Pool }) }));
    } finally {
      await turn;
      await client.query('ROLLBACK');
    }
    return explained;
  }

  async #explain(text: string, values: readonly unknown[]): Promise<Explained> {
    const client = this.#client;
    const execute = `EXECUTE explained${values.length > 0 ? `(${values.map(literal).join(', ')})` : ''}`;
    await client.query(`SAVEPOINT before; PREPARE explained AS ${text}`);
    try {
      const shown = await client.query(`EXPLAIN (COSTS OFF) ${execute}`);
      const { rows } = await client.query(`EXPLAIN (ANALYZE, FORMAT JSON) ${execute}`);
      return {
        text,
        plan: rows[0]['QUERY PLAN'][0].Plan,
        shown: shown.rows.map((row) => row['QUERY PLAN']).join('\n'),
      };
    } finally {
      await client.query('ROLLBACK TO before; DEALLOCATE explained');
    }
  }
}

/** A plan and all plans in it. */
export function nodesOf(plan: Plan): Plan[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];
}

/** A partition's table; the table itself where it has none. */
export function tableOf(relation: string): string {
  return relation.replace(/_\d+$/, '');
}

function literal(value: unknown): string {
  if (value === null || value === undefined) return 'NULL';
  if (typeof value === 'boolean' || typeof value === 'number') return String(value);
  if (Buffer.isBuffer(value)) return `'\\x${value.toString('hex')}'`;
  if (value instanceof Date) return `'${value.toISOString()}'`;
  if (Array.isArray(value)) return pg.escapeLiteral(`{${value.map(element).join(',')}}`);
  return pg.escapeLiteral(String(value));
}

function element(value: unknown): string {
  if (value === null || value === undefined) return 'NULL';
  const text =
    value instanceof Date
      ? value.toISOString()
      : Buffer.isBuffer(value)
        ? `\\x${value.toString('hex')}`
        : String(value);
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}
