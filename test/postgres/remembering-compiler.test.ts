import { Kysely, PostgresDialect, type RawBuilder, sql } from 'kysely';
import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { RememberingDialect } from '../../src/postgres/remembering-compiler.ts';

const ours = new Kysely<unknown>({ dialect: new RememberingDialect({ pool: new pg.Pool() }) });
const kyselys = new Kysely<unknown>({ dialect: new PostgresDialect({ pool: new pg.Pool() }) });

/** What Kysely makes of it each time is right by definition. */
function expectEqual(build: () => RawBuilder<unknown>) {
  const expected = build().compile(kyselys);
  for (let time = 0; time < 2; time += 1) {
    const { sql: text, parameters } = build().compile(ours);
    expect(text).toBe(expected.sql);
    expect(parameters).toEqual(expected.parameters);
  }
}

const inner = (value: number) => sql`inner = ${value}`;
const statement = (one: unknown, more: boolean, table = 'a') =>
  sql`SELECT ${one} FROM ${sql.table(table)} WHERE ${more ? sql`${inner(1)} AND ${inner(2)}` : inner(3)} AND last = ${'x'}`;

describe('a statement that was compiled before', () => {
  it('has the text and the values that Kysely would make of it', () => {
    expectEqual(() => statement(1, true));
    expectEqual(() => statement([1, 2], false));
    expectEqual(() => statement(null, true));
    expectEqual(() => statement(Buffer.from('x'), false));
  });

  it('is not taken for another one of the same template, whose parts differ', () => {
    const texts = [statement(1, true), statement(1, false), statement(1, true, 'b'), statement(inner(1), true)].map(
      (built) => built.compile(ours).sql,
    );
    expect(new Set(texts).size).toBe(4);
    const again = [statement(2, true), statement(2, false), statement(2, true, 'b'), statement(inner(2), true)].map(
      (built) => built.compile(ours).sql,
    );
    expect(again).toEqual(texts);
  });

  it('is not mistaken where its text is made at run time: literals, identifiers, lists', () => {
    for (const value of [1, 2]) expectEqual(() => sql`SELECT ${sql.lit(value)}, ${value}`);
    for (const name of ['a', 'b']) expectEqual(() => sql`SELECT ${sql.ref(name)}`);
    for (const list of [[1], [1, 2], [1, 2, 3]]) expectEqual(() => sql`SELECT ${sql.join(list)}`);
    for (const raw of ['now()', '1']) expectEqual(() => sql`SELECT ${sql.raw(raw)}`);
    for (const name of ['a', 'b.c', 'd"e']) expectEqual(() => sql`SELECT FROM ${sql.table(name)}`);
  });
});
