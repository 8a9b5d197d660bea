/**
 * Types of authorization details: RFC 9396 §2, §5, §9.1. An API registers each with a JSON Schema and with words for the
 * consent page.
 *
 * The schema is the operator's, what it is held against comes from clients. So of JSON Schema there is only what takes time in
 * proportion to the value and says all that may be in it: every object closed, every array with its items, no references, no
 * pattern that could be made to search. `type` and `locations` are ours and in no schema: the name says the one, the API the
 * other.
 */
import { Ajv, type ValidateFunction } from 'ajv';
import { z } from 'zod';
import { descriptionProblem } from './details-words.ts';

/** RFC 9396 §2. */
export interface AuthorizationDetail {
  readonly type: string;
  readonly [member: string]: unknown;
}

export interface DetailsTypeMetadata {
  readonly schema: Readonly<Record<string, unknown>>;
  readonly description: string;
}

export interface DetailsType extends DetailsTypeMetadata {
  readonly name: string;
  /** The API whose type it is, and the only one that gets to see its details. */
  readonly resource: string;
}

/** As it is registered with a resource: name → schema and words. */
export const detailsTypes = z
  .record(
    z.string().regex(/^[\x21-\x7E]{1,200}$/, 'must be 1 to 200 printable ASCII characters'),
    z.strictObject({ schema: z.record(z.string(), z.unknown()), description: z.string().min(1).max(500) }),
  )
  .superRefine((types, { addIssue }) => {
    for (const [name, type] of Object.entries(types)) {
      const schema =
        schemaProblem(type.schema, 1) ?? compileProblem({ ...type, name, resource: 'https://api.example' });
      if (schema !== undefined) addIssue({ code: 'custom', path: [name, 'schema'], message: schema });
      const words = schema === undefined ? descriptionProblem(type) : undefined;
      if (words !== undefined) addIssue({ code: 'custom', path: [name, 'description'], message: words });
    }
  });

const KEYWORDS: ReadonlySet<string> = new Set([
  'title',
  'description',
  'type',
  'const',
  'enum',
  'anyOf',
  'oneOf',
  'properties',
  'required',
  'additionalProperties',
  'items',
  'minItems',
  'maxItems',
  'minLength',
  'maxLength',
  'pattern',
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
]);
/** Levels of schemas in schemas; deeper than values go (authorization-details.ts). */
const DEEPEST = 12;

function schemaProblem(schema: unknown, depth: number): string | undefined {
  if (!isObject(schema)) return 'holds something else where a schema belongs';
  if (depth > DEEPEST) return 'is too deep';
  const unknown = Object.keys(schema).find((keyword) => !KEYWORDS.has(keyword));
  if (unknown !== undefined) return `holds the keyword ${unknown}, which is not allowed here`;
  const { properties = {}, items, anyOf = [], oneOf = [] } = schema;
  if (!isObject(properties) || !Array.isArray(anyOf) || !Array.isArray(oneOf)) return 'is not a JSON Schema';
  if (depth === 1 && schema.type !== 'object') return 'must be of type object';
  if (depth === 1 && Object.hasOwn(properties, 'locations'))
    return 'has locations, which every type may have and which names its API';
  if (Object.keys(properties).some((name) => name === '__proto__' || /[\p{Cc}\p{Cf}.]/u.test(name)))
    return 'has a property with a name that is not allowed here';
  return (
    opennessProblem(schema) ??
    patternProblem(schema) ??
    [...Object.values(properties), ...(items === undefined ? [] : [items]), ...anyOf, ...oneOf]
      .map((inner) => schemaProblem(inner, depth + 1))
      .find((problem) => problem !== undefined)
  );
}

/** What a schema does not name, nobody has thought of, and no person is told. */
function opennessProblem({ type, additionalProperties, items, ...rest }: Record<string, unknown>): string | undefined {
  const listed = ['const', 'enum', 'anyOf', 'oneOf'].some((keyword) => rest[keyword] !== undefined);
  if (type === undefined && !listed) return 'leaves open the type of a value';
  const types: readonly unknown[] = Array.isArray(type) ? type : [type];
  if (types.includes('object') && additionalProperties !== false)
    return 'needs additionalProperties: false in every object';
  if (types.includes('array') && items === undefined) return 'needs items in every array';
  return undefined;
}

const ATOM = String.raw`(?:\\[^1-9kpPux\n]|\[\^?(?:\\[^kpPux\n]|[^\\\[\]\n])+\]|[^\\\[\](){}|^$*+?\n])`;
const VARIABLE = String.raw`(?:[*+?]|\{\d+,\d*\})`;
/** Anchored, without groups, choices and references; two atoms at most may match more than one length. */
const PATTERN = new RegExp(
  String.raw`^\^(?:${ATOM}(?:\{\d+\})?)*(?:${ATOM}${VARIABLE}(?:${ATOM}(?:\{\d+\})?)*){0,2}\$$`,
);
/** Characters. */
const LONGEST_MATCHED = 256;

/** At worst such a pattern tries every pair of lengths, so the length has to be short: checked before it, by ajv too. */
function patternProblem({ pattern, maxLength }: Record<string, unknown>): string | undefined {
  if (pattern === undefined) return undefined;
  if (typeof pattern !== 'string' || pattern.length > 200 || !PATTERN.test(pattern))
    return 'has a pattern that is not plain: ^…$, no groups, no choices, two repetitions without a fixed count at most';
  return typeof maxLength === 'number' && maxLength <= LONGEST_MATCHED
    ? undefined
    : `needs a maxLength of ${LONGEST_MATCHED} at most beside a pattern`;
}

function compileProblem(type: DetailsType): string | undefined {
  try {
    compile(type);
    return undefined;
  } catch (error) {
    return `is not a JSON Schema: ${(error as Error).message}`;
  }
}

const compiled = new WeakMap<DetailsType, ValidateFunction>();

/**
 * What of a detail is not as its type wants it: RFC 9396 §5.
 * @returns where (a JSON pointer of names that the schema has, never of the sender's own) and the rule that it breaks, without
 *   any value; `undefined` when it is one of its type
 */
export function nonconformity(type: DetailsType, detail: AuthorizationDetail): string | undefined {
  const validate = compiled.get(type) ?? compile(type);
  compiled.set(type, validate);
  if (validate(detail) === true) return undefined;
  // Of choices each has its own; the last is about the choice as a whole.
  const { instancePath = '', keyword = 'type', params = {} } = validate.errors?.at(-1) ?? {};
  const lacking = keyword === 'required' ? ` ${params.missingProperty}` : '';
  return `${instancePath === '' ? 'as a whole' : `at ${instancePath}`} by ${keyword}${lacking}`;
}

function compile({ name, resource, schema }: DetailsType): ValidateFunction {
  const { properties, required } = schema as { properties?: object; required?: readonly string[] };
  // Of prototypes nothing is inherited; nothing is changed, filled in or loaded.
  const ajv = new Ajv({ strict: true, allowUnionTypes: true, ownProperties: true, logger: false });
  return ajv.compile({
    ...schema,
    properties: {
      ...properties,
      type: { const: name },
      // RFC 9396 §2.2: where it is meant to be used; a type has one API.
      locations: { type: 'array', items: { const: resource }, minItems: 1, maxItems: 1 },
    },
    required: [...new Set([...(required ?? []), 'type'])],
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
