/**
 * Texts of statements, made once. Statements are `sql` templates; JavaScript gives each place in the code one frozen
 * array of its literal parts, so which templates a statement is made of, in order, says its whole text. Kysely compiles
 * a shape when it is first seen; afterwards only the values are gathered.
 *
 *   node ─▶ shape: ids of its templates, 'v' for a value ──known──▶ text, values
 *                                                        └─new────▶ Kysely compiles; remembered
 *
 * What has parts that are no template and no table's name (literals, identifiers, the query builder's own nodes) is compiled each time.
 */
import {
  type CompiledQuery,
  type IdentifierNode,
  type OperationNode,
  PostgresDialect,
  PostgresQueryCompiler,
  type QueryCompiler,
  type RawNode,
  type RootOperationNode,
  type TableNode,
  type ValueNode,
} from 'kysely';

/** More shapes than the code has places means that somebody builds templates at run time: no reason to fill the memory. */
const MOST = 2000;

export class RememberingDialect extends PostgresDialect {
  override createQueryCompiler(): QueryCompiler {
    return new RememberingCompiler();
  }
}

export class RememberingCompiler extends PostgresQueryCompiler {
  readonly #texts = new Map<string, string>();

  override compileQuery(node: RootOperationNode, queryId: CompiledQuery['queryId']): CompiledQuery {
    const parameters: unknown[] = [];
    const shape = shapeOf(node, parameters);
    const known = shape === undefined ? undefined : this.#texts.get(shape);
    if (known !== undefined) return { query: node, queryId, sql: known, parameters };
    const compiled = super.compileQuery(node, queryId);
    if (shape !== undefined && this.#texts.size < MOST) this.#texts.set(shape, compiled.sql);
    return compiled;
  }
}

const templates = new WeakMap<readonly string[], string>();
let templateCount = 0;

/** Appends the values of a node to `values`, in the order in which Kysely numbers them. */
function shapeOf(node: OperationNode, values: unknown[]): string | undefined {
  switch (node.kind) {
    case 'ValueNode': {
      const { value, immediate } = node as ValueNode;
      if (immediate) return undefined;
      values.push(value);
      return 'v';
    }
    case 'TableNode': {
      const { schema, identifier } = (node as TableNode).table;
      return schema ? undefined : `"${(identifier as IdentifierNode).name}"`;
    }
    case 'RawNode': {
      const { sqlFragments, parameters } = node as RawNode;
      let shape = templateOf(sqlFragments);
      for (const parameter of parameters) {
        const part = shape === undefined ? undefined : shapeOf(parameter, values);
        shape = part === undefined ? undefined : shape + part;
      }
      return shape;
    }
    default:
      return undefined;
  }
}

function templateOf(fragments: readonly string[]): string | undefined {
  let id = templates.get(fragments);
  if (id !== undefined) return id;
  // `sql.table` wraps its name in two empty parts. Only a template's parts have a `raw` beside them.
  if (fragments.length === 2 && fragments[0] === '' && fragments[1] === '') return '_';
  if (!Object.hasOwn(fragments, 'raw')) return undefined;
  templateCount += 1;
  id = `.${templateCount}`;
  templates.set(fragments, id);
  return id;
}
