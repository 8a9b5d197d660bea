/** What operators give, and what they are told where it is wrong. */
import type { z } from 'zod';
import { inOurVoice } from '../protocol/wrong-values.ts';

/** A refusal to be shown to the operator in one line. */
export class OperatorError extends Error {}

/** @throws OperatorError naming every field that is wrong */
export function parse<Schema extends z.ZodType>(schema: Schema, input: unknown): z.infer<Schema> {
  const parsed = schema.safeParse(input, { error: inOurVoice });
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'input'}: ${message}`);
  throw new OperatorError(faults.join('; '));
}
