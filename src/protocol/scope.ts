/** Scope values: RFC 6749 §3.3. */
import { OAuthError } from './errors.ts';

const TOKEN = /^[\x21\x23-\x5B\x5D-\x7E]+$/;

/** Scope tokens beyond this many are refused before anything is looked up (a request with 10,000 is an attack). */
const MOST = 100;

/**
 * Splits a scope parameter into its distinct tokens, in the order they came.
 * @throws OAuthError `invalid_scope` on characters outside RFC 6749 §3.3 or too many tokens
 */
export function parseScope(text: string): string[] {
  const tokens = [...new Set(text.split(' ').filter((token) => token !== ''))];
  if (tokens.length > MOST) throw new OAuthError('invalid_scope', 'Too many scope values.');
  if (!tokens.every((token) => TOKEN.test(token))) throw new OAuthError('invalid_scope', 'The scope is malformed.');
  return tokens;
}

export function isScopeToken(text: string): boolean {
  return TOKEN.test(text);
}
