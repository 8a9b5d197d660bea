/** What a wrong value is told, in registrations and in the configuration: one voice, whatever library found it. */
import type { z } from 'zod';

/**
 * For `safeParse(…, { error: inOurVoice })`: words for what zod has words of its own for. What a schema says itself goes before.
 * @returns `undefined` where zod's words do
 */
export const inOurVoice: z.core.$ZodErrorMap = (issue) => {
  const { code, input } = issue;
  if (code === 'invalid_value') return `must be ${oneOf(issue.values.map(String))}`;
  if (code === 'unrecognized_keys') return `holds what is not known here: ${issue.keys.map(printable).join(', ')}`;
  if (code === 'too_small')
    return `must ${bound(issue.origin, issue.minimum, issue.inclusive === false ? 'more than' : 'at least')}`;
  if (code === 'too_big')
    return `must ${bound(issue.origin, issue.maximum, issue.inclusive === false ? 'less than' : 'at most')}`;
  if (code !== 'invalid_type') return undefined;
  if (input === undefined) return 'is required';
  return `must be ${TYPES[issue.expected] ?? `of type ${issue.expected}`}`;
};

const TYPES: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a JSON object',
  record: 'a JSON object',
};

const COUNTED: Readonly<Record<string, string>> = { string: 'character', array: 'member' };

function bound(origin: string, limit: number | bigint, which: string): string {
  const unit = COUNTED[origin];
  if (unit === undefined) return `be ${which} ${limit}`;
  return limit === 1 && which === 'at least'
    ? 'not be empty'
    : `have ${which} ${limit} ${unit}${limit === 1 ? '' : 's'}`;
}

function oneOf(names: readonly string[]): string {
  return names.length === 1 ? names.join() : `one of ${names.join(', ')}`;
}

/** What somebody sent, fit for a description (RFC 6749 §5.2) and for a terminal. */
export function printable(value: string): string {
  return value.replace(/[^\x20-\x7E]|["\\]/g, '?').slice(0, 60);
}
