/**
 * Rich authorization requests, RFC 9396: `authorization_details` in requests, and what of them a token carries.
 *
 * The kernel has this, not a room: like a scope it is asked for, consented to, kept with the grant, narrowed and put into tokens,
 * everywhere a scope is. A type belongs to one API, as a scope does, and so it is the type that says whose token a detail
 * goes into.
 *
 * Invariants: what is kept is what was read, checked and shown, written anew; a token never has more than was granted (§6.1).
 */
import { isDeepStrictEqual } from 'node:util';
import type { Client } from './client.ts';
import { type AuthorizationDetail, nonconformity } from './details-type.ts';
import { OAuthError } from './errors.ts';
import type { Resource, Resources } from './resource.ts';
import { printable } from './wrong-values.ts';

/** Characters. */
const LONGEST = 32 * 1024;
const MOST = 20;
/** Levels below the list. */
const DEEPEST = 8;

/**
 * Reads an `authorization_details` parameter (§2, §5).
 * @returns `undefined` when there is none
 * @throws OAuthError `invalid_authorization_details`
 */
export function parseAuthorizationDetails(
  text: string | undefined,
  client: Client,
  resources: Resources,
): readonly AuthorizationDetail[] | undefined {
  if (text === undefined) return undefined;
  const list = text.length > LONGEST ? undefined : json(text);
  if (!Array.isArray(list) || list.length === 0 || list.length > MOST)
    throw refused(`authorization_details is not a list of 1 to ${MOST} JSON objects, or too long.`);
  for (const detail of list) {
    if (!isDetail(detail))
      throw refused('One of the authorization_details is no object with a type, or holds what it must not.');
    const type = resources.ofType(detail.type);
    if (!type || !client.authorizationDetailsTypes.includes(detail.type))
      throw refused('A type of authorization_details is unknown here or not open to this client.');
    const problem = nonconformity(type, detail);
    if (problem !== undefined) {
      const where = `it fails ${plain(problem)}`;
      throw refused(
        `One of the authorization_details does not conform to its type: ${where}.`,
        `${printable(type.name)}: ${where}`,
      );
    }
  }
  return list;
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isDetail(value: unknown): value is AuthorizationDetail {
  const isObject = typeof value === 'object' && value !== null && Object.hasOwn(value, 'type');
  return isObject && typeof (value as AuthorizationDetail).type === 'string' && isReadable(value, 0);
}

/**
 * Characters that move others or have no look of their own; a mark at the start, which would change what stands before; and
 * text of nothing but blanks: a person would allow what is not on the page. (Two blanks count as symbols: the braille pattern
 * without dots and the null notehead.) An empty text is shown as such.
 */
const UNREADABLE =
  /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Surrogate}\p{Default_Ignorable_Code_Point}]|^\p{M}|^[\s\p{M}\u2800\u{1D159}]+$/u;

/**
 * Whether everybody reads the same in it: no number that changes when it is read (`1e999`, 9007199254740993), no text that can
 * fake what stands beside it or that nobody sees, no halves of characters.
 */
function isReadable(value: unknown, depth: number): boolean {
  if (depth > DEEPEST) return false;
  if (typeof value === 'number') return Number.isFinite(value) && Math.abs(value) <= Number.MAX_SAFE_INTEGER;
  if (typeof value === 'string') return !UNREADABLE.test(value);
  if (typeof value !== 'object' || value === null) return true;
  return Object.entries(value).every(([name, member]) => isReadable(name, depth) && isReadable(member, depth + 1));
}

/** What of granted details is open still: an operator may have taken a type from the client, or from the API, since. */
export function openDetails(
  granted: readonly AuthorizationDetail[],
  client: Client,
  resources: Resources,
): readonly AuthorizationDetail[] {
  return granted.filter(
    ({ type }) => client.authorizationDetailsTypes.includes(type) && resources.ofType(type) !== undefined,
  );
}

/** The APIs they are for. */
export function resourcesOf(details: readonly AuthorizationDetail[], resources: Resources): ReadonlySet<Resource> {
  const owners = details.map(({ type }) => resources.get(resources.ofType(type)?.resource ?? ''));
  return new Set(owners.filter((resource) => resource !== undefined));
}

/**
 * Checks what a token request asks for against what was granted (§6, §6.1). Each detail that was granted covers one: a payment
 * that was allowed once is not had twice in one token.
 * @throws OAuthError `invalid_authorization_details` when it is more
 */
export function withinGranted(
  asked: readonly AuthorizationDetail[],
  granted: readonly AuthorizationDetail[],
): readonly AuthorizationDetail[] {
  const left = [...granted];
  for (const detail of asked) {
    const same = left.findIndex((candidate) => isDeepStrictEqual(candidate, detail));
    const index = same >= 0 ? same : left.findIndex((candidate) => isWithin(detail, candidate));
    if (index < 0) throw refused('The authorization_details go beyond what was granted.');
    left.splice(index, 1);
  }
  return asked;
}

/** §2.2: lists whose members are so many permissions; a part of one is less. Of everything else only the same is not more. */
const PERMISSIONS = ['actions', 'datatypes', 'privileges'];

function isWithin(asked: AuthorizationDetail, granted: AuthorizationDetail): boolean {
  const names = Object.keys(granted);
  return (
    Object.keys(asked).length === names.length &&
    names.every((name) => {
      const [part, whole] = [asked[name], granted[name]];
      if (isDeepStrictEqual(part, whole)) return true;
      const isLists = PERMISSIONS.includes(name) && Array.isArray(part) && Array.isArray(whole);
      // None at all might mean all of them.
      return isLists && part.length > 0 && part.every((item) => typeof item === 'string' && whole.includes(item));
    })
  );
}

/** RFC 6749 §5.2: the characters a description may have. Members of a schema may have any name. */
function plain(text: string): string {
  return text.replace(/[^\x20-\x7E]|["\\]/gu, '?');
}

/** @param reason more, for the log */
function refused(description: string, reason = description): OAuthError {
  return new OAuthError('invalid_authorization_details', description, { reason });
}
