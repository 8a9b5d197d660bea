/**
 * The connection to PostgreSQL: Kysely over one pool of `pg`.
 *
 * - Kysely compiles a statement each time and sends it unnamed, so PostgreSQL plans it each time. Here its text is made
 *   once (remembering-compiler.ts), and every statement with parameters gets a name made from the text, so each
 *   connection plans it once (2 to 3 times as fast), as {@link SETTINGS} say. What a transaction pooler needs for that,
 *   or `prepared: false`, is in docs/operations.md.
 * - What means "the database is away" becomes {@link Unavailable}, once, here.
 * - An INSERT whose partition is missing (the job that makes them was late) has it made and is sent again.
 */
import { createHash } from 'node:crypto';
import { Kysely, type PostgresPool, type PostgresPoolClient } from 'kysely';
import pg from 'pg';
import { Unavailable } from '../protocol/errors.ts';
import { RememberingDialect } from './remembering-compiler.ts';

/** Statements are written as `sql` templates, so the tables need no types here. */
export type Sql = Kysely<unknown>;

export interface DatabaseOptions {
  readonly url: string;
  readonly poolMax: number;
  /** Named statements and session settings. */
  readonly prepared: boolean;
  /** Milliseconds a statement may take; 10 s where nothing is said, 0 for as long as it needs (migrations). */
  readonly timeout?: number;
  /**
   * Called when an INSERT found no partition; the statement is sent again afterwards. It works on the connection that
   * missed it: were all of the pool to wait for another one, they would wait for each other.
   */
  makePartitions?(connection: Sql): Promise<void>;
  /** Told about idle connections that broke. */
  onError?(error: Error): void;
}

export interface Database {
  readonly sql: Sql;
  /** Round trips so far; tests hold endpoints to their number. */
  readonly roundTrips: number;
  close(): Promise<void>;
}

export function openDatabase(options: DatabaseOptions): Database {
  const pool = new NamingPool(options);
  const sql = new Kysely<unknown>({ dialect: new RememberingDialect({ pool }) });
  return {
    sql,
    get roundTrips() {
      return pool.roundTrips;
    },
    close: () => sql.destroy(),
  };
}

/**
 * For connections that keep their plans. What they run looks rows up by their keys, so the plan that is right for ten million
 * rows is the right one for ten; but a plan is made once, when a table may still be empty and reading all of it looks cheap.
 * docs/operations.md has the same for the role, where a transaction pooler takes no settings from its callers.
 */
export const SETTINGS = [
  // With many partitions PostgreSQL would plan each call anew, which costs more than to run it.
  'plan_cache_mode=force_generic_plan',
  // Both read a whole table, in all its partitions, to find one row.
  'enable_hashjoin=off',
  'enable_mergejoin=off',
  'enable_seqscan=off',
  // Before PostgreSQL 18 the line above counts as cost where there is no index to use, and so would call the compiler.
  'jit=off',
] as const;

class NamingPool implements PostgresPool {
  roundTrips = 0;
  readonly #pool: pg.Pool;
  readonly #options: DatabaseOptions;
  readonly #names = new Map<string, string>();
  readonly #wrapped = new WeakMap<pg.PoolClient, PostgresPoolClient>();

  constructor(options: DatabaseOptions) {
    this.#options = options;
    const { timeout = 10_000 } = options;
    this.#pool = new pg.Pool({
      connectionString: options.url,
      max: options.poolMax,
      connectionTimeoutMillis: 3000,
      idleTimeoutMillis: 30_000,
      query_timeout: timeout,
      application_name: 'gatehouse',
      ...(options.prepared && {
        statement_timeout: timeout,
        options: SETTINGS.map((setting) => `-c ${setting}`).join(' '),
      }),
    });
    this.#pool.on('error', (error) => options.onError?.(error));
  }

  async connect(): Promise<PostgresPoolClient> {
    const client = await this.#pool.connect().catch((cause: unknown) => {
      throw new Unavailable('No database connection.', { cause });
    });
    let wrapped = this.#wrapped.get(client);
    if (!wrapped) {
      wrapped = this.#wrap(client);
      this.#wrapped.set(client, wrapped);
    }
    return wrapped;
  }

  end(): Promise<void> {
    return this.#pool.end();
  }

  #wrap(client: pg.PoolClient): PostgresPoolClient {
    // The pool listens to idle clients only: a connection that breaks under a statement would end the process. The
    // statement itself is told.
    client.on('error', () => undefined);
    let broken = false;
    const query = async (text: string, values: readonly unknown[]) => {
      this.roundTrips += 1;
      try {
        return await this.#send(client, text, values);
      } catch (error) {
        if (!isAway(error)) throw error;
        // After silence the next statement on this connection would wait in vain too.
        broken ||= !isAnswer(error);
        throw new Unavailable('The database is away.', { cause: error });
      }
    };
    // Kysely's type also has a form for cursors, which nothing here uses.
    return { query, release: () => client.release(broken) } as unknown as PostgresPoolClient;
  }

  async #send(client: pg.PoolClient, text: string, values: readonly unknown[]) {
    const statement = { text, values: [...values] };
    const named = this.#options.prepared && values.length > 0;
    try {
      return await client.query(named ? { ...statement, name: this.#name(text) } : statement);
    } catch (error) {
      if (named && isStalePlan(error)) return client.query(statement);
      if (!isMissingPartition(error) || !this.#options.makePartitions) throw error;
      await this.#options.makePartitions(overOne(client));
      return client.query(statement);
    }
  }

  #name(text: string): string {
    let name = this.#names.get(text);
    if (name === undefined) {
      name = `g${createHash('sha256').update(text).digest('hex').slice(0, 24)}`;
      this.#names.set(text, name);
    }
    return name;
  }
}

/** Kysely over a connection that is taken already; it goes back to the pool with whoever took it. */
function overOne(client: pg.PoolClient): Sql {
  const query = (text: string, values: readonly unknown[]) => client.query({ text, values: [...values] });
  const connection = { query, release: () => undefined } as unknown as PostgresPoolClient;
  const pool: PostgresPool = { connect: async () => connection, end: async () => undefined };
  return new Kysely<unknown>({ dialect: new RememberingDialect({ pool }) });
}

function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : '';
}

/**
 * Why PostgreSQL turned us away at the door, for good: a wrong user, password or database name (PostgreSQL, Appendix A:
 * class 28, and 3D000).
 * @returns its words, or `undefined` for any other error
 */
export function turnedAway(error: unknown): string | undefined {
  const cause = error instanceof Unavailable ? error.cause : error;
  return cause instanceof Error && /^(28|3D000)/.test(codeOf(cause)) ? cause.message : undefined;
}

/** A migration changed a table under a prepared statement ("cached plan must not change result type"). */
function isStalePlan(error: unknown): boolean {
  return codeOf(error) === '0A000' && /cached plan/.test((error as Error).message);
}

function isMissingPartition(error: unknown): boolean {
  return codeOf(error) === '23514' && /no partition of relation/.test((error as Error).message);
}

/** PostgreSQL itself said it, over a connection that works: out of time, out of resources, a lock it waited for. */
function isAnswer(error: unknown): boolean {
  return /^(53|57014|25006|55P03)/.test(codeOf(error));
}

/** Connection lost or refused, server shutting down or starting, no resources, out of time. */
function isAway(error: unknown): boolean {
  if (error instanceof Unavailable) return false;
  const code = codeOf(error);
  if (/^(08|53|57P0|57014|25006|55P03)/.test(code) || /^E[A-Z]+$/.test(code)) return true;
  return (
    error instanceof Error &&
    /Connection terminated|Query read timeout|not queryable|Client was closed/i.test(error.message)
  );
}
