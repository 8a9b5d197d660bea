/** People and their claims: OpenID Connect Core §5.1, §5.4. */
import { z } from 'zod';

export interface User {
  /** A random UUID, never reassigned. What clients see of it is subject.ts's to say. */
  readonly id: string;
  readonly username: string;
  readonly claims: UserClaims;
}

const line = z.string().min(1).max(500);
/** Relying parties print these as links. */
const webUrl = z.url({ protocol: /^https?$/ }).max(2000);

/** The standard claims with their types; empty values are not stored, so they are never sent (Core §5.3.2). */
export const userClaims = z.strictObject({
  name: line.optional(),
  given_name: line.optional(),
  family_name: line.optional(),
  middle_name: line.optional(),
  nickname: line.optional(),
  preferred_username: line.optional(),
  profile: webUrl.optional(),
  picture: webUrl.optional(),
  website: webUrl.optional(),
  gender: line.optional(),
  birthdate: z
    .string()
    .regex(/^\d{4}(-\d\d(-\d\d)?)?$/, 'must be YYYY-MM-DD or YYYY')
    .optional(),
  zoneinfo: line.optional(),
  locale: line.optional(),
  updated_at: z.number().int().nonnegative().optional(),
  // An address that normalises to another one could be somebody else's to look at.
  email: z
    .email()
    .max(254)
    .refine((email) => email.normalize('NFKC') === email, 'must be in Unicode NFKC')
    .optional(),
  email_verified: z.boolean().optional(),
  phone_number: line.optional(),
  phone_number_verified: z.boolean().optional(),
  address: z
    .strictObject({
      formatted: line.optional(),
      street_address: line.optional(),
      locality: line.optional(),
      region: line.optional(),
      postal_code: line.optional(),
      country: line.optional(),
    })
    .optional(),
});

export type UserClaims = z.infer<typeof userClaims>;
export type UserClaimName = keyof UserClaims;

/** Core §5.4: which claims a scope stands for. */
export const CLAIMS_BY_SCOPE: Readonly<Record<string, readonly UserClaimName[]>> = {
  profile: [
    'name',
    'family_name',
    'given_name',
    'middle_name',
    'nickname',
    'preferred_username',
    'profile',
    'picture',
    'website',
    'gender',
    'birthdate',
    'zoneinfo',
    'locale',
    'updated_at',
  ],
  email: ['email', 'email_verified'],
  address: ['address'],
  phone: ['phone_number', 'phone_number_verified'],
};

/** What a claim is, in the words of the consent page: "See your …". */
export const CLAIM_WORDS: Readonly<Record<UserClaimName, string>> = {
  name: 'name',
  given_name: 'given name',
  family_name: 'family name',
  middle_name: 'middle name',
  nickname: 'nickname',
  preferred_username: 'preferred user name',
  profile: 'profile page',
  picture: 'picture',
  website: 'website',
  gender: 'gender',
  birthdate: 'birth date',
  zoneinfo: 'time zone',
  locale: 'language',
  updated_at: 'profile’s last change',
  email: 'e-mail address',
  email_verified: 'e-mail address’s verification',
  phone_number: 'phone number',
  phone_number_verified: 'phone number’s verification',
  address: 'postal address',
};

export function isUserClaim(name: string): name is UserClaimName {
  return Object.hasOwn(CLAIM_WORDS, name);
}

/** Claims by name, absent ones left out (Core §5.3.2). */
export function claimsOf(user: User, names: readonly UserClaimName[]): Record<string, unknown> {
  const claims: Record<string, unknown> = {};
  for (const name of names) {
    const value = user.claims[name];
    if (value !== undefined && value !== null && value !== '') claims[name] = value;
  }
  return claims;
}

/** The claims a set of scopes lets out. */
export function claimsOfScope(user: User, scope: readonly string[]): Record<string, unknown> {
  return claimsOf(
    user,
    scope.flatMap((token) => CLAIMS_BY_SCOPE[token] ?? []),
  );
}

/** How a person is greeted on a page. */
export function displayName(user: User): string {
  return user.claims.name ?? user.username;
}

/**
 * The key a user name is unique by and looked up by: NFKC and lower case, so that two names that look the same cannot
 * be two people.
 */
export function nameKey(name: string): string {
  return name.normalize('NFKC').toLowerCase();
}

/**
 * Checks a new user name: letters, digits, dot, dash, underscore; an `@` only in one's own e-mail address, or one
 * person's name could be another one's address.
 * @returns what is wrong, or `undefined`
 */
export function usernameProblem(username: string, email: string | undefined): string | undefined {
  if (email !== undefined && nameKey(username) === nameKey(email)) return undefined;
  if (username.includes('@')) return 'may hold @ only when it is the person\u2019s own e-mail address';
  // As it will be stored: there are letters that normalise into brackets, spaces and slashes.
  if (!/^[\p{L}\p{N}._-]{1,100}$/u.test(username.normalize('NFKC')))
    return 'must be 1 to 100 letters, digits, dots, dashes or underscores';
  return undefined;
}
