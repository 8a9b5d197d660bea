/**
 * Authorization details in words (RFC 9396 §6.1, §12): what a person reads before they allow it.
 *
 * A type's description is literal text with names of members in braces: `Pay {amount.value} {amount.currency} to {creditor}`. The
 * text is the operator's; what stands for the names comes from the client and is kept apart, so that a page can show which
 * words are whose. Invariant: nothing is allowed unseen. A member that the description does not name is shown with its name.
 */
import type { AuthorizationDetail, DetailsTypeMetadata } from './details-type.ts';
import type { DetailWords } from './page.ts';

const NAMED = /\{([^{}]*)\}/;

interface ObjectSchema {
  readonly type?: unknown;
  readonly properties?: Readonly<Record<string, ObjectSchema>>;
  readonly required?: readonly string[];
}

/** Why a description is not good: each name must be that of a member that is always there and is no object. */
export function descriptionProblem({ schema, description }: DetailsTypeMetadata): string | undefined {
  if (/[\p{Cc}\p{Cf}]/u.test(description)) return 'must not hold control characters';
  const parts = description.split(NAMED);
  if (parts.some((part, index) => index % 2 === 0 && /[{}]/.test(part))) return 'has a brace that is not in a pair';
  for (const path of parts.filter((_part, index) => index % 2 === 1)) {
    let at: ObjectSchema = schema;
    for (const name of path.split('.')) {
      if (!at.required?.includes(name)) return `names ${path}, which is not always there`;
      at = at.properties?.[name] ?? {};
    }
    if (at.properties !== undefined || at.type === 'object')
      return `names ${path}, which is an object: name its members`;
  }
  return undefined;
}

/** A detail in the words of its type. */
export function inWords(description: string, detail: AuthorizationDetail): DetailWords {
  const parts = description.split(NAMED);
  const named = new Set(parts.filter((_part, index) => index % 2 === 1));
  const { type: _type, locations: _locations, ...members } = detail;
  const leaves = leavesOf(members, []);
  const values = new Map(leaves.map(({ path, text }) => [path, text]));
  return {
    words: parts
      .map((part, index) =>
        index % 2 === 0 ? { text: part } : { text: values.get(part) ?? '–', asked: true as const },
      )
      .filter(({ text }) => text !== ''),
    facts: leaves.filter(({ path }) => !named.has(path)).map(({ path, text }) => ({ name: path, value: text })),
  };
}

/** Every value with the way to it; lists of plain values are one. */
function leavesOf(value: unknown, path: readonly string[]): { path: string; text: string }[] {
  const isObject = typeof value === 'object' && value !== null;
  const inner = isObject ? Object.entries(value) : [];
  const isPlainList = Array.isArray(value) && value.every((item) => typeof item !== 'object' || item === null);
  if (inner.length === 0 && isObject) return path.length === 0 ? [] : [{ path: path.join('.'), text: '–' }];
  if (!isObject || isPlainList) {
    const text = isPlainList ? value.map(plainText).join(', ') : plainText(value);
    return [{ path: path.join('.'), text }];
  }
  const offset = Array.isArray(value) ? 1 : undefined;
  return inner.flatMap(([name, member]) =>
    leavesOf(member, [...path, offset === undefined ? name : String(Number(name) + offset)]),
  );
}

function plainText(value: unknown): string {
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  return value === null || value === '' ? '–' : String(value);
}
